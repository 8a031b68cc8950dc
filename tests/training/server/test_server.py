"""The parameter server over real sockets."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from airflow_provider_distkeras.training.algorithms import AdagRule, DynSGDRule, SynchronousRule
from airflow_provider_distkeras.training.server import protocol, tls
from airflow_provider_distkeras.training.server.ledger import EarlyStopping
from airflow_provider_distkeras.training.server.protocol import Frame, Op, WireError
from airflow_provider_distkeras.training.server.requests import SyncPolicy
from airflow_provider_distkeras.training.server.server import ParameterServer
from airflow_provider_distkeras.training.server.store import StoreState

SIZE = 4
ONE = np.ones(SIZE, np.float32)


def start(rule=None, policy=None, stopping=None, **others):
    """A server whose weights are zero."""
    rule = rule or AdagRule(SIZE, 2)
    state = StoreState(rule.open(np.zeros((1, SIZE), np.float32)), stopping=stopping or EarlyStopping())
    return ParameterServer(state, rule, "127.0.0.1", policy=policy or SyncPolicy(timeout=20), **others)


def server_weights(server):
    return server.store.state.store[0].tolist()


@pytest.fixture
def server():
    with start() as server:
        yield server


class Worker:
    """The worker's side of a connection, frame by frame."""

    def __init__(self, server, number=0, attempt=0, secret=None, certificate=None):
        self.number, self.attempt = number, attempt
        address = ("127.0.0.1", server.port)
        self.connection = protocol.connect(address, secret or server.secret, 1 << 20, 25.0, certificate)

    def ask(self, op, payload=b"", **fields):
        self.connection.send(Frame(op, self.number, self.attempt, payload=payload, **fields))
        return self.connection.receive()

    def hello(self, rows=8, commits=1, digest=5):
        return self.ask(Op.HELLO, json.dumps({"rows": rows, "commits": commits, "digest": digest}).encode())

    def commit(self, update=ONE, sequence=1, rows=8, epoch=0):
        return self.ask(Op.COMMIT, protocol.as_payload(update), sequence=sequence, steps=2, epoch=epoch, rows=rows, loss=4.0)

    def evaluated(self, loss=None, epoch=0, rows=8, stop=False):
        measured = {} if loss is None else {"loss": loss}
        return self.ask(Op.EVALUATED, json.dumps({"measured": measured, "stop": stop}).encode(), epoch=epoch, rows=rows)


@pytest.fixture
def connect(server):
    """Opens connections that are closed in the end."""
    opened = []

    def open_one(number=0, attempt=0, to=server, secret=None, certificate=None):
        opened.append(Worker(to, number, attempt, secret, certificate))
        return opened[-1]

    yield open_one
    for worker in opened:
        worker.connection.close()


@pytest.fixture
def at_once():
    """Runs functions in threads of their own."""
    with ThreadPoolExecutor(16) as pool:
        yield lambda *functions: [pool.submit(function) for function in functions]


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


def test_an_attempt_that_hangs_on_is_not_waited_for_without_end():
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


def test_staleness_is_counted_and_passed_to_the_rule():
    with start(DynSGDRule(SIZE, 3)) as server:
        one, other = Worker(server, 0), Worker(server, 1)
        one.hello()
        other.hello()
        for sequence in (1, 2, 3):
            one.commit(ONE, sequence)
        other.commit(8 * ONE)
        assert server_weights(server) == [5, 5, 5, 5]  # 1 + 1 + 1 + 8 / (3 + 1)
        assert server.store.ledger.staleness[:4] == [3, 0, 0, 1]
        assert server.store.ledger.mean_staleness == 0.75
        one.connection.close()
        other.connection.close()


def test_when_one_worker_fails_the_others_are_refused(server, connect):
    one, other = connect(0), connect(1)
    one.hello()
    other.hello()
    assert one.ask(Op.FAILED, b"boom").op == Op.REFUSED
    refused = other.commit()
    assert (refused.op, bytes(refused.payload)) == (Op.REFUSED, b"boom")
    assert server.handler.failure == "boom"


def synchronous(workers=2, **others):
    return start(SynchronousRule(SIZE, workers), SyncPolicy(barrier=True, timeout=20), **others)


def test_synchronous_workers_begin_together_and_are_averaged_by_their_rows(at_once):
    with synchronous() as server:
        one, other = Worker(server, 0), Worker(server, 1)
        (early,) = at_once(lambda: one.hello(commits=3))
        other.hello(commits=5)
        assert early.result(20).epoch == 5  # all make as many commits as the one with the most
        (first,) = at_once(lambda: one.commit(ONE, rows=1))
        second = other.commit(5 * ONE, rows=3)
        assert first.result(20).vector().tolist() == second.vector().tolist() == [4, 4, 4, 4]
        assert server.store.ledger.rows == 4
        one.connection.close()
        other.connection.close()


def test_a_round_that_lost_a_worker_is_begun_again_by_the_next_attempt_of_the_stage(at_once):
    with synchronous() as server:
        old = [Worker(server, number, attempt=(7 << 32) | number) for number in (0, 1)]
        for welcome in at_once(*[worker.hello for worker in old]):
            welcome.result(20)
        (half,) = at_once(lambda: old[0].commit(100 * ONE))
        old[1].connection.close()
        new = [Worker(server, number, attempt=(9 << 32) | number) for number in (0, 1)]
        (late,) = at_once(new[1].hello)
        assert half.result(20).op == Op.REPLACED
        old[0].connection.close()  # Spark kills the other tasks of a barrier stage
        assert new[0].hello().sequence == late.result(20).sequence == 0
        for reply in at_once(*[worker.commit for worker in new]):
            assert reply.result(20).sequence == 1
        assert server_weights(server) == [1, 1, 1, 1]
        for worker in new:
            worker.connection.close()


def test_a_round_does_not_wait_without_end(at_once):
    with start(SynchronousRule(SIZE, 2), SyncPolicy(barrier=True, timeout=0.3)) as server:
        worker = Worker(server)
        refused = worker.hello()
        assert refused.op == Op.REFUSED
        assert b"waited 0.3 s for all workers to begin together" in bytes(refused.payload)
        worker.connection.close()


def test_workers_that_take_turns_begin_with_the_same_weights_however_late_one_of_them_wakes(at_once, monkeypatch):
    with start(DynSGDRule(SIZE, 2), SyncPolicy(barrier=True, round_robin=True, timeout=20)) as server:
        handler, awake = server.handler, threading.Event()
        await_all_workers = handler._await_all_workers

        def await_and_oversleep(frame):
            await_all_workers(frame)
            if frame.worker == 1:
                assert handler._changed.wait_for(awake.is_set, 20)

        monkeypatch.setattr(handler, "_await_all_workers", await_and_oversleep)
        first, second = Worker(server, 0), Worker(server, 1)
        begun = at_once(second.hello)[0]
        first.hello()
        committed = at_once(first.commit)[0]
        with pytest.raises(TimeoutError):
            committed.result(timeout=0.5)
        awake.set()
        with handler._changed:
            handler._changed.notify_all()

        assert begun.result(20).vector().tolist() == [0, 0, 0, 0]
        assert committed.result(20).sequence == 1


def test_workers_that_take_turns_commit_in_the_order_of_their_numbers(at_once):
    with start(DynSGDRule(SIZE, 3), SyncPolicy(barrier=True, round_robin=True, timeout=20)) as server:
        workers = [Worker(server, number) for number in range(3)]
        for welcome in at_once(*[lambda w=worker: w.hello(commits=2) for worker in workers]):
            welcome.result(20)
        first = at_once(lambda: workers[2].commit(ONE), lambda: workers[1].commit(ONE))
        assert not any(reply.done() for reply in first)
        workers[0].commit(ONE)
        for reply in first:
            reply.result(20)
        assert server.store.ledger.staleness[:3] == [1, 1, 1]
        workers[0].ask(Op.LEAVE)
        workers[1].commit(ONE, sequence=2)  # no turn waits for one that has left
        for worker in workers:
            worker.connection.close()


def test_training_stops_when_an_epochs_loss_has_not_become_better_and_the_best_weights_are_the_result():
    with start(AdagRule(SIZE, 1), stopping=EarlyStopping(patience=2)) as server:
        worker = Worker(server)
        worker.hello()
        for epoch, loss in enumerate([3.0, 1.0, 2.0, 1.5]):
            worker.commit(ONE, sequence=epoch + 1, epoch=epoch)
            assert worker.evaluated(loss, epoch).stop == (epoch == 3)
        assert server.store.stopped
        assert server.store.state.best[0].tolist() == [2, 2, 2, 2]
        assert server.store.state.stopping.best_epoch == 1
        worker.connection.close()


def test_without_validation_rows_the_training_loss_decides():
    with start(AdagRule(SIZE, 1), stopping=EarlyStopping(patience=1)) as server:
        worker = Worker(server)
        worker.hello()
        worker.commit(epoch=0)
        worker.evaluated(epoch=0, rows=0)
        worker.commit(sequence=2, epoch=1)
        assert worker.evaluated(epoch=1, rows=0).stop
        worker.connection.close()


def test_an_epoch_is_judged_when_all_workers_have_ended_it_by_their_rows(connect):
    with start(stopping=EarlyStopping(patience=1)) as server:
        one, other = Worker(server, 0), Worker(server, 1)
        one.hello()
        other.hello()
        one.evaluated(1.0, rows=1)
        assert server.store.state.stopping.judged == 0
        other.evaluated(5.0, rows=3)
        assert server.store.state.stopping.best_loss == 4.0
        one.connection.close()
        other.connection.close()


def test_a_callback_may_stop_everybody(server, connect):
    one, other = connect(0), connect(1)
    one.hello()
    other.hello()
    one.evaluated(stop=True)
    assert other.commit().stop


def test_a_client_without_the_secret_is_not_served(connect):
    with pytest.raises((WireError, ConnectionError)):
        connect(secret=b"x" * 32)
    assert connect().hello().op == Op.WEIGHTS


def test_a_worker_does_not_trust_a_server_without_the_secret():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def impostor():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"c" * 32)
                connection.recv(64)
                connection.sendall(b"p" * 32)

        thread = threading.Thread(target=impostor)
        thread.start()
        with pytest.raises(WireError, match="does not know this run's secret"):
            protocol.connect(listener.getsockname(), b"s" * 32, 1024, 20.0)
        thread.join()


def test_encrypted_connections_carry_the_same_frames():
    encryption, fingerprint = tls.create_context()
    with start(encryption=encryption) as server:
        worker = Worker(server, certificate=fingerprint)
        worker.hello()
        assert worker.commit(3 * ONE).vector().tolist() == [3, 3, 3, 3]
        worker.connection.close()


def test_a_server_with_another_certificate_is_not_trusted():
    with start(encryption=tls.create_context()[0]) as server:
        _, other = tls.create_context()
        with pytest.raises(WireError, match="another certificate than this run's"):
            Worker(server, certificate=other)


def test_plain_text_is_not_spoken_to_a_server_that_encrypts(monkeypatch):
    monkeypatch.setattr(protocol, "HANDSHAKE_SECONDS", 0.5)
    with start(encryption=tls.create_context()[0]) as server:
        with pytest.raises((WireError, ConnectionError)):
            Worker(server)
        assert server.store.ledger.workers == {}


def header(magic=b"DKW2", op=Op.COMMIT, worker=0, sequence=1, size=0):
    return protocol._HEADER.pack(magic, op, False, worker, 0, sequence, 1, 0, 1, 0.0, size)


@pytest.mark.parametrize(
    "garbage",
    [
        b"x" * 200,
        b"GET / HTTP/1.1\r\n\r\n" * 10,
        header(magic=b"DKW1"),
        header(size=2**60),
        header(op=99),
        header(size=8) + b"12345678",
        header(op=Op.WEIGHTS),
        header(op=Op.HELLO, size=2) + b"{}",
        header(op=Op.HELLO, size=4) + b"null",
        header(op=Op.HELLO, size=3) + b"\xff\xfe\xfd",
        header(op=Op.HELLO, worker=9, size=36) + b'{"rows":1,"commits":1,"digest":1}   ',
        header(op=Op.EVALUATED, size=2) + b"[]",
    ],
)
@pytest.mark.parametrize("registered", [False, True])
def test_what_is_not_a_frame_ends_the_connection_and_changes_nothing(server, connect, garbage, registered):
    worker = connect()
    if registered:
        worker.hello()
    worker.connection._socket.sendall(garbage)
    with pytest.raises(ConnectionError):
        worker.connection.receive()
    assert server_weights(server) == [0, 0, 0, 0]
    assert connect(1).hello().op == Op.WEIGHTS


def test_a_worker_speaks_for_itself_only(server, connect):
    connect(1).hello()
    worker = connect(0)
    worker.hello()
    worker.number = 1
    with pytest.raises(ConnectionError):
        worker.commit()
    assert server_weights(server) == [0, 0, 0, 0]


def test_two_runs_at_once_never_mix(server, connect):
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


def test_a_closed_server_is_gone():
    with start() as other:
        port, secret = other.port, other.secret
    with pytest.raises(WireError, match=f"Cannot reach the parameter server at 127.0.0.1:{port}"):
        protocol.connect(("127.0.0.1", port), secret, 1024, 5.0)
