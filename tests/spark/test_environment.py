"""The environment of Python workers."""

from types import SimpleNamespace

import pytest

from airflow_provider_distkeras.spark.environment import keeps_rows_off_disk, worker_environment


@pytest.mark.parametrize(("settings", "off_disk"), [({}, False), ({"spark.io.encryption.enabled": "true"}, True)])
def test_workers_keep_rows_off_a_disk_that_spark_encrypts(monkeypatch, settings, off_disk):
    context = SimpleNamespace(_conf=settings, environment={})
    with worker_environment(context, "jax"):
        for name, value in context.environment.items():
            monkeypatch.setenv(name, value)
    assert keeps_rows_off_disk() is off_disk
    assert context.environment == {}
