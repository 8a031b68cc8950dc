"""Triggers: waiting for a job without a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_distkeras.triggers.spark_application import SparkApplicationTrigger

__all__ = ["SparkApplicationTrigger"]


def __getattr__(name: str) -> Any:
    # Tasks that an older version has deferred name the trigger by this path.
    if name != "SparkApplicationTrigger":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from airflow_provider_distkeras.triggers.spark_application import SparkApplicationTrigger

    return SparkApplicationTrigger
