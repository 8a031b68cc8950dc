"""The run of a job: read the request, run the body, commit the manifest or write the failure."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark.sql import SparkSession

import airflow_provider_distkeras
from airflow_provider_distkeras.contract.artifacts.attempt import Attempt, commit, require_claim, write_within
from airflow_provider_distkeras.contract.artifacts.failure import Failure
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.artifacts.progress import PREFIX, JobEvent, JobFailed, JobStarted
from airflow_provider_distkeras.contract.artifacts.request import SUBMITTERS, Request
from airflow_provider_distkeras.contract.errors import JobError
from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.contract.specs import JobDetails
from airflow_provider_distkeras.jobs import lease, submitter
from airflow_provider_distkeras.spark.environment import RECORDED_PACKAGES, installed_versions
from airflow_provider_distkeras.spark.progress import ProgressReporter
from airflow_provider_distkeras.spark.storage import storage_for

logger = logging.getLogger(__name__)

#: The modules that log single fits; in a job, the progress of the whole job replaces them.
FITS = ("ml.estimator.fit", "training.monitor")


@dataclass(frozen=True)
class JobResult:
    """The result of a job's body: the result, inputs and details of its manifest."""

    result: dict[str, Any]
    inputs: dict[str, Any] = field(default_factory=dict)
    details: JobDetails = field(default_factory=JobDetails)


#: The body of a job. It takes the Spark session, the spec, the attempt to write into and the reporter of its progress.
Body = Callable[[SparkSession, Any, Attempt, ProgressReporter], JobResult]


def main(body: Body) -> None:
    """Run a job from the command line. If it fails, write its failure beside the request and exit with 1."""
    parser = argparse.ArgumentParser(description="A job of airflow-provider-distkeras, submitted by its operators.")
    parser.add_argument("--spec", required=True, help="URI of the request")
    spec_path = parser.parse_args().spec
    log_to_stdout()
    submitter.watch(os.environ.get(SUBMITTERS))
    # Without this, Spark looks up the caller of every Column operation, for messages that this package writes itself.
    spark = SparkSession.builder.config("spark.python.sql.dataFrameDebugging.enabled", "false").getOrCreate()
    try:
        run(spark, spec_path, body)
    except Exception as error:
        logger.error("%s", failure_of(error).line)
        traceback.print_exc()
        sys.exit(1)
    finally:
        with contextlib.suppress(Py4JError, OSError):  # the Java process is gone
            spark.stop()


def run(spark: SparkSession, spec_path: str, body: Body) -> Manifest:
    """Run the body for a request, commit the result and return its manifest.

    Args:
        spark: the session.
        spec_path: the path of the request.
        body: the body of the job.
    """
    storage = storage_for(spark, spec_path)
    request = Request.from_json(storage.read_bytes(spec_path))
    lease.watch(storage, request.attempt)
    context = spark.sparkContext
    logger.info(JobStarted(request.spec.kind, context.applicationId, context.uiWebUrl))
    started = time.time()
    try:
        with ProgressReporter() as reporter:
            require_claim(storage, request.attempt)
            job_result = body(spark, request.spec, request.attempt, reporter)
            details = replace(job_result.details, seconds=round(time.time() - started, 3), versions=versions(spark))
            manifest = Manifest(
                request.spec.kind, request.spec.sha256, job_result.result, request.inputs or job_result.inputs, details
            )
            commit(storage, request.attempt, manifest)
            reporter.finish()
    except Exception as error:
        _write_failure(storage, request.attempt, failure_of(error))
        raise
    logger.info("committed %s", request.attempt.manifest_path)
    return manifest


def _write_failure(storage: Storage, attempt: Attempt, failure: Failure) -> None:
    """Write a failure beside the request; where that fails, as on a full disk, log it for the operator."""
    try:
        write_within(storage, attempt, attempt.error_path, failure.to_json())
    except Exception as error:  # each file system raises its own kind, and Spark's may be gone
        logger.warning("The failure cannot be written beside the request: %s", error)
        logger.info(JobFailed.of(failure))


def failure_of(error: Exception) -> Failure:
    """Return the failure that an error causes, with the first cause of the Java exception if there is one."""
    if _lost_java(error):
        return Failure.of(
            JobError(
                "Spark's Java process has ended while the job ran: it was killed, or ran out of memory. If the lines above name "
                "no other cause, give the driver more memory (driver_memory)."
            )
        )
    java = getattr(error, "java_exception", None)
    return Failure.of(error) if java is None else Failure.of(error, _java_cause(java))


def _java_cause(exception: Any) -> str:
    """Return the text of a Java exception, after that of the exception that caused it first of all."""
    first = exception
    while (cause := first.getCause()) is not None:
        first = cause
    return str(exception) if first is exception else f"{first} ({exception})"


def _lost_java(error: BaseException | None) -> bool:
    """Return whether an error, or its cause, is that the Java process does not answer Py4J any more."""
    while error is not None:
        frames = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
        refused = isinstance(error, ConnectionError) and bool(frames) and frames[-1].partition(".")[0] == "py4j"
        cut_off = type(error) is Py4JError and "Trace:" not in str(error)  # else Java's answer is its stack trace
        if refused or cut_off or isinstance(error, Py4JNetworkError):
            return True
        error = error.__cause__
    return False


def versions(spark: SparkSession) -> dict[str, str]:
    """Return the version of each package that makes a result."""
    own = {"airflow-provider-distkeras": airflow_provider_distkeras.__version__, "spark": spark.version}
    return own | installed_versions(RECORDED_PACKAGES)


class _JobFormatter(logging.Formatter):
    """Formats events as the lines that the operator parses, and prose for all else."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line of the job's log."""
        return record.msg.to_line() if isinstance(record.msg, JobEvent) else super().format(record)


def log_to_stdout() -> None:
    """Log this package's messages and events to stdout, as lines that differ from Spark's own."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JobFormatter(f"{PREFIX}%(message)s"))
    package = logging.getLogger("airflow_provider_distkeras")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    package.propagate = False
    for module in FITS:
        package.getChild(module).setLevel(logging.WARNING)
