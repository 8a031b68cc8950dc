"""Cells of a search in a plain Spark task: each trained by one worker on rows that its machine holds, and measured there."""

from __future__ import annotations

import json
import socket
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_provider_distkeras.contract.errors import TrainingError
from airflow_provider_distkeras.ml import metrics
from airflow_provider_distkeras.training import environment, shared
from airflow_provider_distkeras.training.algorithms import Matrix
from airflow_provider_distkeras.training.alone import Alone
from airflow_provider_distkeras.training.dataset import Rows
from airflow_provider_distkeras.training.worker import compiled_window, local_folder

if TYPE_CHECKING:
    import pyarrow as pa

#: What is said of a cell: JSON, empty where the machine does not hold the rows; and the trained weights, if they are wanted.
REPORT_SCHEMA = "report string, weights binary"


@dataclass(frozen=True)
class CellTask:
    """What to do on a machine's rows, as plain values: one cell.

    Attributes:
        key: of the rows; cache_bytes: how much memory they may take before they are stored.
        alone: what to train; None to do no more than store the rows.
        metrics: what to measure on the rows held out; classifies: whether the network tells classes apart.
        keeps_weights: whether the trained weights are wanted.
    """

    key: str
    cache_bytes: int
    alone: Alone | None = None
    metrics: tuple[str, ...] = ()
    classifies: bool = False
    keeps_weights: bool = False


def run_cells(batches: Iterable[pa.RecordBatch], tasks: Sequence[CellTask], feeds: bool) -> Iterator[pa.RecordBatch]:
    """Run cells one after the other and report on each; a failure is reported too, with its traceback.

    Args:
        batches: the rows, if this Spark task `feeds` its machine with them; else anything.
        tasks: what to do; if it feeds, one thing.
        feeds: whether the machine may not have the rows yet.
    """
    import pyarrow as pa
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        raise TrainingError("A cell runs inside a Spark task only.")
    environment.pin_device(context.resources())
    if not feeds:
        for _ in batches:
            pass  # what is left unread would cost Spark this process
    schema = pa.schema([("report", pa.string()), ("weights", pa.binary())])
    for task in tasks:
        report, weights = _run(task, batches if feeds else None)
        yield pa.RecordBatch.from_pylist([{"report": json.dumps(report), "weights": weights}], schema=schema)


def forget(batches: Iterable[pa.RecordBatch], keys: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Delete rows from this task's machine."""
    for key in keys:
        shared.forget(key, local_folder())
    yield from batches


def _run(task: CellTask, batches: Iterable[pa.RecordBatch] | None) -> tuple[dict[str, Any], bytes]:
    """What a cell reports, nothing where this machine lacks its rows, and the weights, if they are wanted."""
    started = time.perf_counter()
    try:
        folder = local_folder()
        rows = shared.find(task.key, folder) if batches is None else shared.store(task.key, folder, batches, task.cache_bytes)
        if rows is None or task.alone is None:
            return {}, b""
        members, summary = task.alone.train(rows.training, rows.validation)
        report = {"measured": _measure(task, task.alone, members, rows.held_out), "summary": summary.to_dict()}
        return {**report, "seconds": time.perf_counter() - started}, members.tobytes() if task.keeps_weights else b""
    except Exception as error:
        host, trace = socket.gethostname(), traceback.format_exc()
        return {"worker": 0, "host": host, "error_type": type(error).__name__, "message": str(error), "error": trace}, b""


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
