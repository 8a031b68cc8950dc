"""`TrainedModel`: the model of a train task, with the stages that make its features."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.ml import Transformer
from pyspark.ml.feature import StringIndexerModel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import NumericType

from airflow_provider_distkeras.contract.artifacts.artifact_ref import ArtifactRef
from airflow_provider_distkeras.contract.artifacts.request import Request
from airflow_provider_distkeras.contract.errors import ArtifactError, DistKerasError
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.ml.data import feature_layout, prepare
from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
from airflow_provider_distkeras.ml.data.sql import quoted
from airflow_provider_distkeras.ml.estimator.model import DistKerasModel
from airflow_provider_distkeras.ml.scoring.reader import ScoringInput
from airflow_provider_distkeras.spark.saved_stages import load_stages
from airflow_provider_distkeras.spark.storage import storage_for


@dataclass(frozen=True)
class TrainedModel:
    """The model of a train task.

    Attributes:
        stages: The pipeline's stages without the network.
        selected: The first of them.
        network: The fitted network.
        texts: The classes as texts, by class number; none if the label was a number.
    """

    stages: list[Transformer]
    selected: SelectColumns
    network: DistKerasModel
    texts: list[str]

    @classmethod
    def load(cls, path: str) -> TrainedModel:
        """Load a train task's model_path. Raises ArtifactError if that holds something else."""
        wrong = f"{path} holds no model of a train task; expected its model_path"
        try:
            *stages, network = load_stages(SparkSession.active(), path)
        except (ArtifactError, PySparkException, Py4JJavaError) as error:
            raise ArtifactError(f"{wrong}: {str(error).splitlines()[0]}") from error
        selected = stages[0] if stages else None
        if not isinstance(selected, SelectColumns) or not isinstance(network, DistKerasModel):
            raise ArtifactError(f"{wrong}.")
        _allow_modules(network, path)
        indexed = feature_layout.index_of(selected.getOrDefault("labelCol"))
        indexers = [stage for stage in stages if isinstance(stage, StringIndexerModel) and stage.isDefined("outputCol")]
        texts = next((list(stage.labels) for stage in indexers if stage.getOutputCol() == indexed), [])
        return cls(stages, selected, network, texts)

    def label(self, data: DataFrame, rows: ScoringInput) -> Column:
        """Return the label as a number: its class number where it was declared categorical, -1 for a class never seen.

        Args:
            data: has the column of the label.
            rows: the input that it comes from, which has a label.
        """
        assert rows.label is not None
        is_number = isinstance(data.schema[rows.label].dataType, NumericType)
        if rows.prepared or not self.texts:
            # A number is not taken through text again: over millions of rows that takes longer than scoring them.
            return F.col(quoted(rows.label)).cast("double") if is_number else prepare.label_of(data, rows.label)
        classes = F.lit([float(text) for text in self.texts] if is_number else self.texts)
        return (F.array_position(classes, F.col(quoted(rows.label))) - 1).cast("double")


def _allow_modules(network: DistKerasModel, path: str) -> None:
    """Allow a network to import its modules. Raises ArtifactError for one that the train task's request does not name."""
    if not network.custom_modules:
        return
    attempt, named = ArtifactRef.parse(path).attempt, set[str]()
    with contextlib.suppress(FileNotFoundError, DistKerasError):
        spec = Request.read(storage_for(SparkSession.active(), path), attempt).spec
        if isinstance(spec, TrainSpec):
            named = spec.network_modules
    unnamed = [name for name in network.custom_modules if name not in named]
    if unnamed:
        raise ArtifactError(
            f"{path} is not loaded: its network would import {', '.join(unnamed)}, and {attempt.spec_path} names no such module "
            "under hyperparameters. A model is copied with the request beside it; else train again."
        )
    network.allow_modules(named)
