"""The parameter server over real sockets: commits, failures, and many workers."""

import pytest

from airflow_provider_distkeras.training.algorithms.additive import AdagRule, DynSGDRule
from airflow_provider_distkeras.training.server import handshake
from airflow_provider_distkeras.training.server.protocol import Op, WireError
from tests.training.server.loopback_server import ONE, SIZE, Worker, server_weights, start


def test_a_commit_moves_the_weights_and_is_recorded(server, connect):
    worker = connect()
    assert worker.hello().vector().tolist() == [0, 0, 0, 0]
    reply = worker.commit(2 * ONE)
    assert (reply.sequence, reply.steps, reply.vector().tolist()) == (1, 2, [2, 2, 2, 2])
    ledger = server.store.ledger
    assert (ledger.rows, ledger.updates, ledger.epochs[0].mean_loss) == (8, 1, 0.5)


def test_a_commit_that_is_sent_again_is_applied_once(server, connect):
    worker = connect()
    worker.hello()
    for _ in range(3):
        assert worker.commit(sequence=1).sequence == 1
    assert server_weights(server) == [1, 1, 1, 1]
    assert server.store.ledger.rows == 8


def test_a_commit_that_skips_one_is_refused(server, connect):
    worker = connect()
    worker.hello()
    with pytest.raises(ConnectionError):
        worker.commit(sequence=2)
    assert server_weights(server) == [0, 0, 0, 0]


def test_staleness_is_counted_and_passed_to_the_rule(connect):
    with start(DynSGDRule(SIZE, 3)) as server:
        one, other = connect(0, to=server), connect(1, to=server)
        one.hello()
        other.hello()
        for sequence in (1, 2, 3):
            one.commit(ONE, sequence)
        other.commit(8 * ONE)
        assert server_weights(server) == [5, 5, 5, 5]  # 1 + 1 + 1 + 8 / (3 + 1)
        assert server.store.ledger.staleness[:4] == [3, 0, 0, 1]
        assert server.store.ledger.mean_staleness == 0.75


def test_when_one_worker_fails_the_others_are_refused(server, connect):
    one, other = connect(0), connect(1)
    one.hello()
    other.hello()
    assert one.ask(Op.FAILED, b"boom").op == Op.REFUSED
    refused = other.commit()
    assert (refused.op, bytes(refused.payload)) == (Op.REFUSED, b"boom")
    assert server.handler.failure == "boom"


def test_two_runs_at_once_never_mix(server, connect, short_handshake):
    with start(AdagRule(SIZE, 1)) as other:
        assert other.port != server.port
        with pytest.raises((WireError, ConnectionError)):
            connect(to=other, secret=server.secret)
        mine, theirs = connect(), connect(to=other)
        mine.hello()
        theirs.hello()
        mine.commit(ONE)
        theirs.commit(-ONE)
        assert (server_weights(server)[0], server_weights(other)[0]) == (1, -1)


def test_many_workers_at_once_lose_nothing(at_once):
    commits, count = 50, 8
    with start(AdagRule(SIZE, count)) as server:

        def work(number):
            worker = Worker(server, number)
            worker.hello()
            for sequence in range(1, commits + 1):
                worker.commit(sequence=sequence)
            worker.connection.close()

        for done in at_once(*[lambda n=number: work(n) for number in range(count)]):
            done.result(60)
        assert server_weights(server) == [commits * count] * SIZE
        assert server.store.ledger.rows == commits * count * 8


def test_a_closed_server_is_gone(short_handshake):
    with start() as other:
        port, secret = other.port, other.secret
    with pytest.raises(WireError, match=f"Cannot reach the parameter server at 127.0.0.1:{port}"):
        handshake.connect(("127.0.0.1", port), secret, 1024, 5.0)


def test_the_counts_of_a_run_go_on_past_32_bits(server, connect):
    """At 160,000 steps per second, 2^32 steps take seven hours and a half."""
    server.store.ledger.steps = 2**32 - 1
    worker = connect()
    welcome = worker.hello(rows=2**32 - 1, commits=2**32 - 1)
    assert (welcome.steps, welcome.epoch) == (2**32 - 1, 2**32 - 1)
    assert worker.commit().steps == 2**32 + 1
    assert server.handler.failure is None
