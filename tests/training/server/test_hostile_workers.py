"""A worker that knows the run's secret and sends what no worker sends: it is refused by its name, and the server goes on."""

import contextlib
import json

import numpy as np
import pytest

from airflow_provider_distkeras.training.algorithms.additive import AdagRule
from airflow_provider_distkeras.training.algorithms.elastic import AEASGDRule
from airflow_provider_distkeras.training.algorithms.independent import EnsembleRule
from airflow_provider_distkeras.training.algorithms.synchronous import SynchronousRule
from airflow_provider_distkeras.training.server import protocol
from airflow_provider_distkeras.training.server.client import ParameterClient, Shard
from airflow_provider_distkeras.training.server.protocol import Frame, FrameRefusedError, Op, WireError
from airflow_provider_distkeras.training.server.requests import SyncPolicy
from airflow_provider_distkeras.training.server.store import ParameterStore, StoreState
from tests.training.server.loopback_server import ONE, SIZE, start
from tests.training.server.server_process import wait_until

EPOCHS = 30


def evaluation(measured):
    return json.dumps({"measured": measured, "stop": False}).encode()


def commit(update=ONE, **fields):
    values = {"sequence": 1, "steps": 1, "rows": 1, "loss": 1.0, **fields}
    return {"op": Op.COMMIT, "payload": protocol.as_payload(np.asarray(update, np.float32)), **values}


@pytest.fixture
def server():
    with start(policy=SyncPolicy(timeout=20, num_epoch=EPOCHS)) as server:
        yield server


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (commit([1, np.nan, 1, 1]), "Commit 1 of worker 1 makes a weight infinite or not a number"),
        (commit([1, 1, 1, -np.inf]), "Commit 1 of worker 1 makes a weight infinite or not a number"),
        (commit(loss=float("nan")), "Commit 1 of worker 1 has a loss of nan"),
        (commit(loss=float("-inf")), "Commit 1 of worker 1 has a loss of -inf"),
        (commit(rows=9), "Commit 1 of worker 1 has 9 rows in 1 steps; its worker has 8 rows"),
        (commit(steps=2**64 - 1), "Commit 1 of worker 1 has 1 rows in 18446744073709551615 steps"),
        (commit(epoch=1), "Worker 1 sent epoch 2 of 30 after 0 epochs"),
        (commit(sequence=7), "Commit 7 of worker 1 came after its commit 0"),
        ({"op": Op.EVALUATED, "payload": evaluation({"loss": 10**400})}, "EVALUATED of worker 1 has a metric that no float can"),
        ({"op": Op.EVALUATED, "payload": evaluation({str(i): 1.0 for i in range(101)})}, "EVALUATED of worker 1 has 101 metrics"),
        ({"op": Op.EVALUATED, "payload": evaluation({"x" * 20_000: 1.0})}, "EVALUATED of worker 1 has 20"),
        ({"op": Op.EVALUATED, "payload": evaluation([])}, "The payload of EVALUATED of worker 1 has"),
        ({"op": Op.WEIGHTS}, "WEIGHTS is not a request of a worker"),
    ],
)
def test_it_is_told_why_and_its_connection_ends_and_the_others_go_on(server, connect, caplog, request_, reason):
    worker = connect(1)
    worker.hello()
    with pytest.raises(FrameRefusedError, match=reason):
        worker.ask(**request_)
    with pytest.raises(ConnectionError):
        worker.ask(Op.PULL)
    honest = connect(0)
    honest.hello()
    assert honest.commit().vector().tolist() == [1, 1, 1, 1]
    assert server.handler.failure is None
    assert reason in caplog.text


def test_evaluations_end_with_the_epochs_of_the_run(server, connect):
    """Thousands of them took more than a gigabyte in some seconds."""
    worker = connect(1)
    worker.hello()
    for epoch in range(EPOCHS):
        worker.evaluated(loss=1.0, epoch=epoch)
    with pytest.raises(FrameRefusedError, match="Worker 1 sent epoch 31 of 30"):
        worker.evaluated(loss=1.0, epoch=EPOCHS)
    assert len(server.store.ledger.epochs) == EPOCHS


@pytest.mark.parametrize("rule", [AdagRule(SIZE, 2), AEASGDRule(SIZE, 2, 0.5), EnsembleRule(SIZE, 2)], ids=type)
def test_updates_that_are_finite_never_make_the_weights_infinite(connect, rule):
    with start(rule) as server:
        worker = connect(0, to=server)
        worker.hello()
        refused = False
        for sequence in range(1, 10):
            before = server.store.state.store.copy()
            try:
                worker.commit(np.float32((-1) ** (sequence // 3) * 3e38) * ONE, sequence)
            except FrameRefusedError:
                refused = True
                np.testing.assert_array_equal(server.store.state.store, before)
                break
            assert np.isfinite(server.store.state.store).all()
        assert refused == (not isinstance(rule, EnsembleRule))
        assert server.store.ledger.updates < 10


def test_large_weights_are_no_error_while_they_are_finite(connect):
    """A layer's running variance of features that were not scaled may be of any size."""
    with start(EnsembleRule(SIZE, 2)) as server:
        worker = connect(0, to=server)
        worker.hello()
        assert worker.commit(np.float32(1e33) * ONE).op == Op.WEIGHTS


def test_a_round_does_not_take_an_update_that_is_not_finite_and_the_other_worker_is_not_refused(connect, at_once):
    with start(SynchronousRule(SIZE, 2), SyncPolicy(barrier=True, timeout=20)) as server:
        one, other = connect(0, to=server), connect(1, to=server)
        for welcome in at_once(one.hello, other.hello):
            welcome.result(20)
        (honest,) = at_once(one.commit)
        with pytest.raises(FrameRefusedError, match="Commit 1 of worker 1 has an update that is not finite"):
            other.commit(np.nan * ONE)
        server.handler.fail("worker 1 failed")
        assert honest.result(20).op == Op.REFUSED
        assert np.isfinite(server.store.state.store).all()


def test_a_failure_is_told_in_some_words(server, connect):
    connect().ask(Op.FAILED, b"x" * (1 << 15))
    assert server.handler.failure == "x" * 4096


def test_connections_that_prove_the_secret_are_as_many_as_workers_need(server, connect):
    opened = [connect() for _ in range(32)]  # 2 workers may have 4 each, but 32 are always allowed
    assert opened[0].hello().op == Op.WEIGHTS
    with pytest.raises(ConnectionError):
        connect(1).hello()
    opened[1].connection.close()

    def gets_in():
        with contextlib.suppress(ConnectionError):
            return connect(1).hello().op == Op.WEIGHTS

    assert wait_until(gets_in)
    assert opened[0].commit().op == Op.WEIGHTS


def test_a_client_raises_a_typed_error_that_says_why(server):
    client = ParameterClient.connect((Shard("127.0.0.1", server.port, 0, SIZE),), server.secret, None, 20.0, 1, 0)
    client.hello(8, 1, 5)
    with pytest.raises(WireError, match=r"refuses a frame: Commit 1 of worker 1 makes a weight infinite or not a number\."):
        client.commit(np.nan * ONE, 1, 1, 0, 1, 1.0)
    client.close()


def test_digits_without_end_are_no_number_of_rows(server, connect):
    worker = connect()
    worker.connection.send(Frame(Op.HELLO, 0, 0, payload=b'{"rows": 8, "commits": 1, "digest": ' + b"9" * 400 + b"}"))
    with pytest.raises(ConnectionError):
        worker.connection.receive()
    assert server.store.ledger.workers == {}


@pytest.mark.parametrize("outer", [(0.7, 0.0), (1.0, 0.9)])
def test_finite_updates_of_a_round_that_overflow_the_weights_together_are_not_applied(outer):
    rule = SynchronousRule(4, 2, *outer)
    store = ParameterStore(StoreState(rule.open(np.zeros((1, 4), np.float32))), rule)

    def apply(sequence):
        update = np.full(4, np.finfo(np.float32).max * (-1) ** sequence, np.float32)
        honest, hostile = (protocol.as_payload(np.asarray(each, np.float32)) for each in (ONE, update))
        store.apply_round([
            Frame(Op.COMMIT, worker=0, rows=1, payload=honest),
            Frame(Op.COMMIT, worker=1, sequence=sequence, rows=1 << 31, payload=hostile),
        ])  # fmt: skip

    with pytest.raises(WireError, match=r"of worker 1 makes a weight infinite or not a number"):
        any(map(apply, range(20)))
    assert np.isfinite(store.state.store).all()
