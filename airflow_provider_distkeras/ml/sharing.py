"""The driver's side of fits that are plain Spark tasks: each machine is given the rows once, and every task some cells."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
from pyspark import inheritable_thread_target
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
        self._feeding = threading.Lock()
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
        feeds = self.feed(wanted)
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

    def feed(self, wanted: Sequence[Wanted]) -> list[_Feed]:
        """Have a machine read the rows of fits, if none has; those of several side by side."""
        names = [(each.name, each.fitting.rows_key) for each in wanted]
        with self._feeding:  # others wait for rows, not for what is trained on them
            missing = {name: each for name, each in zip(names, wanted, strict=True) if name not in self._feeds}
            if missing:
                with ThreadPool(len(missing)) as pool:
                    fed = pool.map(inheritable_thread_target(self._spark)(self._feed_one), missing.values())
                self._feeds.update(zip(missing, fed, strict=True))
            return [self._feeds[name] for name in names]

    def _feed_one(self, wanted: Wanted) -> _Feed:
        fitting, key = wanted.fitting, uuid.uuid4().hex
        data = fitting.feed(wanted.training, wanted.held_out).coalesce(1)
        said = self._submit(data, [CellTask(key, fitting.cache_bytes)], fitting.backend, feeds=True)[0]
        if isinstance(said, Exception):
            raise said
        return _Feed(key, data, fitting.backend)

    def close(self) -> None:
        """Have every machine that a task reaches delete the rows; what is left goes with Spark's local disk."""
        keys = {feed.key: feed.backend for feed in self._feeds.values()}
        if not keys:
            return
        tasks = cluster.slots(self._spark.sparkContext)
        with worker_environment(self._spark.sparkContext, next(iter(keys.values()))):
            deleted = self._spark.range(0, tasks, 1, tasks).mapInArrow(partial(cells.forget, keys=tuple(keys)), "id long")
        deleted.collect()
        self._feeds.clear()

    def _submit(self, data: DataFrame, tasks: list[CellTask], backend: str, feeds: bool) -> list[Fitted | Exception | None]:
        """What a task says of each cell; None where its machine lacks the rows, or nothing was to be trained."""
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


@dataclass(frozen=True)
class _Feed:
    """Rows that some machine has, by a key, and where another one gets them from."""

    key: str
    data: DataFrame
    backend: str
