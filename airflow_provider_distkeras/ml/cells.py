"""Cells of a search in a plain Spark task: each trained by one worker on rows that its machine holds, and measured there."""

from __future__ import annotations

import json
import socket
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_provider_distkeras.contract.errors import TrainingError
from airflow_provider_distkeras.ml import metrics, shared_rows
from airflow_provider_distkeras.ml.shared_rows import Cut
from airflow_provider_distkeras.training import environment
from airflow_provider_distkeras.training.algorithms import Matrix
from airflow_provider_distkeras.training.alone import Alone
from airflow_provider_distkeras.training.dataset import Rows
from airflow_provider_distkeras.training.worker import compiled_window, local_folder

if TYPE_CHECKING:
    import pyarrow as pa

#: What is said of a cell: JSON, empty where the machine does not hold the rows; and the trained weights, if they are wanted.
#: Of rows that were stored: what `Survey.to_report` says.
REPORT_SCHEMA = "report string, content binary"


@dataclass(frozen=True)
class Feed:
    """How a machine stores the rows that a task is given, as plain values.

    Attributes:
        key: names them.
        cache_bytes: how much memory they may take before they are stored.
        describes: whether moments of their features are asked for.
    """

    key: str
    cache_bytes: int
    describes: bool = False


@dataclass(frozen=True)
class CellTask:
    """What to do on a machine's rows, as plain values: one cell.

    Attributes:
        key: of the rows; cut: which of them.
        alone: what to train.
        metrics: what to measure on the rows held out; classifies: whether the network tells classes apart.
        keeps_weights: whether the trained weights are wanted.
    """

    key: str
    cut: Cut
    alone: Alone
    metrics: tuple[str, ...] = ()
    classifies: bool = False
    keeps_weights: bool = False


def run_cells(batches: Iterable[pa.RecordBatch], tasks: Sequence[CellTask], feed: Feed | None) -> Iterator[pa.RecordBatch]:
    """Run cells one after the other and report on each; a failure is reported too, with its traceback.

    Args:
        batches: the rows, if this Spark task feeds its machine with them; else anything.
        tasks: what to do.
        feed: how to store the rows; what was found out of them is reported first. None if the machine may have them.
    """
    import pyarrow as pa
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        raise TrainingError("A cell runs inside a Spark task only.")
    environment.pin_device(context.resources())
    schema = pa.schema([("report", pa.string()), ("content", pa.binary())])

    def told(work: Callable[[], tuple[dict[str, Any], bytes]]) -> pa.RecordBatch:
        report, content = _reported(work)
        return pa.RecordBatch.from_pylist([{"report": json.dumps(report), "content": content}], schema=schema)

    if feed is not None:
        yield told(partial(_store, feed, batches))
    for _ in batches:
        pass  # what is left unread would cost Spark this process
    for task in tasks:
        yield told(partial(_run, task))


def forget(batches: Iterable[pa.RecordBatch], keys: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Delete rows from this task's machine."""
    for key in keys:
        shared_rows.forget(key, local_folder())
    yield from batches


def _reported(work: Callable[[], tuple[dict[str, Any], bytes]]) -> tuple[dict[str, Any], bytes]:
    """What a piece of work reports, or what it met."""
    try:
        return work()
    except Exception as error:
        host, trace = socket.gethostname(), traceback.format_exc()
        return {"worker": 0, "host": host, "error_type": type(error).__name__, "message": str(error), "error": trace}, b""


def _store(feed: Feed, batches: Iterable[pa.RecordBatch]) -> tuple[dict[str, Any], bytes]:
    """Store a machine's rows, and report what was found out of them."""
    found = shared_rows.store(feed.key, local_folder(), batches, feed.cache_bytes, describes=feed.describes)
    return found.to_report()


def _run(task: CellTask) -> tuple[dict[str, Any], bytes]:
    """What a cell reports, nothing where this machine lacks its rows, and the weights, if they are wanted."""
    started = time.perf_counter()
    rows = shared_rows.find(task.key, task.cut, sum(task.alone.job.plan.label_sizes), local_folder())
    if rows is None:
        return {}, b""
    members, summary = task.alone.train(rows.training, rows.validation)
    report = {"measured": _measure(task, task.alone, members, rows.held_out), "summary": summary.to_dict()}
    return {**report, "seconds": time.perf_counter() - started}, members.tobytes() if task.keeps_weights else b""


def _measure(task: CellTask, alone: Alone, members: Matrix, rows: Rows) -> dict[str, Any]:
    """The metrics, and a sample of what they are of."""
    if not task.metrics:
        return {"metrics": {}, "sample": []}
    compiled = compiled_window(*alone.job.window_key)
    blocks = list(compiled.predict(members[0], rows))
    outputs = np.concatenate([said[0].reshape(len(block), -1) for block, said in blocks])
    labels = np.concatenate([block[:, compiled.objective.num_features] for block, _ in blocks])
    some = rows.some(metrics.sample_size(outputs.shape[1]))
    said = metrics.class_probabilities(outputs[some]) if task.classifies else outputs[some]
    return {
        "metrics": metrics.measure(task.metrics, labels, outputs, classifies=task.classifies),
        "sample": np.column_stack([labels[some], said]).astype(np.float32).tolist(),
    }
