"""What a DAG author imports: the three operators, loaded when first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_distkeras.operators.preprocess import DistKerasPreprocessOperator
    from airflow_provider_distkeras.operators.score import DistKerasScoreOperator
    from airflow_provider_distkeras.operators.train import DistKerasTrainOperator

__all__ = ["DistKerasPreprocessOperator", "DistKerasScoreOperator", "DistKerasTrainOperator"]

_MODULES = {
    "DistKerasPreprocessOperator": "preprocess",
    "DistKerasTrainOperator": "train",
    "DistKerasScoreOperator": "score",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
