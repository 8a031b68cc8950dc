"""`TrainedModel`: the model of a train task, with the stages that make its features."""

from __future__ import annotations

import contextlib
import logging
import math
from dataclasses import dataclass, field

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.ml import Transformer
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import NumericType

from airflow_provider_distkeras.contract.artifacts.artifact_ref import ArtifactRef
from airflow_provider_distkeras.contract.artifacts.request import Request
from airflow_provider_distkeras.contract.errors import ArtifactError, DistKerasError
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.ml.data import pipeline, prepare
from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
from airflow_provider_distkeras.ml.estimator.model import DistKerasModel
from airflow_provider_distkeras.ml.scoring.reader import ScoringInput
from airflow_provider_distkeras.spark.columns import quoted
from airflow_provider_distkeras.spark.saved_stages import load_stages
from airflow_provider_distkeras.spark.storage import storage_for

logger = logging.getLogger(__name__)

#: How many labels that are no classes are named.
_NAMED = 5


@dataclass(frozen=True)
class UnknownLabels:
    """Labels that are no class of a model.

    Attributes:
        rows: Number of rows with such a label.
        counts: Number of rows per label, of the most frequent ones.
    """

    rows: int = 0
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedModel:
    """The model of a train task.

    Attributes:
        stages: The pipeline's stages without the network.
        selected: The first of them.
        network: The fitted network.
        classes: The classes of each label as texts, by class number; none if it was a number.
    """

    stages: list[Transformer]
    selected: SelectColumns
    network: DistKerasModel
    classes: dict[str, list[str]]

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
        return cls(stages, selected, network, {label: pipeline.label_classes(stages, label) for label in selected.labels})

    def label(self, data: DataFrame, rows: ScoringInput, name: str) -> Column:
        """Return a label as a number: its class number where it was declared categorical, -1 for a class never seen.

        Args:
            data: has the column of the label.
            rows: the input that it comes from, which has labels.
            name: the label's name.
        """
        column, texts = rows.labels[name], self.classes[name]
        is_number = isinstance(data.schema[column].dataType, NumericType)
        if rows.prepared or not texts:
            # A number is not taken through text again: over millions of rows that takes longer than scoring them.
            return F.col(quoted(column)).cast("double") if is_number else prepare.label_of(data, column)
        classes = F.lit([_number(text) for text in texts] if is_number else texts)
        return (F.array_position(classes, F.col(quoted(column))) - 1).cast("double")

    def unknown_labels(self, data: DataFrame, label: Column, number: Column) -> UnknownLabels:
        """Find the labels that are no class of a model of one label, which all count as wrong predictions, and warn of them.

        Args:
            data: rows with a prediction.
            label: the label as it is in the files.
            number: the same as `label` returns it.
        """
        texts = next(iter(self.classes.values()))
        classes = len(texts) or self.network.num_classes
        if classes is None:
            return UnknownLabels()
        is_class = (number >= 0) & (number < classes) & (number == F.floor(number))
        unknown = data.where(label.isNotNull() & ~F.coalesce(is_class, F.lit(False)))
        rows = unknown.count()
        if not rows:
            return UnknownLabels()
        most = (
            unknown.groupBy(label.cast("string").alias("label")).count().orderBy(F.desc("count"), "label").limit(_NAMED).collect()
        )
        counts = {row["label"]: int(row["count"]) for row in most}
        expected = texts or [f"0 to {classes - 1}"]
        logger.warning(
            "The label of %s rows is no class of the model, so that they count as wrong predictions: %s. Expected %s. Spell "
            "them as in training, or leave such rows out.",
            f"{rows:,}", ", ".join(f"{text!r} ({count:,} rows)" for text, count in counts.items()),
            ", ".join(map(repr, expected[:_NAMED])),
        )  # fmt: skip
        return UnknownLabels(rows, counts)


def _number(text: str) -> float:
    """Return the number that a class is, NaN for one that is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


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
