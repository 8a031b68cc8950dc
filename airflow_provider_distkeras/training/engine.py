"""One distributed training run, from a DataFrame of features and labels to trained weights. Runs in the Spark driver."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_distkeras.contract import errors
from airflow_provider_distkeras.contract.errors import DataError, TrainingError
from airflow_provider_distkeras.training.algorithms import Vector
from airflow_provider_distkeras.training.environment import worker_environment
from airflow_provider_distkeras.training.server import Ledger, ParameterServer
from airflow_provider_distkeras.training.steps import NetworkPlan
from airflow_provider_distkeras.training.summary import TrainingSummary
from airflow_provider_distkeras.training.trainers import Trainer
from airflow_provider_distkeras.training.worker import REPORT_SCHEMA, WorkerJob, run_worker

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import DataFrame, Row

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What to train and how, besides the data.

    Attributes:
        trainable: how many of the initial weights are trainable (they come first).
        backend: the Keras backend of the workers.
    """

    trainer: Trainer
    plan: NetworkPlan
    trainable: int
    learning_rate: float
    lr_decay: float
    seed: int
    backend: str


def train(data: DataFrame, run: Run, weights: Vector) -> tuple[Vector, TrainingSummary]:
    """Train on every row of `data`, exactly `num_epoch` times.

    Args:
        data: columns `features` (array of float) and `label` (float).
        run: what to train and how.
        weights: the initial weights, as one flat vector; not changed.

    Returns:
        The trained weights and the summary.

    Raises:
        TrainingError: a worker failed (with its traceback), or rows are unaccounted for.
        DivergenceError: the loss stopped being a finite number.
        DataError: fewer rows than workers, or values that cannot be trained on.
    """
    started = time.perf_counter()
    trainer, context = run.trainer, data.sparkSession.sparkContext
    rule = trainer.rule(run.trainable, trainer.num_workers)
    bind, reach = _addresses(context)
    with ParameterServer(weights.copy(), rule, bind, partial(_log_progress, started, trainer.num_workers)) as server:
        job = WorkerJob(
            address=(reach, server.port),
            secret=server.secret,
            plan=run.plan,
            rule=rule,
            weights=len(weights),
            batch_size=trainer.batch_size,
            num_epoch=trainer.num_epoch,
            communication_window=trainer.communication_window,
            learning_rate=run.learning_rate,
            lr_decay=run.lr_decay,
            seed=run.seed,
        )
        with worker_environment(context, run.backend):
            reports = data.repartition(trainer.num_workers).mapInArrow(partial(run_worker, job=job), REPORT_SCHEMA)
        workers = _collect(reports)
        center, ledger = server.center.copy(), server.ledger
    summary = _summarize(trainer, workers, ledger, time.perf_counter() - started)
    if summary.rows < trainer.num_workers:
        raise DataError(f"{trainer.num_workers} workers for {summary.rows} rows: set num_workers to at most the number of rows.")
    if summary.rows_trained != summary.rows * trainer.num_epoch:
        raise TrainingError(f"{summary.rows_trained} rows trained, expected {summary.rows} rows x {trainer.num_epoch} epochs.")
    return center, summary


def _collect(reports: DataFrame) -> list[Row]:
    """Run the Spark job. Raises what made a worker fail, first those that did not fail only because another had."""
    from pyspark.errors import PySparkException

    try:
        workers = sorted(reports.collect(), key=lambda row: row.worker)
    except PySparkException as error:
        raise TrainingError(f"The Spark job that trains failed: {error}") from error
    failed = sorted((row for row in workers if row.error_type), key=lambda row: row.error_type == "Refused")
    if failed:
        first = failed[0]
        cause = first.message or first.error_type
        known = getattr(errors, first.error_type, TrainingError)
        raise known(f"Worker {first.worker} on {first.host} failed: {cause}\n\nThe worker's traceback:\n{first.error}")
    return workers


def _summarize(trainer: Trainer, workers: list[Row], ledger: Ledger, seconds: float) -> TrainingSummary:
    return TrainingSummary(
        trainer=type(trainer).__name__,
        rows=sum(row.rows for row in workers),
        rows_trained=ledger.rows,
        epochs=trainer.num_epoch,
        loss=[loss / rows for loss, rows in zip(ledger.epoch_loss, ledger.epoch_rows, strict=True)],
        seconds=seconds,
        updates=ledger.updates,
        steps=ledger.steps,
        staleness=ledger.staleness / ledger.updates if ledger.updates else 0.0,
        workers=[{key: row[key] for key in ("worker", "host", "rows", "seconds", "waited")} for row in workers],
    )


def _log_progress(started: float, num_workers: int, ledger: Ledger) -> None:
    if not ledger.rows:
        return
    # Spark deals the rows out evenly, so workers that wait for a slot have as many as those that run.
    share = ledger.rows / sum(worker.rows for worker in ledger.workers.values()) * len(ledger.workers) / num_workers
    loss = ledger.epoch_loss[-1] / ledger.epoch_rows[-1]
    speed = ledger.rows / (time.perf_counter() - started)
    logger.info("%.0f %% of this fit, %s samples/s, loss %.4g", 100 * share, f"{speed:,.0f}", loss)


def _addresses(context: SparkContext) -> tuple[str, str]:
    """The address the parameter server listens on, and the one the executors reach it by."""
    conf = context.getConf()
    if (context.master or "").startswith("local"):
        return "127.0.0.1", "127.0.0.1"
    host = conf.get("spark.driver.host", "")
    return conf.get("spark.driver.bindAddress", host), host
