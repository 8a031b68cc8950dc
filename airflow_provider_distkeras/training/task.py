"""Runs on executors. The Spark task of a worker: loads its partition, trains, and reports."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_distkeras.contract.errors import TrainingError
from airflow_provider_distkeras.spark import environment
from airflow_provider_distkeras.training.dataset import Loader
from airflow_provider_distkeras.training.server.client import ConnectionLostError, ParameterClient, WorkerReplacedError
from airflow_provider_distkeras.training.worker import Worker, WorkerJob

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark import TaskContext

#: The schema of a worker's report; `error_type` is empty unless the worker failed, `epochs` is JSON.
REPORT_SCHEMA = (
    "worker int, host string, rows long, validation_rows long, seconds double, waited double, epochs string, "
    "error_type string, message string, error string"
)

#: The errors of a connection that broke; over TLS, in the middle of a record.
_LOST = (ConnectionError, ssl.SSLEOFError)


def run_worker(batches: Iterable[pa.RecordBatch], job: WorkerJob) -> Iterator[pa.RecordBatch]:
    """Train on one partition, and yield one row of `REPORT_SCHEMA`, which reports a failure, too, with its traceback.

    Args:
        batches: the partition's rows, see `dataset.Loader.load`.
        job: the run's configuration.

    Raises:
        WorkerReplacedError: another attempt of this task has taken over; so this one must fail.
        ConnectionLostError: the connection broke, and the server is there: Spark's next attempt goes on from the last commit.
    """
    import pyarrow as pa
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        raise TrainingError("run_worker was called outside of a Spark task.")
    environment.pin_device(context.resources())
    number, started = context.partitionId(), time.perf_counter()
    attempt = _attempt_number(context, job.barrier)
    connect = partial(ParameterClient.connect, job.shards, job.secret, job.certificate, job.timeout, number, attempt)
    client, epochs, error_type, message, error = None, [], "", "", ""
    rows, validation = Loader().load([])
    try:
        rows, validation = Loader(job.cache_bytes, local_folder()).load(batches)
        client = connect()
        epochs = Worker(job, number, rows, validation, client).train()
    except WorkerReplacedError:
        raise  # this task must fail: its success would end the attempt that does the work
    except Exception as cause:
        if isinstance(cause, _LOST) and not isinstance(cause, TrainingError) and _is_reachable(connect):  # not refused
            raise ConnectionLostError(f"Worker {number} lost its connection to the parameter server: {cause}") from cause
        error_type, message, error = type(cause).__name__, str(cause), traceback.format_exc()
        _report_failure(f"worker {number} failed: {cause}", None if isinstance(cause, OSError) else client, connect)
    finally:
        if client is not None:
            client.close()
    report = {
        "worker": number,
        "host": socket.gethostname(),
        "rows": len(rows),
        "validation_rows": len(validation),
        "seconds": time.perf_counter() - started,
        "waited": client.waited if client else 0.0,
        "epochs": json.dumps(epochs),
        "error_type": error_type,
        "message": message,
        "error": error,
    }
    yield pa.RecordBatch.from_pylist([report], schema=_report_schema())


def _is_reachable(connect: Callable[[], ParameterClient]) -> bool:
    with contextlib.suppress(OSError, TrainingError):
        connect().close()
        return True
    return False


def _report_failure(message: str, client: ParameterClient | None, connect: Callable[[], ParameterClient]) -> None:
    """Report a failure to the server, if it is there, so that the other workers do not wait.

    Args:
        message: what happened.
        client: the worker's connection; None if it has none any more.
        connect: opens a new one.
    """
    with contextlib.suppress(OSError, TrainingError):
        if client is not None:
            client.fail(message)
            return
        with contextlib.closing(connect()) as new:
            new.fail(message)


def _report_schema() -> pa.Schema:
    """Return `REPORT_SCHEMA` as Arrow has it."""
    import pyarrow as pa

    return pa.schema([
        ("worker", pa.int32()), ("host", pa.string()), ("rows", pa.int64()), ("validation_rows", pa.int64()),
        ("seconds", pa.float64()), ("waited", pa.float64()), ("epochs", pa.string()),
        ("error_type", pa.string()), ("message", pa.string()), ("error", pa.string()),
    ])  # fmt: skip


def _attempt_number(context: TaskContext, barrier: bool) -> int:
    """Return a number that every later attempt of this task exceeds. Workers behind a barrier share its upper half."""
    own = context.taskAttemptId()
    if not barrier:
        return own
    from pyspark import BarrierTaskContext

    first = min(int(other) for other in BarrierTaskContext.get().allGather(str(own)))
    return (first << 32) | (own & 0xFFFFFFFF)


def local_folder() -> str:
    """Return a folder on Spark's local disk, for rows that exceed the memory."""
    folders: Sequence[str] = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")
    return folders[0] or tempfile.gettempdir()
