"""The loop of one Spark task: take the center, train a window, commit it, go on."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_provider_distkeras.contract.errors import DataError, DivergenceError, TrainingError
from airflow_provider_distkeras.spark import environment
from airflow_provider_distkeras.training import backends
from airflow_provider_distkeras.training.algorithms import UpdateRule, Vector
from airflow_provider_distkeras.training.callbacks import Callbacks
from airflow_provider_distkeras.training.dataset import Loader, ReadAhead, Rows, WindowBatch
from airflow_provider_distkeras.training.server.client import ParameterClient, Replaced, Shard

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark import TaskContext

#: What a worker reports at its end; `error` is empty where all went well, `epochs` is JSON.
REPORT_SCHEMA = (
    "worker int, host string, rows long, validation_rows long, seconds double, waited double, epochs string, "
    "error_type string, message string, error string"
)

_COMPILED_AT_ONCE = 8
_STEPS_PER_CALL = 32
_SAVE_SECONDS = 10.0
_compiled: dict[tuple[backends.NetworkPlan, int, int], backends.CompiledWindow] = {}


@dataclass(frozen=True)
class WorkerJob:
    """What every worker of a run is told, as plain values.

    Attributes:
        shards: where the parameter servers are, and which of the weights each holds.
        secret, certificate: what proves one belongs to the run, and the digest of the servers' certificate.
        timeout: seconds to wait for a server.
        plan, values: the network, and what `steps.arguments` took out of it.
        communication_window: steps between two commits; None for an epoch.
        gather: whether all workers make as many commits as the one with the most rows.
        learning_rate, lr_decay: the schedule, learning_rate / (1 + lr_decay * step), by the server's count of steps.
        evaluates: whether epochs end with an evaluation; validates: whether that is on rows set aside, not on those trained on.
        callbacks: Keras callbacks by import path; callbacks_on: chief or every.
        cache_bytes: how much of its rows a worker keeps in memory.
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
    gather: bool
    learning_rate: float
    lr_decay: float
    seed: int
    evaluates: bool
    validates: bool
    callbacks: tuple[str, ...]
    callbacks_on: str
    cache_bytes: int

    @property
    def window_key(self) -> tuple[backends.NetworkPlan, int, int]:
        """What `compiled_window` takes for it."""
        return self.plan, self.batch_size, min(self.communication_window or _STEPS_PER_CALL, _STEPS_PER_CALL)


def run_worker(batches: Iterable[pa.RecordBatch], job: WorkerJob) -> Iterator[pa.RecordBatch]:
    """Train on one partition and report; a failure is reported too, with its traceback, never swallowed or retried blindly."""
    import pyarrow as pa
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        raise TrainingError("A worker runs inside a Spark task only.")
    environment.pin_device(context.resources())
    number, started = context.partitionId(), time.perf_counter()
    attempt = _attempt(context, job.gather)
    session, epochs, error_type, message, error = None, [], "", "", ""
    rows, validation = Loader().load([])
    try:
        rows, validation = Loader(job.cache_bytes, local_folder()).load(batches)
        session = ParameterClient.connect(job.shards, job.secret, job.certificate, job.timeout, number, attempt)
        epochs = Worker(job, number, rows, validation, session).train()
    except Replaced:
        raise  # this task must not count: its success would end the attempt that does the work
    except Exception as cause:
        error_type, message, error = type(cause).__name__, str(cause), traceback.format_exc()
        with contextlib.suppress(OSError, TrainingError):  # it may be the connection that failed
            session = session or ParameterClient.connect(job.shards, job.secret, job.certificate, job.timeout, number, attempt)
            session.fail(f"worker {number} failed: {cause}")
    finally:
        if session is not None:
            session.close()
    report = {
        "worker": number,
        "host": socket.gethostname(),
        "rows": len(rows),
        "validation_rows": len(validation),
        "seconds": time.perf_counter() - started,
        "waited": session.waited if session else 0.0,
        "epochs": json.dumps(epochs),
        "error_type": error_type,
        "message": message,
        "error": error,
    }
    fields = [
        ("worker", pa.int32()), ("host", pa.string()), ("rows", pa.int64()), ("validation_rows", pa.int64()),
        ("seconds", pa.float64()), ("waited", pa.float64()), ("epochs", pa.string()),
        ("error_type", pa.string()), ("message", pa.string()), ("error", pa.string()),
    ]  # fmt: skip
    yield pa.RecordBatch.from_pylist([report], schema=pa.schema(fields))


@dataclass
class _Work:
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
    """One worker's training, from its rows to its last commit."""

    def __init__(self, job: WorkerJob, number: int, rows: Rows, validation: Rows, session: ParameterClient) -> None:
        self._job = job
        self._number = number
        self._rows = rows
        self._validation = validation
        self._session = session
        self._sequence = 0
        self._saved_at = time.perf_counter()

    def train(self) -> list[dict[str, Any]]:
        """Train all epochs; what each of them came to."""
        job, session = self._job, self._session
        commits = self._rows.commits(job.batch_size, job.communication_window)
        welcome = session.hello(len(self._rows), commits, self._rows.digest)
        if not (len(self._rows) or job.gather):
            return []
        done, self._clock = welcome.sequence, welcome.steps
        weights, commits = welcome.weights, welcome.commits if job.gather else commits
        self._compiled = compiled_window(*job.window_key)
        self._check_sizes()
        self._compiled.reset(int(np.random.SeedSequence([job.seed, self._number]).generate_state(1)[0]))
        if done and (saved := session.restore()):
            self._compiled.restore(saved)
        callbacks = Callbacks(job.callbacks if self._number == 0 or job.callbacks_on == "every" else (), self._compiled.network)
        history: list[dict[str, Any]] = []
        for epoch in range(job.num_epoch):
            if (epoch + 1) * commits <= done:
                self._sequence += commits
                continue  # an earlier attempt of this task trained it
            callbacks.epoch_begins(epoch)
            record, weights, stop = self._train_epoch(epoch, weights, done, commits)
            history.append(record)
            if job.evaluates and not stop:
                weights = weights.copy()  # what is pulled next would take its place
                measured = self._evaluate()
                record |= {f"val_{name}" if job.validates else name: value for name, value in measured.items()}
                asked = callbacks.epoch_ends(epoch, record, session.pull) if callbacks else False
                stop = session.evaluated(epoch, self._measured_rows(), measured, asked)
            if stop:
                break
        callbacks.end()
        session.leave()
        return history

    def _check_sizes(self) -> None:
        """Raise DataError unless the rows are as long as the network's inputs and its labels together."""
        features, labels = self._compiled.objective.num_features, sum(self._job.plan.label_sizes)
        if len(self._rows) and self._rows.records.shape[1] != features + labels + 1:
            raise DataError(
                f"featuresCol, labelCol: {self._rows.records.shape[1] - 1} values in a row; expected {features} features "
                f"and {labels} labels in every row."
            )

    def _train_epoch(self, epoch: int, weights: Vector, done: int, commits: int) -> tuple[dict[str, Any], Vector, bool]:
        """One pass over the rows: its record, the weights to go on from, and whether to stop."""
        job, started, before = self._job, time.perf_counter(), weights
        first, stop, pending, total = self._sequence, False, _Work(), _Work()
        windows = ReadAhead(self._windows(epoch, commits))
        for window in windows:
            if self._sequence < done:
                self._sequence += window.commits
                continue  # an earlier attempt of this task committed it
            if window.rows:
                where = f"worker {self._number}, epoch {epoch + 1}, {self._batches(self._sequence - first)}"
                weights, loss = self._run(weights, window, pending.steps, where)
                self._check(weights, loss, window, where)
                pending.add(window.steps, window.rows, loss)
            if not window.commits:
                continue
            self._sequence += 1
            update = job.rule.update(before, weights, pending.steps)
            reply = self._session.commit(
                update, self._sequence, pending.steps, epoch, pending.rows, pending.loss, windows.prepare
            )
            before = weights = job.rule.resume(weights, reply.weights)
            self._clock, stop = reply.steps, reply.stop
            total.add(pending.steps, pending.rows, pending.loss)
            pending = _Work()
            self._save_sometimes()
            if stop:
                break
        return {"epoch": epoch, **total.to_record(), "seconds": time.perf_counter() - started}, weights, stop

    def _windows(self, epoch: int, commits: int) -> Iterator[WindowBatch]:
        """The windows of an epoch; where workers go in step, empty ones fill up to the commits of the largest."""
        job, window, mine = self._job, self._compiled.shape[0], 0
        for part in self._rows.windows(job.batch_size, window, [job.seed, self._number, epoch], job.communication_window):
            mine += part.commits
            yield part
        nothing = WindowBatch(np.empty(0, np.float32), np.empty(0, np.float32), 0, 0)
        for _ in range(commits - mine):
            yield nothing

    def _learning_rates(self, ahead: int) -> Vector:
        """The learning rates of the next call's steps, `ahead` steps after the last commit."""
        at = self._clock + ahead + np.arange(self._compiled.shape[0])
        return (self._job.learning_rate / (1.0 + self._job.lr_decay * at)).astype(np.float32)

    def _batches(self, commit: int) -> str:
        """The batches of an epoch's commit, from 1."""
        every = self._job.communication_window
        return f"batches {commit * every + 1} to {(commit + 1) * every}" if every else "one of its batches"

    def _run(self, weights: Vector, window: WindowBatch, ahead: int, where: str) -> tuple[Vector, float]:
        try:
            return self._compiled.run(weights, window, self._learning_rates(ahead), self._job.values)
        except Exception as error:  # the network's own code may raise anything
            raise TrainingError(f"The network failed on {where}: {error}") from error

    def _check(self, weights: Vector, loss: float, window: WindowBatch, where: str) -> None:
        if math.isfinite(loss) and math.isfinite(float(weights.sum())):
            return
        raise DivergenceError(
            f"Training diverged: the loss is {loss / window.rows:g} on {where}. "
            f"Lower learning_rate (now {self._job.learning_rate:g}), or scale the features with process_csv(scaling='standard')."
        )

    def _measured_rows(self) -> int:
        if self._job.validates:
            return len(self._validation)
        return len(self._rows) if self._job.plan.metrics else 0

    def _evaluate(self) -> dict[str, float]:
        """What the center gives on the validation rows; without any, the metrics on the training rows."""
        if not self._measured_rows():
            return {}
        measured = self._compiled.evaluate(self._session.pull(), self._validation if self._job.validates else self._rows)
        return {name: value for name, value in measured.items() if self._job.validates or name != "loss"}

    def _save_sometimes(self) -> None:
        """Leave the optimizer's state with the server, for an attempt of this task that may come after a crash."""
        if time.perf_counter() - self._saved_at > _SAVE_SECONDS:
            self._session.save(self._compiled.save())
            self._saved_at = time.perf_counter()


def compiled_window(plan: backends.NetworkPlan, batch_size: int, window: int) -> backends.CompiledWindow:
    """The compiled window of a network; kept in this process for the next fit with the same one."""
    key = (plan, batch_size, window)
    found = _compiled.pop(key, None)
    if found is None:
        found = backends.compile_window(*key)
        environment.keep_loaded()
    _compiled[key] = found  # last used, last out
    while len(_compiled) > _COMPILED_AT_ONCE:
        del _compiled[next(iter(_compiled))]
    return found


def _attempt(context: TaskContext, gather: bool) -> int:
    """A number that every later attempt of this task exceeds. Workers that go in step share its upper half."""
    mine = context.taskAttemptId()
    if not gather:
        return mine
    from pyspark import BarrierTaskContext

    first = min(int(other) for other in BarrierTaskContext.get().allGather(str(mine)))
    return (first << 32) | (mine & 0xFFFFFFFF)


def local_folder() -> str:
    """A folder on Spark's local disk, where rows go that memory must not hold."""
    folders: Sequence[str] = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")
    return folders[0] or tempfile.gettempdir()
