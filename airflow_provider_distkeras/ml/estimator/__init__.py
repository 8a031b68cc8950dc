"""The Estimator: its Params, its model, and how a fit is planned and run."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "DistKeras":  # version 0.1 saved it by this path
        from airflow_provider_distkeras.ml.estimator.estimator import DistKeras

        return DistKeras
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
