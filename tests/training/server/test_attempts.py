"""Attempts of one worker: one at a time is served, and the next resumes where the last one ended."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_distkeras.training.algorithms.additive import AdagRule
from airflow_provider_distkeras.training.server.client import ParameterClient, Shard
from airflow_provider_distkeras.training.server.protocol import Op
from airflow_provider_distkeras.training.server.requests import SyncPolicy
from tests.training.server.loopback_server import ONE, SIZE, Worker, server_weights, start


def test_a_second_attempt_waits_for_the_first_to_end_and_goes_on_where_it_was(server, connect, at_once):
    old, new = connect(attempt=1), connect(attempt=2)
    old.hello()
    old.commit()
    (welcome,) = at_once(new.hello)
    assert old.commit(sequence=2).sequence == 2  # the speculative twin has not been let in
    assert not welcome.done()
    old.connection.close()
    assert welcome.result(20).sequence == 2
    assert new.commit(sequence=3).sequence == 3
    assert server.store.ledger.rows == 24


def test_an_older_attempt_is_not_let_in_after_a_newer_one(server, connect):
    new = connect(attempt=2)
    new.hello()
    new.connection.close()
    late = connect(attempt=1)
    assert late.hello().op == Op.REPLACED
    with pytest.raises(ConnectionError):
        late.commit()
    assert server_weights(server) == [0, 0, 0, 0]


def test_a_second_attempt_is_refused_if_the_first_does_not_end_in_time():
    with start(policy=SyncPolicy(timeout=0.2)) as server:
        old, new = Worker(server, attempt=1), Worker(server, attempt=2)
        old.hello()
        refused = new.hello()
        assert refused.op == Op.REPLACED
        assert b"waited 0.2 s for the earlier attempt of worker 0 to end; it goes on" in bytes(refused.payload)
        assert old.commit().op == Op.WEIGHTS
        old.connection.close()
        new.connection.close()


def test_a_second_attempt_with_other_rows_is_refused(server, connect):
    old = connect(attempt=1)
    old.hello(digest=5)
    old.connection.close()
    assert connect(attempt=2).hello(digest=6).op == Op.ROWS_CHANGED


def test_the_state_that_an_attempt_left_is_returned_to_the_next(connect):
    old = connect(attempt=1)
    old.hello()
    assert bytes(old.ask(Op.RESTORE).payload) == b""
    old.ask(Op.SAVE, b"momentum")
    old.connection.close()
    new = connect(attempt=2)
    new.hello()
    assert bytes(new.ask(Op.RESTORE).payload) == b"momentum"


def client_of(server, attempt):
    return ParameterClient.connect((Shard("127.0.0.1", server.port, 0, SIZE),), server.secret, None, 20.0, 0, attempt)


def test_of_two_attempts_at_once_one_commits_and_the_one_that_waits_does_not_fail_it():
    """Spark may start a task a second time while the first goes on for longer than `timeout`."""
    with start(AdagRule(SIZE, 1), SyncPolicy(timeout=0.5)) as server, ThreadPoolExecutor(1) as pool:
        first, twin = client_of(server, 1), client_of(server, 2)
        first.hello(8, 1, 5)
        welcome = pool.submit(twin.hello, 8, 1, 5)
        started, sequence = time.monotonic(), 0
        while time.monotonic() - started < 2.0:  # four times as long as the server waits for one that is silent
            sequence += 1
            assert first.commit(ONE, sequence, 1, 0, 8, 1.0).sequence == sequence
        assert server.handler.failure is None
        first.leave()
        first.close()
        assert welcome.result(20.0).sequence == sequence
        twin.close()
        assert server.store.ledger.updates == sequence
        assert server.store.state.store[0].tolist() == [float(sequence)] * SIZE


def test_what_is_restored_leaves_the_first_weights_as_they_are(server):
    first = client_of(server, 0)
    first.hello(8, 1, 5)
    first.commit(2 * ONE, 1, 2, 0, 8, 4.0)
    first.save(b"state of an optimizer")
    first.close()
    again = client_of(server, 1)
    weights = again.hello(8, 1, 5).weights
    assert again.restore() == b"state of an optimizer"
    assert weights.tolist() == [2, 2, 2, 2]
    again.close()
