"""Which rows are validated on, and how much each counts, as columns that Spark works out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.params import is_classification
from airflow_provider_distkeras.ml.network.builder import NetworkOutput
from airflow_provider_distkeras.spark.columns import check_column
from airflow_provider_distkeras.training.dataset import FEATURES, LABEL, VALIDATION, WEIGHT

_BUCKETS = 1_000_000

#: A weight for every class, or BALANCED.
ClassWeights = str | dict[float, float]
#: Every class gets the same sum of weights over the training rows.
BALANCED = "balanced"


def indicator(data: DataFrame, name: str) -> Column:
    """The column that marks the validation rows. Raises DataError unless it is boolean."""
    check_column(data, name, "validationIndicatorCol")
    kind = data.schema[name].dataType
    if not isinstance(kind, BooleanType):
        raise DataError(f"validationIndicatorCol: expected booleans in {name!r}, received {kind.simpleString()}.")
    return F.col(name)


def split(share: float, seed: int) -> Column:
    """Marks about this share of the rows, by a hash of their values: the same rows in every run."""
    return F.pmod(F.xxhash64(F.lit(seed), F.col(FEATURES), F.col(LABEL)), F.lit(_BUCKETS)) < F.lit(int(share * _BUCKETS))


def check_classes(data: DataFrame, output: NetworkOutput, position: int) -> None:
    """Raise DataError for a label, at a position from 0, that is not one of the classes that the network tells apart."""
    classes = max(output.units, 2)
    label = F.element_at(LABEL, position + 1)
    bad = data.where((label < 0) | (label != F.floor(label)) | (label >= classes)).select(label.alias(LABEL)).first()
    if bad is not None:
        units = f"{output.units} output{'s' if output.units > 1 else ''}"
        raise DataError(
            f"labelCol: expected class numbers 0 to {classes - 1} (loss {output.loss}, {units}), "
            f"received {bad[LABEL]:g}. For more classes, use categorical_crossentropy with an output per class."
        )


def class_weights(said: str | dict[str, float], outputs: Sequence[NetworkOutput]) -> ClassWeights:
    """What class_weight says, by class number; or BALANCED.

    Raises:
        SpecError: the network does not tell classes apart, or a class number is none of its own.
    """
    output = outputs[0]
    if not is_classification(output.loss) or len(outputs) > 1:
        raise SpecError(
            f"class_weight needs a classifier with one output; the loss is {output.loss!r}, the outputs {len(outputs)}."
        )
    if isinstance(said, str):
        return BALANCED
    weights = {float(key): weight for key, weight in said.items()}
    unknown = [key for key in weights if not 0 <= key < max(output.units, 2)]
    if unknown:
        raise SpecError(
            f"class_weight: the network tells classes 0 to {max(output.units, 2) - 1} apart, received {unknown[0]:g}."
        )
    return weights


def balance(counts: Mapping[float, int]) -> dict[float, float]:
    """Weights by which every class has the same sum over the rows; `counts` tells how many rows each has."""
    return {key: sum(counts.values()) / (len(counts) * count) for key, count in counts.items()}


def weigh_classes(data: DataFrame, weights: ClassWeights) -> DataFrame:
    """Multiply the training rows' weights by their class's."""
    label = F.element_at(LABEL, 1)
    weight: Any = F.lit(1.0)
    for key, value in (_balanced(data, label) if isinstance(weights, str) else weights).items():
        weight = F.when(label == key, value).otherwise(weight)
    if VALIDATION in data.columns:
        weight = F.when(F.col(VALIDATION), 1.0).otherwise(weight)
    before = F.col(WEIGHT) if WEIGHT in data.columns else F.lit(1.0)
    return data.withColumn(WEIGHT, (before * weight).cast("float"))


def _balanced(data: DataFrame, label: Column) -> dict[float, float]:
    rows = data.where(~F.col(VALIDATION)) if VALIDATION in data.columns else data
    return balance({row["label"]: row["count"] for row in rows.groupBy(label.alias("label")).count().collect()})
