"""Asynchronous workers that begin together, and may be ahead of each other by so many windows only."""

from contextlib import ExitStack

import pytest

from airflow_provider_distkeras.training.algorithms.additive import DynSGDRule
from airflow_provider_distkeras.training.algorithms.elastic import AEASGDRule
from airflow_provider_distkeras.training.server import requests
from airflow_provider_distkeras.training.server.protocol import Op
from airflow_provider_distkeras.training.server.requests import SyncPolicy
from tests.training.server.loopback_server import ONE, SIZE, Worker, start


@pytest.fixture
def begin(at_once):
    """Starts a server and its workers, each with so many commits in an epoch."""
    opened = ExitStack()

    def begin(*commits, rule=None):
        policy = SyncPolicy(together=len(commits), timeout=20)
        server = opened.enter_context(start(rule or DynSGDRule(SIZE, len(commits)), policy))
        workers = [Worker(server, number) for number in range(len(commits))]
        for worker in workers:
            opened.callback(worker.connection.close)
        for welcome in at_once(*[lambda w=w, n=n: w.hello(commits=n) for w, n in zip(workers, commits, strict=True)]):
            assert welcome.result(20).op == Op.WEIGHTS
        return workers

    with opened:
        yield begin


def test_a_worker_that_is_ahead_waits_for_the_slowest_one_and_starts_from_what_that_one_has_added(begin, at_once):
    fast, slow = begin(9, 9)
    (waiting,) = at_once(lambda: fast.commit(ONE))
    with pytest.raises(TimeoutError):
        waiting.result(timeout=0.3)
    assert slow.commit(ONE).vector().tolist() == waiting.result(20).vector().tolist() == [1.5] * SIZE  # staleness 0 and 1


def test_a_worker_that_waits_on_an_elastic_tie_gets_the_force_of_its_own_commit(begin, at_once):
    fast, slow = begin(9, 9, rule=AEASGDRule(SIZE, 2, alpha=0.5))
    (waiting,) = at_once(lambda: fast.commit(ONE))
    with pytest.raises(TimeoutError):
        waiting.result(timeout=0.3)
    slow.commit(ONE)
    assert waiting.result(20).vector().tolist() == [0.5] * SIZE


def test_windows_count_by_the_rows_of_their_worker(begin, at_once):
    fast, slow = begin(9, 3)
    (waiting,) = at_once(lambda: slow.commit(ONE))
    for sequence in (1, 2, 3):
        assert fast.commit(ONE, sequence=sequence).sequence == sequence
    assert waiting.result(20).sequence == 1


@pytest.mark.parametrize("commits", [(7, 7), (13, 13), (7, 11)])
def test_two_workers_never_wait_for_each_other(begin, at_once, commits):
    def train(worker, epochs_of):
        for sequence in range(1, 6 * epochs_of + 1):
            worker.commit(ONE, sequence=sequence)
        return sequence

    workers = begin(*commits)
    done = at_once(*[lambda w=w, n=n: train(w, n) for w, n in zip(workers, commits, strict=True)])
    assert [each.result(20) for each in done] == [6 * n for n in commits]


@pytest.mark.parametrize("end", [lambda worker: worker.ask(Op.LEAVE), lambda worker: worker.connection.close()])
def test_nobody_waits_for_a_worker_that_has_ended_or_is_lost(begin, at_once, end):
    fast, slow = begin(9, 9)
    (waiting,) = at_once(lambda: fast.commit(ONE))
    end(slow)
    assert waiting.result(20).sequence == 1


def test_workers_begin_together_or_after_a_while_without_those_that_are_late(at_once, monkeypatch):
    monkeypatch.setattr(requests, "_BEGIN_SECONDS", 0.3)
    with start(DynSGDRule(SIZE, 2), SyncPolicy(together=2, timeout=20)) as server:
        early, late = Worker(server, 0), Worker(server, 1)
        assert early.hello(commits=9).op == Op.WEIGHTS
        for sequence in (1, 2, 3):
            early.commit(ONE, sequence=sequence)
        late.hello(commits=9)
        (waiting,) = at_once(lambda: early.commit(ONE, sequence=4))
        for sequence in (1, 2, 3, 4):
            late.commit(ONE, sequence=sequence)
        assert waiting.result(20).sequence == 4
        early.connection.close()
        late.connection.close()
