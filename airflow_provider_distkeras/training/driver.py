"""Distributed training in the Spark driver: from a DataFrame of features and labels to trained weights."""

from __future__ import annotations

import copy
import json
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract import errors
from airflow_provider_distkeras.contract.errors import ArtifactError, TrainingError
from airflow_provider_distkeras.spark import cluster
from airflow_provider_distkeras.spark.environment import worker_environment
from airflow_provider_distkeras.training import checkpoint
from airflow_provider_distkeras.training.algorithms.rule import Matrix, UpdateRule
from airflow_provider_distkeras.training.algorithms.synchronous import SynchronousRule
from airflow_provider_distkeras.training.backends import NetworkPlan
from airflow_provider_distkeras.training.backends.label_transform import LabelTransform
from airflow_provider_distkeras.training.checkpoint import CheckpointStore
from airflow_provider_distkeras.training.monitor import MonitorOptions, TrainingMonitor
from airflow_provider_distkeras.training.schedules.rate_schedule import RateSchedule
from airflow_provider_distkeras.training.server import client, protocol, tls
from airflow_provider_distkeras.training.server.client import Shard
from airflow_provider_distkeras.training.server.ledger import EarlyStopping, Plateau
from airflow_provider_distkeras.training.server.requests import SyncPolicy
from airflow_provider_distkeras.training.server.shards import ShardedParameterServer
from airflow_provider_distkeras.training.server.store import StoreState
from airflow_provider_distkeras.training.summary import TrainingSummary
from airflow_provider_distkeras.training.task import REPORT_SCHEMA, run_worker
from airflow_provider_distkeras.training.trainers import Trainer
from airflow_provider_distkeras.training.worker import WorkerJob

if TYPE_CHECKING:
    from pyspark import RDD, SparkContext
    from pyspark.sql import DataFrame

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingConfig:
    """The configuration of a training run: everything besides the data.

    Attributes:
        trainer: the trainer, with its parameters.
        plan: the network and its training step.
        values: the hyper-parameters that `backends.arguments.extract` took out of the network.
        trainable: the number of trainable weights; they come first in the flat vector.
        learning_rate, schedule: the learning rates, see `WorkerJob`.
        seed: decides the order of the rows and the random numbers of the layers.
        backend: the Keras backend of the workers.
        validates: whether the data have validation rows.
        patience, min_delta: when to stop early, see `EarlyStopping`.
        plateau: when to lower the learning rate; None never does.
        callbacks: Keras callbacks by import path.
        callbacks_on: chief or every: the workers that call them.
        cache_bytes: the most bytes of its rows that a worker keeps in memory.
        force_repartition: whether to repartition the rows even if they lie in as many partitions as there are workers.
        timeout: the most seconds of every wait.
        encryption: none or tls.
        shards: the number of servers that share the weights; None to choose it by their size.
        checkpoints: storage of the run's checkpoint; None to write none.
        checkpoint_seconds: seconds between two checkpoints.
        progress_path: a local file for a JSON line every few seconds; None to write none.
        label_transform: of the labels that the loss is of; None to take them as they are.
    """

    trainer: Trainer
    plan: NetworkPlan
    values: tuple[float, ...]
    trainable: int
    learning_rate: float
    schedule: RateSchedule
    seed: int
    backend: str
    validates: bool = False
    patience: int | None = None
    min_delta: float = 0.0
    plateau: Plateau | None = None
    callbacks: tuple[str, ...] = ()
    callbacks_on: str = "chief"
    cache_bytes: int = 1 << 30
    force_repartition: bool = False
    timeout: float = 1800.0
    encryption: str = "none"
    shards: int | None = None
    checkpoints: CheckpointStore | None = None
    checkpoint_seconds: float = 60.0
    progress_path: str | None = None
    label_transform: LabelTransform | None = None

    @property
    def evaluates(self) -> bool:
        """Whether workers report to the server at the end of their epochs."""
        return bool(self.validates or self.patience or self.plateau or self.callbacks or self.plan.metrics)


def train(data: DataFrame, config: TrainingConfig, weights: Matrix) -> tuple[Matrix, TrainingSummary]:
    """Train on every row of `data`, exactly `num_epoch` times, or until training stops early.

    Args:
        data: columns `features` and `label` (arrays of float), and optionally `weight` (float) and `validation` (boolean).
        config: the run's configuration.
        weights: the initial weights, (members, weights): one member, or as many as an ensemble has; not changed.

    Returns:
        The trained weights, (members, weights), and the summary.

    Raises:
        TrainingError: a worker failed (with its traceback), or rows are unaccounted for.
        DivergenceError: the loss stopped being a finite number.
        DataError: there are fewer rows than workers, or values are missing or not finite.
        SpecError: the cluster does not support the configuration.
    """
    restored = _restore(config)
    try:
        trained = _train(data, config, weights, restored)
    except client.RowsChangedError:
        if restored is None:
            raise
        logger.warning("The checkpoint is of other rows: training starts from the beginning.")
        trained = _train(data, config, weights, None)
    if config.checkpoints is not None:
        config.checkpoints.delete()
    return trained


def worker_job(
    config: TrainingConfig, rule: UpdateRule, shards: tuple[Shard, ...] = (), secret: bytes = b"", certificate: str | None = None
) -> WorkerJob:
    """Return the configuration of a run's workers.

    Args:
        config: the run's configuration.
        rule: how updates move the server weights.
        shards: the addresses and ranges of the parameter servers; none for a single worker without one.
        secret: the run's secret.
        certificate: the sha256 of the servers' certificate; None for plain text.
    """
    trainer = config.trainer
    return WorkerJob(
        shards=shards,
        secret=secret,
        certificate=certificate,
        timeout=config.timeout,
        plan=config.plan,
        values=config.values,
        rule=rule,
        batch_size=trainer.batch_size,
        num_epoch=trainer.num_epoch,
        communication_window=trainer.communication_window,
        barrier=isinstance(rule, SynchronousRule) or trainer.deterministic,
        learning_rate=config.learning_rate,
        schedule=config.schedule,
        seed=config.seed,
        evaluates=config.evaluates,
        validates=config.validates,
        callbacks=config.callbacks,
        callbacks_on=config.callbacks_on,
        cache_bytes=config.cache_bytes,
        label_transform=config.label_transform,
    )


def _restore(config: TrainingConfig) -> list[StoreState] | None:
    content = config.checkpoints.read() if config.checkpoints is not None else None
    if content is None:
        return None
    try:
        states = checkpoint.from_bytes(content)
    except ArtifactError as error:
        logger.warning("%s Training starts from the beginning.", error)
        return None
    logger.info("Training resumes from a checkpoint: %s rows have been trained.", f"{states[0].ledger.rows:,}")
    return states


def _train(
    data: DataFrame, config: TrainingConfig, weights: Matrix, restored: list[StoreState] | None
) -> tuple[Matrix, TrainingSummary]:
    started = time.perf_counter()
    trainer, context = config.trainer, data.sparkSession.sparkContext
    rule = trainer.rule(config.trainable, config.learning_rate)
    before = restored[0].ledger.rows if restored else 0
    barrier = isinstance(rule, SynchronousRule) or trainer.deterministic
    cluster.check_encryption(context, config.encryption)
    if barrier:
        name = type(trainer).__name__
        cluster.check_slots(context, trainer.num_workers, f"deterministic={name}" if trainer.deterministic else name)
    encryption, fingerprint = tls.create_context() if config.encryption == "tls" else (None, None)
    host, public_host = cluster.addresses(context)
    policy = SyncPolicy(
        barrier=barrier,
        round_robin=trainer.deterministic,
        together=_together(trainer, context) if trainer.is_divided else 0,
        timeout=config.timeout,
        num_epoch=trainer.num_epoch,
    )
    stopping, plateau = EarlyStopping(config.patience, config.min_delta), copy.copy(config.plateau)
    with ShardedParameterServer(
        weights, rule, host, public_host, policy, encryption, stopping, plateau, config.shards, restored
    ) as server:
        job = worker_job(config, rule, server.shards, server.secret, fingerprint)
        workers, progress = _run_workers(data, config, job, server)
        summary = TrainingSummary.from_state(
            server.state,
            workers,
            trainer=type(trainer).__name__,
            validates=config.validates,
            seconds=time.perf_counter() - started,
            learning_rates=job.epoch_rates(server.state),
            progress=progress,
            rows_before=before,
            label_transform=config.label_transform,
        )
        summary.check_rows(
            num_workers=trainer.num_workers, num_epoch=trainer.num_epoch, validates=config.validates, stopped=server.stopped
        )
        return server.result(), summary


def _together(trainer: Trainer, context: SparkContext) -> int:
    """Return how many workers can begin together; warn where that is not all, as those that share out a batch should."""
    free = cluster.slots(context)
    if free < trainer.num_workers and not cluster.is_elastic(context):
        logger.warning(
            "%d workers, but this cluster runs %d tasks at a time: the others train after them, on weights that have learned "
            "from a part of the rows only, which costs quality. Set num_workers to %d, or %s.",
            trainer.num_workers, free, free, cluster.more_slots(context, trainer.num_workers),
        )  # fmt: skip
    return max(1, min(trainer.num_workers, free))  # dynamic allocation may begin with no slot


def _run_workers(
    data: DataFrame, config: TrainingConfig, job: WorkerJob, server: ShardedParameterServer
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Run the workers as one Spark job; return their reports, and the monitor's records."""
    trainer, context = config.trainer, data.sparkSession.sparkContext
    with worker_environment(context, config.backend):
        # Not every plan may precede a barrier stage; a shuffle may.
        # Validation rows often lie in partitions of their own, but every worker needs some of both.
        evenly = job.barrier or config.validates or config.force_repartition
        partitions = cluster.deal(data, trainer.num_workers, evenly=evenly)
        reports = partitions.mapInArrow(partial(run_worker, job=job), REPORT_SCHEMA, barrier=job.barrier)
    if job.barrier:  # Spark restarts a barrier stage only if another stage reads its results
        reports = reports.repartition(1)
    tag = f"distkeras-{uuid.uuid4()}"

    def give_up(reason: str) -> None:
        server.fail(reason)
        context.cancelJobsWithTag(tag)

    options = MonitorOptions(
        num_workers=trainer.num_workers,
        num_epoch=trainer.num_epoch,
        progress_path=config.progress_path,
        checkpoints=config.checkpoints,
        checkpoint_seconds=config.checkpoint_seconds,
        timeout=config.timeout,
        give_up=give_up,
    )
    with TrainingMonitor(server, options) as monitor:
        workers = _collect(context, reports, tag, server)
    return workers, monitor.records


def collect(
    context: SparkContext, reports: DataFrame | RDD[Any], tag: str, failure: Callable[[], str | None] = lambda: None
) -> list[Any]:
    """Run a Spark job and return its rows, the tasks' reports.

    Args:
        context: the Spark context.
        reports: the job's result.
        tag: the job's tag, by which it can be cancelled.
        failure: returns the reason of a failure, if it is more exact than Spark's error.

    Raises:
        TrainingError: the job failed; a task that only reports a failure does not raise.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    context.addJobTag(tag)
    context.setInterruptOnCancel(True)
    try:
        return reports.collect()
    except (PySparkException, Py4JJavaError) as error:
        reason = failure() or str(error)
        lost = any(sign in reason for sign in ("exited unexpectedly", "ExecutorLost", client.ConnectionLostError.__name__))
        fix = (
            " Spark gave up after spark.task.maxFailures losses; on a local master, local[2,4] allows 4. "
            "Set snapshot_path to resume training from its last checkpoint."
        )
        raise TrainingError(f"The Spark job that trains failed: {reason}{fix if lost else ''}") from error
    finally:
        context.removeJobTag(tag)


def _collect(context: SparkContext, reports: DataFrame, tag: str, server: ShardedParameterServer) -> list[dict[str, Any]]:
    """Return the workers' reports. Raise the error of a worker, preferably one that failed first."""
    rows = collect(context, reports, tag, lambda: server.failure)
    workers = sorted((row.asDict() for row in rows), key=lambda report: report["worker"])
    refusal = client.RequestRefusedError.__name__  # of a worker that failed because another one had
    failed = sorted((report for report in workers if report["error_type"]), key=lambda report: report["error_type"] == refusal)
    if failed:
        raise worker_error(failed[0])
    for report in workers:
        del report["error_type"], report["message"], report["error"]
        report["epochs"] = json.loads(report["epochs"])
    return workers


def worker_error(report: dict[str, Any]) -> Exception:
    """Return the error of a worker that failed, of the type that the worker raised.

    Args:
        report: the worker's report, see `task.REPORT_SCHEMA`.
    """
    homes = (home for home in (errors, client, protocol) if hasattr(home, report["error_type"]))
    error_class = getattr(next(homes, None), report["error_type"], TrainingError)
    message = f"Worker {report['worker']} on {report['host']} failed: {report['message'] or report['error_type']}"
    if issubclass(error_class, errors.PERMANENT):
        return error_class(message)  # the message names the fix; a traceback would hide it
    return error_class(f"{message}\n\nThe worker's traceback:\n{report['error']}")
