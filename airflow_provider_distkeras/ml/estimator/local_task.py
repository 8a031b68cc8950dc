"""Runs on executors. Fits in a plain Spark task, each trained and evaluated on rows that its machine stores."""

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
from airflow_provider_distkeras.ml.network.metrics import Measurement
from airflow_provider_distkeras.spark import environment
from airflow_provider_distkeras.training.algorithms.rule import Matrix
from airflow_provider_distkeras.training.backends.label_transform import LabelTransform
from airflow_provider_distkeras.training.dataset import Rows
from airflow_provider_distkeras.training.single_worker import SingleWorkerFit
from airflow_provider_distkeras.training.task import local_folder
from airflow_provider_distkeras.training.worker import compiled_window

if TYPE_CHECKING:
    import pyarrow as pa

#: The report of a fit: JSON, empty where the machine does not store the rows; and the trained weights, if they are returned.
#: The report of stored rows: see `RowSummary.to_report`.
REPORT_SCHEMA = "report string, content binary"


@dataclass(frozen=True)
class RowFeed:
    """How a machine stores the rows that a task reads, as plain values.

    Attributes:
        key: the name of the rows.
        cache_bytes: the memory that they may take before they are stored.
        with_moments: whether to compute the moments of their features.
    """

    key: str
    cache_bytes: int
    with_moments: bool = False


@dataclass(frozen=True)
class FitTask:
    """One fit on a machine's rows, as plain values.

    Attributes:
        rows_key: the name of the stored rows.
        fold_slice: the rows of the fit.
        fit: what to train.
        measurement: the metrics to compute on the held-out rows; None for none.
        returns_weights: whether to return the trained weights.
    """

    rows_key: str
    fold_slice: FoldSlice
    fit: SingleWorkerFit
    measurement: Measurement | None = None
    returns_weights: bool = False


def run_fits(partition: Iterable[Any], tasks: Sequence[FitTask]) -> Iterator[tuple[str, bytes]]:
    """Run fits one after the other, and yield a report of each; a failure is reported with its traceback.

    Args:
        partition: of a Spark job over nothing.
        tasks: the fits.
    """
    _begin()
    _drain(partition)
    yield from (_report(partial(_run_fit, task)) for task in tasks)


def store_and_run_fits(batches: Iterable[pa.RecordBatch], feed: RowFeed, tasks: Sequence[FitTask]) -> Iterator[pa.RecordBatch]:
    """Store rows on this machine, run fits on them, and yield a report of the rows, then one of each fit.

    Args:
        batches: the rows.
        feed: how to store them.
        tasks: the fits.
    """
    import pyarrow as pa

    _begin()
    schema = pa.schema([("report", pa.string()), ("content", pa.binary())])
    for step in (partial(_store, feed, batches), *(partial(_run_fit, task) for task in tasks)):
        report, content = _report(step)
        _drain(batches)
        yield pa.RecordBatch.from_pylist([{"report": report, "content": content}], schema=schema)


def delete_rows(partition: Iterable[Any], keys: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Delete the rows of these keys from this task's machine."""
    _drain(partition)
    for key in keys:
        row_cache.delete(key, local_folder())
    return iter(())


def _begin() -> None:
    """Pin this Python worker to the device of its task. Raise TrainingError outside a Spark task."""
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        raise TrainingError("A fit on stored rows runs inside a Spark task only.")
    environment.pin_device(context.resources())


def _drain(partition: Iterable[Any]) -> None:
    """Read a task's input to its end: Spark ends a process that leaves some unread, with all that it has compiled."""
    for _ in partition:
        pass


def _report(step: Callable[[], tuple[dict[str, Any], bytes]]) -> tuple[str, bytes]:
    """Return the report of a step as JSON and bytes, or a report of the error it raised."""
    try:
        report, content = step()
    except Exception as error:
        host, trace = socket.gethostname(), traceback.format_exc()
        report = {"worker": 0, "host": host, "error_type": type(error).__name__, "message": str(error), "error": trace}
        content = b""
    return json.dumps(report), content


def _store(feed: RowFeed, batches: Iterable[pa.RecordBatch]) -> tuple[dict[str, Any], bytes]:
    summary = row_cache.store(feed.key, local_folder(), batches, feed.cache_bytes, with_moments=feed.with_moments)
    return summary.to_report()


def _run_fit(task: FitTask) -> tuple[dict[str, Any], bytes]:
    """Return the report of a fit, empty where this machine does not store its rows, and the weights, if they are returned."""
    started = time.perf_counter()
    rows = row_cache.load(task.rows_key, task.fold_slice, sum(task.fit.job.plan.label_sizes), local_folder())
    if rows is None:
        return {}, b""
    members, summary = task.fit.train(rows.training, rows.validation)
    transform = None if summary.label_transform is None else LabelTransform.from_dict(summary.label_transform)
    report = {**_evaluate(task, members, rows.held_out, transform), "summary": summary.to_dict()}
    return {**report, "seconds": time.perf_counter() - started}, members.tobytes() if task.returns_weights else b""


def _evaluate(task: FitTask, members: Matrix, rows: Rows, transform: LabelTransform | None) -> dict[str, Any]:
    """Return the metrics, and a sample of labels and predictions, both of labels as they are before a transform."""
    if task.measurement is None:
        return {"metrics": {}, "sample": []}
    compiled = compiled_window(*task.fit.job.window_key)
    predictions = list(compiled.predict(members[0], rows))
    if transform is not None:
        predictions = [(block, transform.undo(outputs)) for block, outputs in predictions]
    outputs = np.concatenate([np.hstack([each.reshape(len(each), -1) for each in outputs]) for _, outputs in predictions])
    labels = np.concatenate([block[:, compiled.objective.num_features : -1] for block, _ in predictions])
    weights = np.concatenate([block[:, -1] for block, _ in predictions])
    if labels.shape[1] > 1:
        return {"metrics": task.measurement(labels, outputs, weights), "sample": []}
    labels = labels[:, 0]
    indices = rows.some(evaluation.sample_size(outputs.shape[1]))
    sampled = class_probabilities(outputs[indices]) if task.measurement.classifies else outputs[indices]
    return {
        "metrics": task.measurement(labels, outputs, weights),
        "sample": np.column_stack([labels[indices], sampled]).astype(np.float32).tolist(),
    }
