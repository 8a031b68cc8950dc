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
from pyspark.sql import DataFrame, SparkSession

from airflow_provider_distkeras.contract.errors import TrainingError
from airflow_provider_distkeras.ml import cells
from airflow_provider_distkeras.ml.cells import REPORT_SCHEMA, CellTask
from airflow_provider_distkeras.ml.fitting import Fitting
from airflow_provider_distkeras.ml.predict import Kind
from airflow_provider_distkeras.training import cluster, engine
from airflow_provider_distkeras.training.algorithms import Matrix
from airflow_provider_distkeras.training.environment import worker_environment
from airflow_provider_distkeras.training.summary import TrainingSummary


@dataclass(frozen=True)
class Wanted:
    """A fit that is wanted.

    Attributes:
        fitting: what to train; one that `is_alone`.
        name: of the rows: two fits that say the same are given the same ones.
        training: the rows to train on; held_out: those to measure on.
    """

    fitting: Fitting
    name: str
    training: DataFrame
    held_out: DataFrame | None = None


@dataclass(frozen=True)
class Fitted:
    """What a fit came to.

    Attributes:
        measured: `metrics` and a `sample` (see `ml.agenda.Outcome`).
        summary: the account of the training.
        members: the trained weights, (1, weights); none if they are not wanted.
        seconds: it took.
    """

    measured: dict[str, Any]
    summary: TrainingSummary
    members: Matrix
    seconds: float


class Sharing:
    """Runs fits as plain tasks on rows that every machine reads once; use it as a context manager, for the rows go with it."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        self._tag = f"distkeras-{uuid.uuid4()}"
        self._lock = threading.Lock()
        self._feeds: dict[tuple[str, str], _Feed] = {}

    def __enter__(self) -> Sharing:
        return self

    def __exit__(self, failed: type[BaseException] | None, *exception: object) -> None:
        if failed is not None:
            self._spark.sparkContext.cancelJobsWithTag(self._tag)
        self.close()

    def run(
        self, wanted: Sequence[Wanted], metrics: tuple[str, ...] = (), *, keeps_weights: bool = False
    ) -> list[Fitted | Exception]:
        """Train and measure in one task, one after the other.

        Args:
            wanted: the fits; all of the same backend.
            metrics: what to measure on the rows held out.
            keeps_weights: whether the trained weights are wanted.

        Returns:
            What each came to: of one that failed what it met, such as DivergenceError, DataError or TrainingError.

        Raises:
            TrainingError: the task itself failed.
        """
        feeds = [self._feed(each) for each in wanted]
        tasks = [
            CellTask(
                key=feed.key,
                alone=each.fitting.alone(each.training),
                metrics=metrics,
                classifies=each.fitting.kind is Kind.CLASSES,
                keeps_weights=keeps_weights,
                cache_bytes=each.fitting.cache_bytes,
            )
            for each, feed in zip(wanted, feeds, strict=True)
        ]
        backend = wanted[0].fitting.backend
        told = self._submit(self._spark.range(0, 1, 1, 1), tasks, backend, feeds=False)
        for place, (feed, task) in enumerate(zip(feeds, tasks, strict=True)):
            if told[place] is None:  # it ran on another machine than the first
                told[place] = self._submit(feed.data, [task], backend, feeds=True)[0]
        return [each or TrainingError("A task reported nothing.") for each in told]

    def _feed(self, wanted: Wanted) -> _Feed:
        """The rows, which some machine has."""
        fitting = wanted.fitting
        with self._lock:
            feed = self._feeds.setdefault((wanted.name, fitting.rows_key), _Feed())
        with feed.lock:  # others wait for the rows, not for what is trained on them
            if feed.data is None:
                data = fitting.feed(wanted.training, wanted.held_out).coalesce(1)
                said = self._submit(data, [CellTask(feed.key, fitting.cache_bytes)], fitting.backend, feeds=True)[0]
                if isinstance(said, Exception):
                    raise said
                feed.data, feed.backend = data, fitting.backend
        return feed

    def close(self) -> None:
        """Have every machine that a task reaches delete the rows; what is left goes with Spark's local disk."""
        keys = {feed.key: feed.backend for feed in self._feeds.values() if feed.data is not None}
        if not keys:
            return
        tasks = cluster.slots(self._spark.sparkContext)
        with worker_environment(self._spark.sparkContext, next(iter(keys.values()))):
            deleted = self._spark.range(0, tasks, 1, tasks).mapInArrow(partial(cells.forget, keys=tuple(keys)), "id long")
        deleted.collect()
        self._feeds.clear()

    def _submit(
        self, data: DataFrame | None, tasks: list[CellTask], backend: str, feeds: bool
    ) -> list[Fitted | Exception | None]:
        """What a task says of each cell; None where its machine lacks the rows, or nothing was to be trained."""
        assert data is not None  # those who ask have fed it
        context = self._spark.sparkContext
        with worker_environment(context, backend):
            reports = data.mapInArrow(partial(cells.run_cells, tasks=tasks, feeds=feeds), REPORT_SCHEMA)
        return [_read(json.loads(row.report), row.weights) for row in engine.collect(context, reports, self._tag)]


def _read(report: dict[str, Any], weights: bytes) -> Fitted | Exception | None:
    if not report:
        return None
    if report.get("error_type"):
        return engine.worker_error(report)
    members = np.frombuffer(weights, np.float32).reshape(1, -1)
    return Fitted(report["measured"], TrainingSummary(**report["summary"]), members, report["seconds"])


class _Feed:
    """Rows that tasks share, by a key; `data` when a machine has them."""

    def __init__(self) -> None:
        self.key = uuid.uuid4().hex
        self.lock = threading.Lock()
        self.data: DataFrame | None = None
        self.backend = ""
