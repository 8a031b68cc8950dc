"""Links from a task to pages about its job."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_distkeras.links.spark import HistoryServerLink, SparkUILink
    from airflow_provider_distkeras.links.training_report import TrainingReportLink

__all__ = ["HistoryServerLink", "SparkUILink", "TrainingReportLink"]

_MODULES = {"HistoryServerLink": "spark", "SparkUILink": "spark", "TrainingReportLink": "training_report"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
