"""Airflow's errors for ours."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import NoReturn

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_distkeras.contract.errors import PERMANENT, DistKerasError
from airflow_provider_distkeras.contract.paths import Attempt
from airflow_provider_distkeras.operators.environment import SparkEnvironmentError
from airflow_provider_distkeras.operators.storage import storage_for


@contextlib.contextmanager
def airflow_errors() -> Iterator[None]:
    """Airflow's errors for ours: what trying again cannot help fails at once, without burning retries."""
    try:
        yield
    except (*PERMANENT, SparkEnvironmentError) as error:
        raise AirflowFailException(str(error)) from error
    except DistKerasError as error:
        raise AirflowException(str(error)) from error


def raise_written_cause(attempt: Attempt, error: Exception) -> None:
    """Raise the cause that the job of an attempt wrote down, if it did."""
    try:
        cause = json.loads(storage_for(attempt.path).read_bytes(attempt.error_path))
        message, permanent = str(cause["message"]), bool(cause["permanent"])
    except Exception:  # there is none, or the file system went away: the error at hand says more
        return
    _raise(message, permanent, error)


def _raise(message: str, permanent: bool, error: Exception) -> NoReturn:
    raise (AirflowFailException if permanent else AirflowException)(message) from error
