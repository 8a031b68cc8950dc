"""Searches for hyper-parameters: validators, studies and their trials, samplers, splitters, and the journal."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("CrossValidator", "TrainValidationSplit"):  # version 0.1 saved them by this path
        from airflow_provider_distkeras.ml.tuning import validators

        return getattr(validators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
