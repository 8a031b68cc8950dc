"""Workers that wait for each other: in rounds, or in turns."""

import threading

import pytest

from airflow_provider_distkeras.training.algorithms.additive import DynSGDRule
from airflow_provider_distkeras.training.algorithms.synchronous import SynchronousRule
from airflow_provider_distkeras.training.server.protocol import Op
from airflow_provider_distkeras.training.server.requests import SyncPolicy
from tests.training.server.loopback_server import ONE, SIZE, Worker, server_weights, start


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


def test_a_round_that_lacks_a_worker_times_out(at_once):
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
