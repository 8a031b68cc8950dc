"""What the pages may read in these tests: artifacts below the folder of each test."""

import pytest


@pytest.fixture(autouse=True)
def readable_roots(tmp_path, monkeypatch):
    """Set the option of the API server, as the tasks set an artifact_root of their own."""
    monkeypatch.setenv("AIRFLOW__DISTKERAS__READABLE_ROOTS", f"/nowhere, {tmp_path}")
