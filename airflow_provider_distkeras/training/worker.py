"""Runs on executors. A worker's training loop: pull the weights, train a window, commit the update, repeat."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_provider_distkeras.contract.errors import DataError, DivergenceError, TrainingError
from airflow_provider_distkeras.spark import environment
from airflow_provider_distkeras.training import backends
from airflow_provider_distkeras.training.algorithms.rule import UpdateRule, Vector
from airflow_provider_distkeras.training.backends.label_transform import LabelTransform
from airflow_provider_distkeras.training.callbacks import CallbackList
from airflow_provider_distkeras.training.dataset import ReadAhead, Rows, WindowBatch
from airflow_provider_distkeras.training.schedules.rate_schedule import RateSchedule
from airflow_provider_distkeras.training.server.client import ParameterClient, Shard
from airflow_provider_distkeras.training.server.store import StoreState

_MAX_COMPILED = 8
_STEPS_PER_CALL = 32
_SAVE_SECONDS = 10.0
#: This process's compiled windows, the last used one last.
_compiled: dict[tuple[backends.NetworkPlan, int, int], backends.CompiledWindow] = {}


@dataclass(frozen=True)
class WorkerJob:
    """The configuration of every worker of a run, as plain values.

    Attributes:
        shards: the addresses of the parameter servers, and the range of the weights that each holds.
        secret: the run's secret.
        certificate: the sha256 of the servers' certificate; None for plain text.
        timeout: seconds to wait for a server.
        plan: the network and its training step.
        values: the hyper-parameters that `backends.arguments.extract` took out of the network.
        rule: how updates move the server weights.
        batch_size: rows per step.
        num_epoch: passes over the rows.
        communication_window: steps between two commits; None for an epoch.
        barrier: whether all workers make as many commits as the one with the most rows.
        learning_rate: the worker's rate where the user's is `schedule.rate`.
        schedule: the user's learning rate, and how it moves, by the server's count of steps.
        seed: decides the order of the rows and the random numbers of the layers.
        evaluates: whether epochs end with an evaluation.
        validates: whether that is on validation rows; otherwise on the training rows.
        callbacks: Keras callbacks by import path.
        callbacks_on: chief or every.
        cache_bytes: the most bytes of its rows that a worker keeps in memory.
        label_transform: of the labels that the loss is of; None to take them as they are.
    """

    shards: tuple[Shard, ...]
    secret: bytes
    certificate: str | None
    timeout: float
    plan: backends.NetworkPlan
    values: tuple[float, ...]
    rule: UpdateRule
    batch_size: int
    num_epoch: int
    communication_window: int | None
    barrier: bool
    learning_rate: float
    schedule: RateSchedule
    seed: int
    evaluates: bool
    validates: bool
    callbacks: tuple[str, ...]
    callbacks_on: str
    cache_bytes: int
    label_transform: LabelTransform | None = None

    @property
    def window_key(self) -> tuple[backends.NetworkPlan, int, int]:
        """The arguments of `compiled_window` for this job."""
        return self.plan, self.batch_size, min(self.communication_window or _STEPS_PER_CALL, _STEPS_PER_CALL)

    def epoch_rates(self, state: StoreState) -> list[float]:
        """Return the user's learning rate at the end of each epoch of a run; none if it cannot move.

        Args:
            state: the state that the run ended with.
        """
        if self.schedule.is_constant and not state.plateau:
            return []
        ledger, networks = state.ledger, self.rule.num_workers // self.rule.workers_per_clock
        rows = sum(worker.rows for worker in ledger.workers.values()) // networks
        ends = np.cumsum([epoch.steps for epoch in ledger.epochs if epoch.rows]) // networks - 1
        factors = [epoch.rate_factor for epoch in ledger.epochs[: state.stopping.judged]]
        factors += [state.rate_factor] * (len(ends) - len(factors))
        table = self.schedule.table(rows, self.num_epoch, self.batch_size)
        return [float(table.rates(end)[0]) * factor for end, factor in zip(ends.reshape(-1, 1), factors, strict=False)]


@dataclass
class _TrainingTotals:
    """Steps and rows trained, and the sum of the rows' losses."""

    steps: int = 0
    rows: int = 0
    loss: float = 0.0

    def add(self, steps: int, rows: int, loss: float) -> None:
        self.steps += steps
        self.rows += rows
        self.loss += loss

    def to_record(self) -> dict[str, Any]:
        return {"rows": self.rows, "steps": self.steps, "loss": self.loss / self.rows if self.rows else None}


class Worker:
    """One worker's training, from its rows to its last commit.

    Args:
        job: the run's configuration.
        number: the worker's number.
        rows: the rows to train on.
        validation: the rows to validate on.
        client: the connection to the parameter server.
    """

    def __init__(self, job: WorkerJob, number: int, rows: Rows, validation: Rows, client: ParameterClient) -> None:
        self._job = job
        self._number = number
        self._rows = rows
        self._validation = validation
        self._client = client
        self._sequence = 0
        self._saved_at = time.perf_counter()

    def train(self) -> list[dict[str, Any]]:
        """Train all epochs that earlier attempts have not; return a record of each: its rows, steps, seconds and metrics.

        Raises:
            DataError: the rows do not fit the network.
            DivergenceError: the loss is not finite.
            TrainingError: the network failed, or the server refused a request.
        """
        job, client = self._job, self._client
        commits = self._rows.commits_per_epoch(job.batch_size, job.communication_window)
        welcome = client.hello(len(self._rows), commits, self._rows.digest)
        if not (len(self._rows) or job.barrier):
            return []
        done, self._clock = welcome.sequence, welcome.steps
        weights, commits = welcome.weights, welcome.commits if job.barrier else commits
        self._compiled = compiled_window(*job.window_key)
        self._rates = job.schedule.table(welcome.rows, job.num_epoch, job.batch_size)
        self._rate_factor = welcome.rate_factor
        self._check_record_size()
        self._compiled.reset(int(np.random.SeedSequence([job.seed, self._number]).generate_state(1)[0]))
        if done and (state := client.restore()):
            self._compiled.restore(state)
        callbacks = CallbackList(
            job.callbacks if self._number == 0 or job.callbacks_on == "every" else (), self._compiled.network
        )
        history: list[dict[str, Any]] = []
        for epoch in range(job.num_epoch):
            if (epoch + 1) * commits <= done:
                self._sequence += commits
                continue  # an earlier attempt of this task trained it
            callbacks.on_epoch_begin(epoch)
            record, weights, stop = self._train_epoch(epoch, weights, done, commits)
            history.append(record)
            if job.evaluates and not stop:
                weights = weights.copy()  # the next pull reuses its buffer
                metrics = self._evaluate()
                record |= {f"val_{name}" if job.validates else name: value for name, value in metrics.items()}
                requested = callbacks.on_epoch_end(epoch, record, client.pull) if callbacks else False
                stop, self._rate_factor = client.report_evaluation(epoch, self._evaluation_rows(), metrics, requested)
            if stop:
                break
        callbacks.on_train_end()
        client.leave()
        return history

    def _check_record_size(self) -> None:
        """Raise DataError unless a row has as many values as the network's inputs and its labels together."""
        features, labels = self._compiled.objective.num_features, sum(self._job.plan.label_sizes)
        if len(self._rows) and self._rows.records.shape[1] != features + labels + 1:
            raise DataError(
                f"featuresCol, labelCol: a row has {self._rows.records.shape[1] - 1} values; expected {features} features "
                f"and {labels} labels in every row."
            )

    def _train_epoch(self, epoch: int, weights: Vector, done: int, commits: int) -> tuple[dict[str, Any], Vector, bool]:
        """Train one pass over the rows.

        Args:
            epoch: its number, from 0.
            weights: the weights to start from, (weights,).
            done: commits that earlier attempts have made.
            commits: commits that an epoch makes.

        Returns:
            The epoch's record, the weights to continue from, and whether to stop.
        """
        job, started, before = self._job, time.perf_counter(), weights
        first, stop, pending, total = self._sequence, False, _TrainingTotals(), _TrainingTotals()
        windows = ReadAhead(self._windows(epoch, commits))
        for window in windows:
            if self._sequence < done:
                self._sequence += window.commits
                continue  # an earlier attempt of this task committed it
            if window.rows:
                location = f"worker {self._number}, epoch {epoch + 1}, {self._batches(self._sequence - first)}"
                weights, loss = self._run(weights, window, pending.steps, location)
                self._check_finite(weights, loss, window, location)
                pending.add(window.steps, window.rows, loss)
            if not window.commits:
                continue
            self._sequence += 1
            update = job.rule.update(before, weights, pending.steps)
            reply = self._client.commit(update, self._sequence, pending.steps, epoch, pending.rows, pending.loss, windows.prepare)
            before = weights = job.rule.resume(weights, reply.weights)
            self._clock, self._rate_factor, stop = reply.steps, reply.rate_factor, reply.stop
            total.add(pending.steps, pending.rows, pending.loss)
            pending = _TrainingTotals()
            self._save_periodically()
            if stop:
                break
        return {"epoch": epoch, **total.to_record(), "seconds": time.perf_counter() - started}, weights, stop

    def _windows(self, epoch: int, commits: int) -> Iterator[WindowBatch]:
        """Yield the windows of an epoch; behind a barrier, empty ones fill up to the commits of the largest worker."""
        job, window, made = self._job, self._compiled.shape[0], 0
        for part in self._rows.windows(job.batch_size, window, [job.seed, self._number, epoch], job.communication_window):
            made += part.commits
            if job.label_transform is not None:
                job.label_transform.apply(part.records, self._compiled.objective.num_features)
            yield part
        empty = WindowBatch(np.empty(0, np.float32), np.empty(0, np.float32), 0, 0)
        for _ in range(commits - made):
            yield empty

    def _learning_rates(self, ahead: int) -> Vector:
        """Return the learning rates of the next call's steps, `ahead` steps after the last commit, (window,)."""
        job, window = self._job, self._compiled.shape[0]
        if job.schedule.is_constant:
            return np.full(window, job.learning_rate * self._rate_factor, np.float32)
        # The other workers that share the clock take their steps meanwhile.
        steps = self._clock + (ahead + np.arange(window)) * job.rule.workers_per_clock
        return (self._rates.rates(steps) * (job.learning_rate / job.schedule.rate * self._rate_factor)).astype(np.float32)

    def _batches(self, commit: int) -> str:
        """Describe the batches of an epoch's commit, from 1."""
        every = self._job.communication_window
        return f"batches {commit * every + 1} to {(commit + 1) * every}" if every else "one of its batches"

    def _run(self, weights: Vector, window: WindowBatch, ahead: int, location: str) -> tuple[Vector, float]:
        try:
            return self._compiled.run(weights, window, self._learning_rates(ahead), self._job.values)
        except Exception as error:  # the network's own code may raise anything
            raise TrainingError(f"The network failed on {location}: {error}") from error

    def _check_finite(self, weights: Vector, loss: float, window: WindowBatch, location: str) -> None:
        if math.isfinite(loss) and math.isfinite(float(weights.sum())):
            return
        rate = self._job.schedule.rate * self._rate_factor
        raise DivergenceError(
            f"Training diverged: the loss is {loss / window.rows:g} on {location}. "
            f"Lower learning_rate (now {rate:g}), or scale the features with process_csv(scaling='standard')."
        )

    def _evaluation_rows(self) -> int:
        if self._job.validates:
            return len(self._validation)
        return len(self._rows) if self._job.plan.metrics else 0

    def _evaluate(self) -> dict[str, float]:
        """Return loss and metrics of the server weights on the validation rows; without any, the metrics on the training rows."""
        if not self._evaluation_rows():
            return {}
        rows = self._validation if self._job.validates else self._rows
        metrics = self._compiled.evaluate(self._client.pull(), rows, self._job.label_transform)
        return {name: value for name, value in metrics.items() if self._job.validates or name != "loss"}

    def _save_periodically(self) -> None:
        """Save the optimizer's state on the server, for an attempt of this task after a crash."""
        if time.perf_counter() - self._saved_at > _SAVE_SECONDS:
            self._client.save(self._compiled.save())
            self._saved_at = time.perf_counter()


def compiled_window(plan: backends.NetworkPlan, batch_size: int, window: int) -> backends.CompiledWindow:
    """Return the compiled window of a network, from this process's cache or compiled now.

    Args:
        plan: the network and its training step.
        batch_size: rows per step.
        window: steps per call, at most.
    """
    key = (plan, batch_size, window)
    compiled = _compiled.pop(key, None)
    if compiled is None:
        compiled = backends.compile_window(*key)
        environment.keep_loaded()
    _compiled[key] = compiled
    while len(_compiled) > _MAX_COMPILED:
        del _compiled[next(iter(_compiled))]
    return compiled
