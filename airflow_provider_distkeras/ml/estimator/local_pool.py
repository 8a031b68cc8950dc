"""The driver's side of fits that are plain Spark tasks: each machine is given the rows once, and every task some cells."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
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
from airflow_provider_distkeras.ml.network.inference import OutputKind
from airflow_provider_distkeras.spark import cluster
from airflow_provider_distkeras.spark.environment import worker_environment
from airflow_provider_distkeras.training import driver
from airflow_provider_distkeras.training.algorithms import Matrix
from airflow_provider_distkeras.training.summary import TrainingSummary


@dataclass(frozen=True)
class FitRequest:
    """A fit that is wanted.

    Attributes:
        fitting: what to train; one that `runs_in_one_task`.
        cut: the rows it is given.
    """

    fitting: FitPlan
    cut: FoldSlice


@dataclass(frozen=True)
class FitResult:
    """What a fit came to.

    Attributes:
        measured: `metrics` and a `sample` (see `ml.study.Outcome`).
        summary: the account of the training.
        members: the trained weights, (1, weights); none if they are not wanted.
        seconds: it took.
    """

    measured: dict[str, Any]
    summary: TrainingSummary
    members: Matrix
    seconds: float


class LocalFitPool:
    """Runs fits as plain tasks on rows that every machine reads once; use it as a context manager, for the rows go with it.

    Args:
        data: all rows, with their parts.
    """

    def __init__(self, data: DataFrame) -> None:
        self._data = data
        self._spark = data.sparkSession
        self._tag = f"distkeras-{uuid.uuid4()}"
        self._feeding = threading.Lock()
        self._fed: dict[str, _Fed] = {}
        self._refused: dict[str, DataError] = {}

    def __enter__(self) -> LocalFitPool:
        return self

    def __exit__(self, failed: type[BaseException] | None, *exception: object) -> None:
        if failed is not None:
            self._spark.sparkContext.cancelJobsWithTag(self._tag)
        self.close()

    def run(
        self, wanted: Sequence[FitRequest], metrics: tuple[str, ...] = (), *, keeps_weights: bool = False
    ) -> list[FitResult | Exception]:
        """Train and measure in one task, one after the other.

        Args:
            wanted: the fits; all of the same backend.
            metrics: what to measure on the rows held out.
            keeps_weights: whether the trained weights are wanted.

        Returns:
            What each came to: of one that failed what it met, such as DivergenceError, DataError or TrainingError.

        Raises:
            TrainingError: the task itself failed.
            DataError: the rows are not what they should be.
        """
        fed = [self._feed(each.fitting).rows for each in wanted]
        tasks = [
            FitTask(
                key=rows.feed.key,
                cut=each.cut,
                alone=each.fitting.alone(self._data),
                metrics=metrics,
                classifies=each.fitting.kind is OutputKind.CLASSES,
                keeps_weights=keeps_weights,
            )
            for each, rows in zip(wanted, fed, strict=True)
        ]
        backend = wanted[0].fitting.backend
        told = self._submit(tasks, backend)
        lacking = [place for place, each in enumerate(told) if each is None]  # it ran on another machine than the first
        for rows in {fed[place].feed.key: fed[place] for place in lacking}.values():
            places = [place for place in lacking if fed[place] is rows]
            _, *again = self._submit([tasks[place] for place in places], backend, rows)
            for place, each in zip(places, again, strict=True):
                told[place] = each
        return [_fitted(each) for each in told]

    def survey(self, fitting: FitPlan, *, describes: bool) -> RowSummary:
        """Have a machine read the rows as this fit needs them, and tell what was found out of them.

        Args:
            describes: whether moments of their features are asked for.

        Raises:
            DataError, SpecError, TrainingError: the rows are not what they should be, or could not be read.
        """
        return self._feed(fitting, describes).survey

    def _feed(self, fitting: FitPlan, describes: bool = False) -> _Fed:
        """The rows as a fit needs them, on some machine; read there now, if none has."""
        key = fitting.feed_key
        with self._feeding:  # others wait for rows, not for what is trained on them
            if key in self._refused:
                raise self._refused[key]
            if key not in self._fed:
                try:
                    self._fed[key] = self._read_rows(fitting, describes)
                except DataError as error:  # no other try would find other rows
                    self._refused[key] = error
                    raise
            return self._fed[key]

    def _read_rows(self, fitting: FitPlan, describes: bool) -> _Fed:
        rows = _Rows(RowFeed(uuid.uuid4().hex, fitting.cache_bytes, describes), fitting.feed(self._data).coalesce(1))
        told = self._submit([], fitting.backend, rows)[0]
        if isinstance(told, Exception):
            raise told
        if told is None:
            raise TrainingError("A task reported nothing of the rows it was to store.")
        return _Fed(rows, fitting.backend, RowSummary.from_report(*told))

    def close(self) -> None:
        """Have every machine that a task reaches delete the rows; what is left goes with Spark's local disk."""
        if not self._fed:
            return
        keys, backend = tuple(fed.rows.feed.key for fed in self._fed.values()), next(iter(self._fed.values())).backend
        context, slots = self._spark.sparkContext, cluster.slots(self._spark.sparkContext)
        with worker_environment(context, backend):
            context.range(slots, numSlices=slots).mapPartitions(partial(local_task.forget, keys=keys)).collect()
        self._fed.clear()

    def _submit(self, tasks: list[FitTask], backend: str, rows: _Rows | None = None) -> list[_Told]:
        """What a task says of the rows it stores, if it does, and then of each cell."""
        context = self._spark.sparkContext
        with worker_environment(context, backend):
            reports: DataFrame | RDD[Any]
            if rows is None:  # Spark would take as long to plan a query as to run this
                reports = context.range(1, numSlices=1).mapPartitions(partial(local_task.run_fits, tasks=tasks))
                reports.setName(self._tag)  # which has Spark take the environment now
            else:
                reports = rows.data.mapInArrow(partial(local_task.feed_fits, feed=rows.feed, tasks=tasks), REPORT_SCHEMA)
        return [_read(json.loads(report), content) for report, content in driver.collect(context, reports, self._tag)]


#: A report with its bytes, what was met instead, or None where the machine lacks the rows.
_Told = tuple[dict[str, Any], bytes] | Exception | None


@dataclass(frozen=True)
class _Rows:
    """Rows that a machine is to store, and how."""

    feed: RowFeed
    data: DataFrame


@dataclass(frozen=True)
class _Fed:
    """Rows that some machine has, from where another one gets them, and what was found out of them."""

    rows: _Rows
    backend: str
    survey: RowSummary


def _read(report: dict[str, Any], content: bytes) -> _Told:
    if not report:
        return None
    return driver.worker_error(report) if report.get("error_type") else (report, content)


def _fitted(told: _Told) -> FitResult | Exception:
    if told is None:
        return TrainingError("A task reported nothing.")
    if isinstance(told, Exception):
        return told
    report, weights = told
    members = np.frombuffer(weights, np.float32).reshape(1, -1)
    return FitResult(report["measured"], TrainingSummary(**report["summary"]), members, report["seconds"])
