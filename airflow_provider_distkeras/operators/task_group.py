"""A TaskGroup that prepares, trains and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import TaskGroup

from airflow_provider_distkeras.operators.preprocess import DistKerasPreprocessOperator
from airflow_provider_distkeras.operators.score import DistKerasScoreOperator
from airflow_provider_distkeras.operators.train import DistKerasTrainOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import XComArg


@dataclass(frozen=True)
class CsvToScores:
    """A group and its tasks, for what follows: `group >> other`, `trained.output["model_path"]`."""

    group: TaskGroup
    prepared: DistKerasPreprocessOperator
    trained: DistKerasTrainOperator
    scored: DistKerasScoreOperator


def csv_to_scores_group(
    group_id: str = "csv_to_scores",
    *,
    input_path: str | list[str] | XComArg,
    new_path: str | list[str] | XComArg,
    prepare: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    score: Mapping[str, Any] | None = None,
    **shared: Any,
) -> CsvToScores:
    """Return a group of the tasks `prepare`, `train` and `score`, one fed by the other.

    Args:
        group_id: The group's name; the tasks' ids begin with it.
        input_path: Files to train on.
        new_path: Files to score.
        prepare: Further arguments of the preprocess operator.
        train: Further arguments of the train operator.
        score: Further arguments of the score operator.
        shared: Arguments of all three, such as `conn_id`, `artifact_root`, `if_exists`, `executor_memory`.
    """
    with TaskGroup(group_id) as group:
        prepared = DistKerasPreprocessOperator(task_id="prepare", input_path=input_path, **{**shared, **(prepare or {})})
        trained = DistKerasTrainOperator(
            task_id="train", dataset_path=prepared.output["dataset_path"], **{**shared, **(train or {})}
        )
        scored = DistKerasScoreOperator(
            task_id="score", model_path=trained.output["model_path"], input_path=new_path, **{**shared, **(score or {})}
        )
    return CsvToScores(group, prepared, trained, scored)
