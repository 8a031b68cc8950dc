"""The driver's side of fits that are plain Spark tasks: each machine reads the rows once, and every task runs some fits."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from pyspark import RDD
from pyspark.sql import DataFrame

from airflow_provider_distkeras.contract.errors import DataError, TrainingError
from airflow_provider_distkeras.ml.estimator import local_task
from airflow_provider_distkeras.ml.estimator.fit import FitPlan
from airflow_provider_distkeras.ml.estimator.local_task import REPORT_SCHEMA, FitTask, RowFeed
from airflow_provider_distkeras.ml.estimator.row_cache import FoldSlice, RowSummary
from airflow_provider_distkeras.ml.network.metrics import Measurement
from airflow_provider_distkeras.spark import cluster
from airflow_provider_distkeras.spark.environment import worker_environment
from airflow_provider_distkeras.training import driver
from airflow_provider_distkeras.training.algorithms.rule import Matrix
from airflow_provider_distkeras.training.summary import TrainingSummary

#: A report with its bytes, the error that a task reported, or None where the machine does not store the rows.
_Report = tuple[dict[str, Any], bytes] | Exception | None


@dataclass(frozen=True)
class FitRequest:
    """A fit for a plain Spark task.

    Attributes:
        plan: what to train; it `is_single_task`.
        fold_slice: the rows of the fit.
        measurement: the metrics to compute on the held-out rows; None for none.
    """

    plan: FitPlan
    fold_slice: FoldSlice
    measurement: Measurement | None = None


@dataclass(frozen=True)
class FitResult:
    """The result of a fit.

    Attributes:
        metrics: on the held-out rows, by name.
        sample: some held-out rows: the label, then the prediction, for classes their probabilities.
        summary: the summary of the training.
        members: the trained weights, (1, weights); (1, 0) if they were not returned.
        seconds: the time it took.
    """

    metrics: dict[str, float]
    sample: list[list[float]]
    summary: TrainingSummary
    members: Matrix
    seconds: float


class LocalFitPool:
    """Runs fits as plain tasks on rows that every machine reads once; a context manager that deletes the rows.

    Args:
        data: all rows, with their parts.
    """

    def __init__(self, data: DataFrame) -> None:
        self._data = data
        self._spark = data.sparkSession
        self._tag = f"distkeras-{uuid.uuid4()}"
        self._lock = threading.Lock()
        self._stored: dict[str, _StoredRows] = {}
        self._errors: dict[str, DataError] = {}

    def __enter__(self) -> LocalFitPool:
        return self

    def __exit__(self, failed: type[BaseException] | None, *exception: object) -> None:
        if failed is not None:
            self._spark.sparkContext.cancelJobsWithTag(self._tag)
        self.close()

    def run(self, requests: Sequence[FitRequest], *, returns_weights: bool = False) -> list[FitResult | Exception]:
        """Train and evaluate in one task, one fit after the other.

        Args:
            requests: the fits; all of the same backend.
            returns_weights: whether to return the trained weights.

        Returns:
            The result of each fit, or the error that it raised, such as DivergenceError, DataError or TrainingError.

        Raises:
            TrainingError: the task itself failed.
            DataError: the rows cannot be trained on.
        """
        stored = [self._store(request.plan) for request in requests]
        tasks = [
            FitTask(
                rows_key=rows.feed.key,
                fold_slice=request.fold_slice,
                fit=request.plan.single_worker_fit(self._data),
                measurement=request.measurement,
                returns_weights=returns_weights,
            )
            for request, rows in zip(requests, stored, strict=True)
        ]
        backend = requests[0].plan.backend
        reports = self._submit(tasks, backend)
        missing = [index for index, report in enumerate(reports) if report is None]  # the task ran on another machine
        for rows in {stored[index].feed.key: stored[index] for index in missing}.values():
            indices = [index for index in missing if stored[index] is rows]
            _, *retried = self._submit([tasks[index] for index in indices], backend, rows)
            for index, report in zip(indices, retried, strict=True):
                reports[index] = report
        return [_fit_result(report) for report in reports]

    def summarize(self, plan: FitPlan, *, with_moments: bool) -> RowSummary:
        """Store the rows of a fit on some machine, and return their summary.

        Args:
            plan: a fit of the rows.
            with_moments: whether to compute the moments of their features.

        Raises:
            DataError, SpecError, TrainingError: the rows cannot be trained on, or could not be read.
        """
        return self._store(plan, with_moments).summary

    def close(self) -> None:
        """Delete the rows from every machine that a task reaches; Spark deletes the others with its local disk."""
        if not self._stored:
            return
        keys, backend = tuple(rows.feed.key for rows in self._stored.values()), next(iter(self._stored.values())).backend
        context, slots = self._spark.sparkContext, cluster.slots(self._spark.sparkContext)
        with worker_environment(context, backend):
            context.range(slots, numSlices=slots).mapPartitions(partial(local_task.delete_rows, keys=keys)).collect()
        self._stored.clear()

    def _store(self, plan: FitPlan, with_moments: bool = False) -> _StoredRows:
        """Return the rows of a fit, stored on some machine now if they are not yet."""
        key = plan.rows_key
        with self._lock:  # other threads wait for rows, not for what is trained on them
            if key in self._errors:
                raise self._errors[key]
            if key not in self._stored:
                try:
                    self._stored[key] = self._read_rows(plan, with_moments)
                except DataError as error:  # another try would read the same rows
                    self._errors[key] = error
                    raise
            return self._stored[key]

    def _read_rows(self, plan: FitPlan, with_moments: bool) -> _StoredRows:
        feed, data = RowFeed(uuid.uuid4().hex, plan.cache_bytes, with_moments), plan.shared_rows(self._data).coalesce(1)
        rows = _StoredRows(feed, data, plan.backend)
        report = self._submit([], plan.backend, rows)[0]
        if isinstance(report, Exception):
            raise report
        if report is None:
            raise TrainingError("The task that stores rows returned an empty report.")
        return replace(rows, summary=RowSummary.from_report(*report))

    def _submit(self, tasks: list[FitTask], backend: str, rows: _StoredRows | None = None) -> list[_Report]:
        """Run one Spark task; return the report of the rows, if it stores any, and then one of each fit."""
        context = self._spark.sparkContext
        with worker_environment(context, backend):
            reports: DataFrame | RDD[Any]
            if rows is None:  # planning a query would take Spark as long as running this
                reports = context.range(1, numSlices=1).mapPartitions(partial(local_task.run_fits, tasks=tasks))
                reports.setName(self._tag)  # Spark reads the environment here
            else:
                run = partial(local_task.store_and_run_fits, feed=rows.feed, tasks=tasks)
                reports = rows.data.mapInArrow(run, REPORT_SCHEMA)
        return [_parse(json.loads(report), content) for report, content in driver.collect(context, reports, self._tag)]


@dataclass(frozen=True)
class _StoredRows:
    """Rows that some machine stores, and the data from which other machines read them."""

    feed: RowFeed
    data: DataFrame
    backend: str
    summary: RowSummary = field(default_factory=lambda: RowSummary({}, {}))


def _parse(report: dict[str, Any], content: bytes) -> _Report:
    if not report:
        return None
    return driver.worker_error(report) if report.get("error_type") else (report, content)


def _fit_result(report: _Report) -> FitResult | Exception:
    if report is None:
        return TrainingError("The task of a fit returned an empty report.")
    if isinstance(report, Exception):
        return report
    values, weights = report
    members = np.frombuffer(weights, np.float32).reshape(1, -1)
    summary = TrainingSummary(**values["summary"])
    return FitResult(values["metrics"], values["sample"], summary, members, values["seconds"])
