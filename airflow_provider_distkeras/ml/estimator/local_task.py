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
from airflow_provider_distkeras.ml.estimator import evaluation, row_cache
from airflow_provider_distkeras.ml.estimator.row_cache import FoldSlice
from airflow_provider_distkeras.ml.network.inference import class_probabilities
from airflow_provider_distkeras.spark import environment
from airflow_provider_distkeras.training.algorithms import Matrix
from airflow_provider_distkeras.training.dataset import Rows
from airflow_provider_distkeras.training.single_worker import SingleWorkerFit
from airflow_provider_distkeras.training.worker import compiled_window, local_folder

if TYPE_CHECKING:
    import pyarrow as pa

#: What is said of a cell: JSON, empty where the machine does not hold the rows; and the trained weights, if they are wanted.
#: Of rows that were stored: what `Survey.to_report` says.
REPORT_SCHEMA = "report string, content binary"


@dataclass(frozen=True)
class RowFeed:
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
class FitTask:
    """What to do on a machine's rows, as plain values: one cell.

    Attributes:
        key: of the rows; cut: which of them.
        alone: what to train.
        metrics: what to measure on the rows held out; classifies: whether the network tells classes apart.
        keeps_weights: whether the trained weights are wanted.
    """

    key: str
    cut: FoldSlice
    alone: SingleWorkerFit
    metrics: tuple[str, ...] = ()
    classifies: bool = False
    keeps_weights: bool = False


def run_fits(nothing: Iterable[Any], tasks: Sequence[FitTask]) -> Iterator[tuple[str, bytes]]:
    """Run cells one after the other, in a Spark task, and report on each; a failure is reported too, with its traceback."""
    _begin()
    _drain(nothing)
    yield from (_reported(partial(_run, task)) for task in tasks)


def feed_fits(batches: Iterable[pa.RecordBatch], feed: RowFeed, tasks: Sequence[FitTask]) -> Iterator[pa.RecordBatch]:
    """Store rows on this machine, and run cells on them; what was found out of the rows is reported first.

    Args:
        batches: the rows.
        feed: how to store them.
        tasks: what to do then, as `run_fits`.
    """
    import pyarrow as pa

    _begin()
    schema = pa.schema([("report", pa.string()), ("content", pa.binary())])
    for work in (partial(_store, feed, batches), *(partial(_run, task) for task in tasks)):
        report, content = _reported(work)
        _drain(batches)
        yield pa.RecordBatch.from_pylist([{"report": report, "content": content}], schema=schema)


def forget(nothing: Iterable[Any], keys: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Delete rows from this task's machine."""
    _drain(nothing)
    for key in keys:
        row_cache.forget(key, local_folder())
    return iter(())


def _begin() -> None:
    """Have this Python worker use the device that its task was given."""
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        raise TrainingError("A cell runs inside a Spark task only.")
    environment.pin_device(context.resources())


def _drain(given: Iterable[Any]) -> None:
    """Read what a task is given to its end: what is left unread would cost Spark this process, with all that it has compiled."""
    for _ in given:
        pass


def _reported(work: Callable[[], tuple[dict[str, Any], bytes]]) -> tuple[str, bytes]:
    """What a piece of work reports, as JSON and bytes, or what it met."""
    try:
        report, content = work()
    except Exception as error:
        host, trace = socket.gethostname(), traceback.format_exc()
        report = {"worker": 0, "host": host, "error_type": type(error).__name__, "message": str(error), "error": trace}
        content = b""
    return json.dumps(report), content


def _store(feed: RowFeed, batches: Iterable[pa.RecordBatch]) -> tuple[dict[str, Any], bytes]:
    """Store a machine's rows, and report what was found out of them."""
    found = row_cache.store(feed.key, local_folder(), batches, feed.cache_bytes, describes=feed.describes)
    return found.to_report()


def _run(task: FitTask) -> tuple[dict[str, Any], bytes]:
    """What a cell reports, nothing where this machine lacks its rows, and the weights, if they are wanted."""
    started = time.perf_counter()
    rows = row_cache.find(task.key, task.cut, sum(task.alone.job.plan.label_sizes), local_folder())
    if rows is None:
        return {}, b""
    members, summary = task.alone.train(rows.training, rows.validation)
    report = {"measured": _measure(task, task.alone, members, rows.held_out), "summary": summary.to_dict()}
    return {**report, "seconds": time.perf_counter() - started}, members.tobytes() if task.keeps_weights else b""


def _measure(task: FitTask, alone: SingleWorkerFit, members: Matrix, rows: Rows) -> dict[str, Any]:
    """The metrics, and a sample of what they are of."""
    if not task.metrics:
        return {"metrics": {}, "sample": []}
    compiled = compiled_window(*alone.job.window_key)
    blocks = list(compiled.predict(members[0], rows))
    outputs = np.concatenate([said[0].reshape(len(block), -1) for block, said in blocks])
    labels = np.concatenate([block[:, compiled.objective.num_features] for block, _ in blocks])
    some = rows.some(evaluation.sample_size(outputs.shape[1]))
    said = class_probabilities(outputs[some]) if task.classifies else outputs[some]
    return {
        "metrics": evaluation.evaluate_outputs(task.metrics, labels, outputs, classifies=task.classifies),
        "sample": np.column_stack([labels[some], said]).astype(np.float32).tolist(),
    }
