"""Triggers: waiting for a job without a worker."""

from __future__ import annotations

# Tasks that an older version has deferred name the trigger by this path.
from airflow_provider_distkeras.triggers.spark_application import SparkApplicationTrigger as SparkApplicationTrigger
