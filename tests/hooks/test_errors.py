"""The errors of jobs, as an operator reads them."""

import logging
from datetime import UTC, datetime

import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.failure import Failure
from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.hooks.errors import job_error


@pytest.fixture
def attempt(tmp_path):
    claimed_at = datetime(2026, 3, 1, tzinfo=UTC)
    return Attempt.claim(
        str(tmp_path), "dag", "task", -1, "2026-03", claimed_at=claimed_at, generation=0, try_number=1, spec_sha256="ab" * 32
    )


def test_the_error_of_a_job_has_its_type_and_message(attempt):
    LocalStorage().write_bytes(attempt.error_path, Failure.of(DataError("No rows.")).to_json())

    error = job_error(attempt)

    assert (type(error), str(error)) == (DataError, "No rows.")


def test_a_job_that_wrote_no_error_has_none(attempt, caplog):
    with caplog.at_level(logging.DEBUG, "airflow_provider_distkeras"):
        assert job_error(attempt) is None

    assert caplog.records == []


def test_an_error_that_cannot_be_read_is_none_and_the_reason_is_logged(attempt, caplog):
    LocalStorage().write_bytes(attempt.error_path, b"{")

    with caplog.at_level(logging.DEBUG, "airflow_provider_distkeras"):
        assert job_error(attempt) is None

    assert f"The error that the job wrote to {attempt.error_path} cannot be read." in caplog.text
    assert "JSONDecodeError" in caplog.text
