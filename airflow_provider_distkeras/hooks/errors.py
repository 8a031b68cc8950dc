"""Airflow's exceptions for this package's errors."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt, write_within
from airflow_provider_distkeras.contract.artifacts.failure import Failure
from airflow_provider_distkeras.contract.errors import PERMANENT, DistKerasError
from airflow_provider_distkeras.hooks.spark_environment import SparkEnvironmentError
from airflow_provider_distkeras.hooks.storage import storage_for

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def airflow_errors() -> Iterator[None]:
    """Raise Airflow's exceptions in place of this package's errors.

    Raises:
        AirflowFailException: A retry cannot help.
        AirflowException: A retry may help.
    """
    try:
        yield
    except (*PERMANENT, SparkEnvironmentError) as error:
        raise AirflowFailException(str(error)) from error
    except DistKerasError as error:
        raise AirflowException(str(error)) from error


def job_error(attempt: Attempt, logged: Failure | None = None) -> DistKerasError | None:
    """Return the error that an attempt's job wrote; None if it wrote none, or the file cannot be read.

    Args:
        attempt: The job's attempt.
        logged: The failure that the job logged, as it could not write the file.
    """
    if logged is not None:
        return logged.error
    try:
        return Failure.from_json(storage_for(attempt.path).read_bytes(attempt.error_path)).error
    except FileNotFoundError:
        return None
    except Exception:  # each driver raises its own kind, and the caller has an error to report already
        logger.debug("The error that the job wrote to %s cannot be read.", attempt.error_path, exc_info=True)
        return None


def record_failure(attempt: Attempt, error: BaseException) -> None:
    """Write why a job has ended, if it did not: an attempt that has ended without a result hinders no other one."""
    try:
        storage = storage_for(attempt.path)
        if not storage.exists(attempt.manifest_path) and not storage.exists(attempt.error_path):
            write_within(storage, attempt, attempt.error_path, Failure.of(error).to_json())
    except Exception:  # each driver raises its own kind, and the caller has an error to report already
        logger.debug("The end of the job cannot be written to %s.", attempt.error_path, exc_info=True)
