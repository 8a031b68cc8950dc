"""What the jobs share: the request in, the manifest out, and a cause where there is none."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pyspark.sql import SparkSession

import airflow_provider_distkeras
from airflow_provider_distkeras.contract.artifacts.attempt import commit
from airflow_provider_distkeras.contract.artifacts.failure import Failure
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.artifacts.progress import PREFIX, JobEvent, JobStarted
from airflow_provider_distkeras.contract.artifacts.request import SUBMITTERS, Request
from airflow_provider_distkeras.contract.specs import JobDetails
from airflow_provider_distkeras.jobs import lease, submitter
from airflow_provider_distkeras.spark.environment import RECORDED_PACKAGES, installed_versions
from airflow_provider_distkeras.spark.progress import ProgressReporter
from airflow_provider_distkeras.spark.storage import storage_for

logger = logging.getLogger(__name__)

#: What tells of single fits, which a job's reporter does.
FITS = ("ml.estimator.fit", "training.monitor")


@dataclass(frozen=True)
class JobResult:
    """What a job's body hands back: the manifest's result, inputs and details."""

    result: dict[str, Any]
    inputs: dict[str, Any] = field(default_factory=dict)
    details: JobDetails = field(default_factory=JobDetails)


#: The body of a job: Spark, what is asked for, the folder to write to, and whom to tell how far it is.
Body = Callable[[SparkSession, Any, str, ProgressReporter], JobResult]


def main(body: Body) -> None:
    """Run a job from the command line; exits with 1, leaving the cause beside the request, if it fails."""
    parser = argparse.ArgumentParser(description="A job of airflow-provider-distkeras, submitted by its operators.")
    parser.add_argument("--spec", required=True, help="URI of the request")
    spec_path = parser.parse_args().spec
    log_to_stdout()
    submitter.watch(os.environ.get(SUBMITTERS))
    # Spark would look up the caller of every Column operation, for messages that are ours to write.
    spark = SparkSession.builder.config("spark.python.sql.dataFrameDebugging.enabled", "false").getOrCreate()
    try:
        run(spark, spec_path, body)
    except Exception as error:
        logger.error("%s", cause_of(error).line)
        traceback.print_exc()
        sys.exit(1)
    finally:
        spark.stop()


def run(spark: SparkSession, spec_path: str, body: Body) -> Manifest:
    """Answer the request at `spec_path`: run the body, then commit its outcome."""
    storage = storage_for(spark, spec_path)
    request = Request.from_json(storage.read_bytes(spec_path))
    lease.watch(storage, request.attempt)
    context = spark.sparkContext
    logger.info(JobStarted(request.spec.kind, context.applicationId, context.uiWebUrl))
    started = time.time()
    try:
        with ProgressReporter() as reporter:
            outcome = body(spark, request.spec, request.attempt.path, reporter)
            details = replace(outcome.details, seconds=round(time.time() - started, 3), versions=versions(spark))
            manifest = Manifest(request.spec.kind, request.spec.sha256, outcome.result, request.inputs or outcome.inputs, details)
            commit(storage, request.attempt, manifest)
            reporter.finish()
    except Exception as error:
        storage.write_bytes(request.attempt.error_path, cause_of(error).to_json())
        raise
    logger.info("committed %s", request.attempt.manifest_path)
    return manifest


def cause_of(error: Exception) -> Failure:
    """Why a job failed; of Java's exceptions what they say, and not that there was one."""
    java = getattr(error, "java_exception", None)
    return Failure.of(error) if java is None else Failure.of(error, str(java))


def versions(spark: SparkSession) -> dict[str, str]:
    """The versions that made a result, for whoever asks later."""
    own = {"airflow-provider-distkeras": airflow_provider_distkeras.__version__, "spark": spark.version}
    return own | installed_versions(RECORDED_PACKAGES)


class _JobFormatter(logging.Formatter):
    """Formats events as the lines that the operator parses, and prose for all else."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line of the job's log."""
        return record.msg.to_line() if isinstance(record.msg, JobEvent) else super().format(record)


def log_to_stdout() -> None:
    """Show this package's progress as lines that stand out from Spark's own."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JobFormatter(f"{PREFIX}%(message)s"))
    package = logging.getLogger("airflow_provider_distkeras")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    package.propagate = False
    for module in FITS:
        package.getChild(module).setLevel(logging.WARNING)
