"""Spark ML stages that train Keras networks on a cluster, for a notebook or a job. No Airflow needed.

from airflow_provider_distkeras.ml import DistKeras, process_csv
from airflow_provider_distkeras.training import trainers
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
    from airflow_provider_distkeras.ml.estimator.estimator import DistKeras
    from airflow_provider_distkeras.ml.estimator.evaluation import MetricEvaluator
    from airflow_provider_distkeras.ml.estimator.model import DistKerasModel
    from airflow_provider_distkeras.ml.notebook import preparation_of, process_csv
    from airflow_provider_distkeras.ml.tuning.validators import CrossValidator, TrainValidationSplit

__all__ = [
    "CrossValidator",
    "DistKeras",
    "DistKerasModel",
    "MetricEvaluator",
    "SelectColumns",
    "TrainValidationSplit",
    "preparation_of",
    "process_csv",
]

#: Per public name, its module. Spark ML persistence writes classes by these public paths, so that files may move.
_MODULES = {
    "CrossValidator": "tuning.validators",
    "DistKeras": "estimator.estimator",
    "DistKerasModel": "estimator.model",
    "MetricEvaluator": "estimator.evaluation",
    "SelectColumns": "data.select_columns",
    "TrainValidationSplit": "tuning.validators",
    "preparation_of": "notebook",
    "process_csv": "notebook",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
