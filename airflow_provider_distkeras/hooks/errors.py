"""Airflow's errors for ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.failure import Failure
from airflow_provider_distkeras.contract.errors import PERMANENT, DistKerasError
from airflow_provider_distkeras.hooks.spark_submit import SparkEnvironmentError
from airflow_provider_distkeras.hooks.storage import storage_for


@contextlib.contextmanager
def airflow_errors() -> Iterator[None]:
    """Airflow's errors for ours: what trying again cannot help fails at once, without burning retries."""
    try:
        yield
    except (*PERMANENT, SparkEnvironmentError) as error:
        raise AirflowFailException(str(error)) from error
    except DistKerasError as error:
        raise AirflowException(str(error)) from error


def written_error(attempt: Attempt) -> DistKerasError | None:
    """The error that the job of an attempt wrote down; None if it did not, or that cannot be read."""
    try:
        return Failure.from_json(storage_for(attempt.path).read_bytes(attempt.error_path)).error
    except Exception:  # there is none, or the file system went away: the error at hand says more
        return None
