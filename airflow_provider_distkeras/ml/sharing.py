"""The driver's side of fits that are plain Spark tasks: each machine is given the rows once, and every task its cell."""

from __future__ import annotations

import json
import threading
import uuid
from functools import partial
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from airflow_provider_distkeras.ml import cells
from airflow_provider_distkeras.ml.cells import REPORT_SCHEMA, CellTask
from airflow_provider_distkeras.ml.fitting import Fitting
from airflow_provider_distkeras.ml.predict import Kind
from airflow_provider_distkeras.training import cluster, engine
from airflow_provider_distkeras.training.algorithms import Matrix
from airflow_provider_distkeras.training.environment import worker_environment
from airflow_provider_distkeras.training.summary import TrainingSummary


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
        self,
        fitting: Fitting,
        name: str,
        training: DataFrame,
        held_out: DataFrame | None = None,
        metrics: tuple[str, ...] = (),
        *,
        keeps_weights: bool = False,
    ) -> tuple[dict[str, Any], TrainingSummary, Matrix]:
        """Train by one worker, and measure.

        Args:
            fitting: what to train; one that `is_alone`.
            name: of the rows: two calls that say the same give the same ones.
            training: the rows to train on; held_out: those to measure `metrics` on.
            keeps_weights: whether the trained weights are wanted.

        Returns:
            `metrics` and a `sample` (see `ml.agenda.Outcome`), the account of the training, and the trained weights,
            (1, weights); none if they are not wanted.

        Raises:
            What the task met: DivergenceError, DataError, TrainingError and the like.
        """
        with self._lock:
            feed = self._feeds.setdefault((name, fitting.rows_key), _Feed())
        task = CellTask(
            key=feed.key,
            alone=fitting.alone(training),
            metrics=metrics,
            classifies=fitting.kind is Kind.CLASSES,
            keeps_weights=keeps_weights,
            cache_bytes=int(fitting.said["cache_mb"] * 2**20),
        )
        with feed.lock:  # others wait for the rows, not for what is trained on them
            if feed.data is None:
                data = fitting.feed(training, held_out).coalesce(1)
                self._submit(data, CellTask(key=feed.key, cache_bytes=task.cache_bytes), fitting.backend, feeds=True)
                feed.data, feed.backend = data, fitting.backend
        report, weights = self._submit(self._spark.range(0, 1, 1, 1), task, fitting.backend, feeds=False)
        if not report:  # it ran on another machine than the first
            report, weights = self._submit(feed.data, task, fitting.backend, feeds=True)
        return report["measured"], TrainingSummary(**report["summary"]), np.frombuffer(weights, np.float32).reshape(1, -1)

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

    def _submit(self, data: DataFrame, task: CellTask, backend: str, feeds: bool) -> tuple[dict[str, Any], bytes]:
        """What one task reports, nothing where its machine lacks the rows, and the weights."""
        context = self._spark.sparkContext
        with worker_environment(context, backend):
            reports = data.mapInArrow(partial(cells.run_cell, task=task, feeds=feeds), REPORT_SCHEMA)
        row = engine.collect(context, reports, self._tag)[0]
        report: dict[str, Any] = json.loads(row.report)
        if report.get("error_type"):
            raise engine.worker_error(report)
        return report, bytes(row.weights)


class _Feed:
    """Rows that tasks share, by a key; `data` when a machine has them."""

    def __init__(self) -> None:
        self.key = uuid.uuid4().hex
        self.lock = threading.Lock()
        self.data: DataFrame | None = None
        self.backend = ""
