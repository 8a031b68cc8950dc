"""One distributed training run, from a DataFrame of features and labels to trained weights. Runs in the Spark driver."""

from __future__ import annotations

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
from airflow_provider_distkeras.training.algorithms import Matrix, SynchronousRule, UpdateRule
from airflow_provider_distkeras.training.backends import NetworkPlan
from airflow_provider_distkeras.training.checkpoint import CheckpointStore
from airflow_provider_distkeras.training.monitor import SilenceWatch, TrainingMonitor
from airflow_provider_distkeras.training.server import client, tls
from airflow_provider_distkeras.training.server.client import Shard
from airflow_provider_distkeras.training.server.ledger import EarlyStopping
from airflow_provider_distkeras.training.server.shards import ParameterServers
from airflow_provider_distkeras.training.server.store import Rendezvous, StoreState
from airflow_provider_distkeras.training.summary import TrainingSummary
from airflow_provider_distkeras.training.trainers import Trainer
from airflow_provider_distkeras.training.worker import REPORT_SCHEMA, WorkerJob, run_worker

if TYPE_CHECKING:
    from pyspark import RDD, SparkContext
    from pyspark.sql import DataFrame

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What to train and how, besides the data.

    Attributes:
        plan, values: the network, and the hyper-parameters that `steps.arguments` took out of it.
        trainable: how many of the initial weights are trainable (they come first).
        backend: the Keras backend of the workers.
        validates: whether the data have validation rows.
        patience, min_delta: when to stop early.
        callbacks, callbacks_on: Keras callbacks by import path, and whether on the chief or on every worker.
        cache_bytes: how much of its rows a worker keeps in memory.
        force_repartition: whether to deal the rows out even if they lie in as many partitions as there are workers.
        timeout: the most seconds that anything is waited for.
        encryption: none or tls.
        shards: how many servers share the weights; None for what their size asks for.
        snapshots: where the run's snapshots are kept, every `snapshot_seconds`; None for nowhere.
        progress_path: a local file that gets a JSON line every few seconds.
    """

    trainer: Trainer
    plan: NetworkPlan
    values: tuple[float, ...]
    trainable: int
    learning_rate: float
    lr_decay: float
    seed: int
    backend: str
    validates: bool = False
    patience: int | None = None
    min_delta: float = 0.0
    callbacks: tuple[str, ...] = ()
    callbacks_on: str = "chief"
    cache_bytes: int = 1 << 30
    force_repartition: bool = False
    timeout: float = 1800.0
    encryption: str = "none"
    shards: int | None = None
    snapshots: CheckpointStore | None = None
    snapshot_seconds: float = 60.0
    progress_path: str | None = None

    @property
    def evaluates(self) -> bool:
        """Whether workers meet the server at the end of their epochs."""
        return bool(self.validates or self.patience or self.callbacks or self.plan.metrics)


def train(data: DataFrame, run: Run, weights: Matrix) -> tuple[Matrix, TrainingSummary]:
    """Train on every row of `data`, exactly `num_epoch` times, or until it is time to stop.

    Args:
        data: columns `features` and `label` (arrays of float), and where wanted `weight` (float) and `validation` (boolean).
        run: what to train and how.
        weights: the initial weights, (members, weights): one member, or as many as an ensemble has; not changed.

    Returns:
        The trained weights, (members, weights), and the summary.

    Raises:
        TrainingError: a worker failed (with its traceback), or rows are unaccounted for.
        DivergenceError: the loss stopped being a finite number.
        DataError: fewer rows than workers, or values that cannot be trained on.
        SpecError: the cluster cannot run it so.
    """
    restored = _restore(run)
    try:
        trained = _train(data, run, weights, restored)
    except client.RowsChanged:
        if restored is None:
            raise
        logger.warning("The snapshot is of other rows: training starts from the beginning.")
        trained = _train(data, run, weights, None)
    if run.snapshots is not None:
        run.snapshots.delete()
    return trained


def worker_job(
    run: Run, rule: UpdateRule, shards: tuple[Shard, ...] = (), secret: bytes = b"", certificate: str | None = None
) -> WorkerJob:
    """What the workers of a run are told; without shards, one that trains alone."""
    trainer = run.trainer
    return WorkerJob(
        shards=shards,
        secret=secret,
        certificate=certificate,
        timeout=run.timeout,
        plan=run.plan,
        values=run.values,
        rule=rule,
        batch_size=trainer.batch_size,
        num_epoch=trainer.num_epoch,
        communication_window=trainer.communication_window,
        gather=isinstance(rule, SynchronousRule) or trainer.deterministic,
        learning_rate=run.learning_rate,
        lr_decay=run.lr_decay,
        seed=run.seed,
        evaluates=run.evaluates,
        validates=run.validates,
        callbacks=run.callbacks,
        callbacks_on=run.callbacks_on,
        cache_bytes=run.cache_bytes,
    )


def _restore(run: Run) -> list[StoreState] | None:
    content = run.snapshots.read() if run.snapshots is not None else None
    if content is None:
        return None
    try:
        states = checkpoint.from_bytes(content)
    except ArtifactError as error:
        logger.warning("%s Training starts from the beginning.", error)
        return None
    logger.info("Going on from a snapshot: %s rows have been trained.", f"{states[0].ledger.rows:,}")
    return states


def _train(data: DataFrame, run: Run, weights: Matrix, restored: list[StoreState] | None) -> tuple[Matrix, TrainingSummary]:
    started = time.perf_counter()
    trainer, context = run.trainer, data.sparkSession.sparkContext
    rule = trainer.rule(run.trainable, run.learning_rate)
    before = restored[0].ledger.rows if restored else 0
    gather = isinstance(rule, SynchronousRule) or trainer.deterministic
    cluster.check_encryption(context, run.encryption)
    if gather:
        name = type(trainer).__name__
        cluster.check_slots(context, trainer.num_workers, f"deterministic={name}" if trainer.deterministic else name)
    encryption, fingerprint = tls.make() if run.encryption == "tls" else (None, None)
    bind, reach = cluster.addresses(context)
    rendezvous = Rendezvous(gather, trainer.deterministic, run.timeout)
    stopping = EarlyStopping(run.patience, run.min_delta)
    with ParameterServers(weights, rule, bind, reach, rendezvous, encryption, stopping, run.shards, restored) as servers:
        job = worker_job(run, rule, servers.shards, servers.secret, fingerprint)
        with worker_environment(context, run.backend):
            # Not every plan may stand below a barrier; a shuffle may.
            # Validation rows often lie in partitions of their own: every worker needs some of both.
            dealt = cluster.deal(data, trainer.num_workers, evenly=gather or run.validates or run.force_repartition)
            reports = dealt.mapInArrow(partial(run_worker, job=job), REPORT_SCHEMA, barrier=gather)
        if gather:  # Spark starts a barrier stage again only if another stage takes its results
            reports = reports.repartition(1)
        tag = f"distkeras-{uuid.uuid4()}"

        def give_up(reason: str) -> None:
            servers.fail(reason)
            context.cancelJobsWithTag(tag)

        watch = SilenceWatch(
            trainer.num_workers, trainer.num_epoch, run.progress_path, run.snapshots, run.snapshot_seconds, run.timeout, give_up
        )
        with TrainingMonitor(servers, watch) as progress:
            workers = _collect(context, reports, tag, servers)
        summary = TrainingSummary.of(
            servers.books,
            workers,
            trainer=type(trainer).__name__,
            validates=run.validates,
            seconds=time.perf_counter() - started,
            progress=progress.records,
            rows_before=before,
        )
        summary.check_rows(
            asked=trainer.num_workers, num_epoch=trainer.num_epoch, validates=run.validates, stopped=servers.stopped
        )
        return servers.result(), summary


def collect(
    context: SparkContext, reports: DataFrame | RDD[Any], tag: str, failure: Callable[[], str | None] = lambda: None
) -> list[Any]:
    """Run a Spark job whose tasks report.

    Args:
        tag: of the job, by which it can be cancelled.
        failure: what is known of the reason, if the job fails.

    Raises:
        TrainingError: the job failed, not only what its tasks do.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    context.addJobTag(tag)
    context.setInterruptOnCancel(True)
    try:
        return reports.collect()
    except (PySparkException, Py4JJavaError) as error:
        reason = failure() or str(error)
        lost = "exited unexpectedly" in reason or "ExecutorLost" in reason
        fix = (
            " Spark gave up after spark.task.maxFailures losses; on a local master say local[2,4] for 4, "
            "or set snapshot_path to go on from there."
        )
        raise TrainingError(f"The Spark job that trains failed: {reason}{fix if lost else ''}") from error
    finally:
        context.removeJobTag(tag)


def _collect(context: SparkContext, reports: DataFrame, tag: str, servers: ParameterServers) -> list[dict[str, Any]]:
    """Run the Spark job. Raises what made a worker fail, first those that did not fail only because another had."""
    rows = collect(context, reports, tag, lambda: servers.failure)
    reported = sorted((row.asDict() for row in rows), key=lambda report: report["worker"])
    failed = sorted((report for report in reported if report["error_type"]), key=lambda report: report["error_type"] == "Refused")
    if failed:
        raise worker_error(failed[0])
    for report in reported:
        del report["error_type"], report["message"], report["error"]
        report["epochs"] = json.loads(report["epochs"])
    return reported


def worker_error(report: dict[str, Any]) -> Exception:
    """What a worker that failed says, as the error that it met."""
    known = getattr(errors, report["error_type"], getattr(client, report["error_type"], TrainingError))
    message = f"Worker {report['worker']} on {report['host']} failed: {report['message'] or report['error_type']}"
    if issubclass(known, errors.PERMANENT):
        return known(message)  # which says what to mend; a traceback would hide it
    return known(f"{message}\n\nThe worker's traceback:\n{report['error']}")
