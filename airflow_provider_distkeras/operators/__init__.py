"""The operators that a DAG author imports; each is loaded at its first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_distkeras.operators.preprocess import DistKerasPreprocessOperator as DistKerasPreprocessOperator
    from airflow_provider_distkeras.operators.promote import DistKerasPromoteOperator as DistKerasPromoteOperator
    from airflow_provider_distkeras.operators.score import DistKerasScoreOperator as DistKerasScoreOperator
    from airflow_provider_distkeras.operators.task_group import CsvToScores as CsvToScores
    from airflow_provider_distkeras.operators.task_group import csv_to_scores_group as csv_to_scores_group
    from airflow_provider_distkeras.operators.train import DistKerasTrainOperator as DistKerasTrainOperator

_MODULES = {
    "DistKerasPreprocessOperator": "preprocess",
    "DistKerasTrainOperator": "train",
    "DistKerasScoreOperator": "score",
    "DistKerasPromoteOperator": "promote",
    "CsvToScores": "task_group",
    "csv_to_scores_group": "task_group",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
