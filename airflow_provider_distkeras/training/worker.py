"""The loop of one Spark task: take the center, train a window, commit it, go on."""

from __future__ import annotations

import contextlib
import math
import socket
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from airflow_provider_distkeras.contract.errors import DivergenceError, TrainingError
from airflow_provider_distkeras.training import steps, wire
from airflow_provider_distkeras.training.algorithms import UpdateRule, Vector
from airflow_provider_distkeras.training.dataset import Rows, Window
from airflow_provider_distkeras.training.wire import Frame, Op

if TYPE_CHECKING:
    import pyarrow as pa

#: What a worker reports at its end; `error` is empty where all went well.
REPORT_SCHEMA = (
    "worker int, host string, rows long, seconds double, waited double, error_type string, message string, error string"
)

_COMPILED_AT_ONCE = 8
_compiled: dict[tuple[steps.NetworkPlan, int, int], steps.CompiledWindow] = {}


@dataclass(frozen=True)
class WorkerJob:
    """What every worker of a run is told, as plain values.

    Attributes:
        address, secret: where the parameter server is, and what proves one belongs to the run.
        weights: length of the flat weights vector.
        learning_rate, lr_decay: the schedule, learning_rate / (1 + lr_decay * step), by the server's count of steps.
    """

    address: tuple[str, int]
    secret: bytes
    plan: steps.NetworkPlan
    rule: UpdateRule
    weights: int
    batch_size: int
    num_epoch: int
    communication_window: int
    learning_rate: float
    lr_decay: float
    seed: int


class Session:
    """A worker's side of its connection to the parameter server."""

    def __init__(self, job: WorkerJob, worker: int, attempt: int) -> None:
        self._limit = job.weights * 4 + 4096
        self._worker, self._attempt = worker, attempt
        self._connection = wire.connect(job.address, job.secret)
        self.waited = 0.0

    def hello(self, rows: int) -> Frame:
        """Say who speaks, and how many rows there are to train, all epochs together.

        The answer holds the center, and how many windows an earlier attempt has committed.
        """
        return self._exchange(Frame(Op.HELLO, self._worker, self._attempt, rows=rows))

    def commit(self, update: Vector, sequence: int, epoch: int, window: Window, loss: float) -> Frame:
        """Send a window's update. The answer holds the new center."""
        payload = wire.as_payload(update)
        return self._exchange(
            Frame(Op.COMMIT, self._worker, self._attempt, sequence, window.steps, epoch, window.rows, loss, payload)
        )

    def fail(self, message: str) -> None:
        """Tell the server that this run is lost, so that the other workers stop."""
        wire.send(self._connection, Frame(Op.FAILED, self._worker, self._attempt, payload=message.encode()[: self._limit - 4096]))

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def _exchange(self, frame: Frame) -> Frame:
        started = time.perf_counter()
        wire.send(self._connection, frame)
        reply = wire.receive(self._connection, self._limit)
        self.waited += time.perf_counter() - started
        if reply.op != Op.CENTER:
            raise Refused(bytes(reply.payload).decode("utf-8", "replace"))
        return reply


class Refused(TrainingError):
    """The server does not want this worker's work: another one failed, or a newer attempt has taken over."""


def run_worker(batches: Iterable[pa.RecordBatch], job: WorkerJob) -> Iterator[pa.RecordBatch]:
    """Train on one partition and report; a failure is reported too, with its traceback, never swallowed or retried blindly."""
    import pyarrow as pa
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        raise TrainingError("A worker runs inside a Spark task only.")
    worker = context.partitionId()
    started = time.perf_counter()
    session, rows, error_type, message, error = None, Rows.load([]), "", "", ""
    try:
        session = Session(job, worker, context.taskAttemptId())
        rows = Rows.load(batches)
        _train(rows, job, session, worker)
    except Exception as cause:
        error_type, message, error = type(cause).__name__, str(cause), traceback.format_exc()
        if session is not None and not isinstance(cause, Refused):
            with contextlib.suppress(OSError):
                session.fail(str(cause))
    finally:
        if session is not None:
            session.close()
    report = {
        "worker": worker,
        "host": socket.gethostname(),
        "rows": len(rows),
        "seconds": time.perf_counter() - started,
        "waited": session.waited if session else 0.0,
        "error_type": error_type,
        "message": message,
        "error": error,
    }
    fields = [
        ("worker", pa.int32()), ("host", pa.string()), ("rows", pa.int64()), ("seconds", pa.float64()), ("waited", pa.float64()),
        ("error_type", pa.string()), ("message", pa.string()), ("error", pa.string()),
    ]  # fmt: skip
    yield pa.RecordBatch.from_pylist([report], schema=pa.schema(fields))


def _train(rows: Rows, job: WorkerJob, session: Session, worker: int) -> None:
    reply = session.hello(len(rows) * job.num_epoch)
    if not len(rows):
        return
    compiled = compiled_window(job)
    compiled.reset(int(np.random.SeedSequence([job.seed, worker]).generate_state(1)[0]))
    done, sequence = reply.sequence, 0
    weights = reply.vector()
    for epoch in range(job.num_epoch):
        for window in rows.windows(job.batch_size, job.communication_window, [job.seed, worker, epoch]):
            sequence += 1
            if sequence <= done:
                continue  # an earlier attempt of this task committed it
            after, loss = compiled.run(weights, window, _learning_rates(job, reply.steps))
            if not (math.isfinite(loss) and math.isfinite(float(after.sum()))):
                raise DivergenceError(
                    f"Training diverged: the loss is {loss / window.rows:g} on worker {worker}, epoch {epoch + 1}, "
                    f"window {sequence}. Lower learning_rate (now {job.learning_rate:g}), or scale the features with "
                    "process_csv(scaling='standard')."
                )
            reply = session.commit(job.rule.update(weights, after, window.steps), sequence, epoch, window, loss)
            weights = job.rule.resume(after, reply.vector())


def _learning_rates(job: WorkerJob, step: int) -> Vector:
    """The learning rates of the next window's steps, `step` steps into the run."""
    steps_ahead = step + np.arange(job.communication_window)
    return (job.learning_rate / (1.0 + job.lr_decay * steps_ahead)).astype(np.float32)


def compiled_window(job: WorkerJob) -> steps.CompiledWindow:
    """The compiled window of a job's network; kept in this process for the next fit with the same network."""
    key = (job.plan, job.batch_size, job.communication_window)
    found = _compiled.pop(key, None) or steps.compile_window(*key)
    _compiled[key] = found  # last used, last out
    while len(_compiled) > _COMPILED_AT_ONCE:
        del _compiled[next(iter(_compiled))]
    return found
