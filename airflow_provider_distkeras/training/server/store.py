"""The parameter store: the weights that are trained, the ledger of the updates applied, and when training stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from airflow_provider_distkeras.training.algorithms.rule import AsynchronousRule, Matrix, UpdateRule, Vector
from airflow_provider_distkeras.training.algorithms.synchronous import SynchronousRule
from airflow_provider_distkeras.training.server import validation
from airflow_provider_distkeras.training.server.ledger import EarlyStopping, Ledger, Plateau, WorkerAccount
from airflow_provider_distkeras.training.server.protocol import Frame, WireError


@dataclass
class StoreState:
    """Everything that a server needs to resume after a restart.

    Attributes:
        store: the update rule's matrix, (rows, weights); its first row holds the server weights.
        ledger: the updates applied, by worker and epoch.
        saved: per worker, the state of its optimizer and random numbers, as it last sent them.
        stopping: when training stops early.
        plateau: when the learning rate is lowered; None for never.
        best: the matrix after the best epoch so far; None unless training may stop early.
    """

    store: Matrix
    ledger: Ledger = field(default_factory=Ledger)
    saved: dict[int, bytes] = field(default_factory=dict)
    stopping: EarlyStopping = field(default_factory=EarlyStopping)
    best: Matrix | None = None
    plateau: Plateau | None = None

    @property
    def rate_factor(self) -> float:
        """What the loss has lowered the learning rate by, in (0, 1]."""
        return self.plateau.rate_factor if self.plateau else 1.0


class ParameterStore:
    """Weights and ledger of one training run, or of one shard of its weights.

    It is not thread-safe: `RequestHandler` calls it under its lock.

    Args:
        state: the weights and the ledger to begin with; trained in place.
        rule: how updates move the server weights.
        on_best: called when an epoch was the best so far; by default `keep_best`.

    Attributes:
        stopped: whether training ends before its last epoch.
    """

    def __init__(self, state: StoreState, rule: UpdateRule, on_best: Callable[[], None] | None = None) -> None:
        self.state = state
        self.rule = rule
        self.stopped = False
        self._on_best = on_best or self.keep_best

    @property
    def ledger(self) -> Ledger:
        """The updates applied; read-only while training goes on."""
        return self.state.ledger

    def keep_best(self) -> None:
        """Copy the weights as the best so far."""
        self.state.best = self.state.store.copy()

    def pull(self, worker: int) -> Vector:
        """Return a copy of the weights that a worker starts from, (weights,)."""
        return self.rule.pull(self.state.store, worker)

    def server_weights(self, worker: int) -> Vector:
        """Return a copy of the weights that a worker evaluates, (weights,)."""
        return self.rule.server_weights(self.state.store, worker)

    def apply(self, account: WorkerAccount, frame: Frame) -> Vector:
        """Apply one worker's commit by an asynchronous rule; return the rule's answer to the worker, (weights,).

        Raises:
            WireError: the commit would make a weight infinite, or not a number; it is not applied.
        """
        assert isinstance(self.rule, AsynchronousRule)
        staleness = self.ledger.updates - account.pulled_at
        update = frame.vector()
        before = self._before([update])
        answer = self.rule.exchange(self.state.store, frame.worker, update, staleness)
        self._require_finite(before, [frame])
        self.ledger.record(account, frame)
        account.pulled_at = self.ledger.updates
        return answer

    def apply_round(self, frames: Sequence[Frame]) -> None:
        """Apply one commit of every worker by a synchronous rule, in the order of the frames.

        Raises:
            WireError: the commits would make a weight infinite, or not a number; none is applied.
        """
        assert isinstance(self.rule, SynchronousRule)
        updates = [frame.vector() for frame in frames]
        before = self._before(updates)
        self.rule.combine(self.state.store, updates, [frame.rows for frame in frames])
        self._require_finite(before, frames)
        for frame in frames:
            account = self.ledger.worker(frame.worker)
            account.pulled_at = self.ledger.updates
            self.ledger.record(account, frame)

    def _before(self, updates: Sequence[Vector]) -> Matrix | None:
        """Return a copy of the weights where these updates may make one infinite; None where they cannot."""
        return None if all(map(validation.is_moderate, updates)) else self.state.store.copy()

    def _require_finite(self, before: Matrix | None, frames: Sequence[Frame]) -> None:
        """Undo commits that have made a weight infinite or not a number, and raise WireError, which names the largest."""
        if before is None or np.isfinite(self.state.store).all():
            return
        self.state.store[:] = before
        largest = max(frames, key=lambda frame: float(np.abs(frame.vector()).max()))
        raise WireError(f"Commit {largest.sequence} of worker {largest.worker} makes a weight infinite or not a number.")

    def record_evaluation(self, frame: Frame, metrics: dict[str, float], stop: bool, awaited: int) -> None:
        """Record one worker's metrics at the end of an epoch, and stop training if it is time.

        Args:
            frame: the worker, the epoch, and the number of rows evaluated.
            metrics: the mean of each metric over those rows.
            stop: whether one of the worker's callbacks requests the end of training.
            awaited: evaluations that complete an epoch.
        """
        self.ledger.epoch(frame.epoch).evaluations[frame.worker] = (frame.rows, metrics)
        self.stopped = self.stopped or stop
        self._judge_epochs(awaited)

    def _judge_epochs(self, awaited: int) -> None:
        """Judge every epoch that all workers have completed, in order."""
        stopping = self.state.stopping
        while stopping.judged < len(self.ledger.epochs):
            epoch = self.ledger.epochs[stopping.judged]
            if len(epoch.evaluations) < awaited:
                return
            loss, epoch.rate_factor = epoch.metrics.get("loss", epoch.mean_loss), self.state.rate_factor
            if self.state.plateau:
                self.state.plateau.judge(loss)
            improved = stopping.judge(loss)
            if improved and stopping.patience is not None:
                self._on_best()
            self.stopped = self.stopped or stopping.due
