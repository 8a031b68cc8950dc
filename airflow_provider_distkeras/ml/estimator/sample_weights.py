"""Validation rows, class checks, row weights and statistics of labels, computed by Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pyspark.ml.functions import array_to_vector
from pyspark.ml.stat import Summarizer
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.params.objectives import is_classification
from airflow_provider_distkeras.ml.network.builder import NetworkOutput
from airflow_provider_distkeras.spark.columns import check_column
from airflow_provider_distkeras.training.backends.label_transform import LabelTransform
from airflow_provider_distkeras.training.dataset import FEATURES, LABEL, VALIDATION, WEIGHT

_BUCKETS = 1_000_000

#: A weight for every class, or BALANCED.
ClassWeights = str | dict[float, float]
#: Every class gets the same sum of weights over the training rows.
BALANCED = "balanced"


def validation_column(data: DataFrame, name: str) -> Column:
    """Return the column that marks the validation rows. Raise DataError unless it is boolean."""
    check_column(data, name, "validationIndicatorCol")
    kind = data.schema[name].dataType
    if not isinstance(kind, BooleanType):
        raise DataError(f"validationIndicatorCol: expected booleans in {name!r}, received {kind.simpleString()}.")
    return F.col(name)


def random_validation_column(share: float, seed: int) -> Column:
    """Return a column that marks about this share of the rows by a hash of their values: the same rows in every run."""
    return F.pmod(F.xxhash64(F.lit(seed), F.col(FEATURES), F.col(LABEL)), F.lit(_BUCKETS)) < F.lit(int(share * _BUCKETS))


def check_classes(data: DataFrame, output: NetworkOutput, position: int) -> None:
    """Raise DataError for a label that is not a class number of a network's output.

    Args:
        data: a column LABEL of arrays.
        output: the network's output of classes.
        position: of the label in the array, from 0.
    """
    classes = max(output.units, 2)
    label = F.element_at(LABEL, position + 1)
    bad = data.where((label < 0) | (label != F.floor(label)) | (label >= classes)).select(label.alias(LABEL)).first()
    if bad is not None:
        units = f"{output.units} output{'s' if output.units > 1 else ''}"
        raise DataError(
            f"labelCol: expected class numbers 0 to {classes - 1} (loss {output.loss}, {units}), "
            f"received {bad[LABEL]:g}. For more classes, use categorical_crossentropy with an output per class."
        )


def fitted_labels(data: DataFrame, transform: LabelTransform) -> LabelTransform:
    """Return a transform by the statistics of the training rows' labels.

    Args:
        data: columns LABEL, of arrays, and perhaps WEIGHT and VALIDATION.
        transform: not fitted yet.

    Raises:
        DataError: a logarithm cannot be taken.
    """
    labels, logarithm = len(transform.kind_of_label), F.array(*map(F.lit, transform.is_logarithm.tolist()))
    # Rows without all labels are an error of training, which says what is wrong with them.
    valid = F.coalesce((F.size(LABEL) == labels) & F.forall(LABEL, lambda label: label.isNotNull()), F.lit(False))
    label = F.when(valid, F.col(LABEL).cast("array<double>")).otherwise(F.array_repeat(F.lit(0.0), labels))
    logged = F.transform(label, lambda value, at: F.when(F.get(logarithm, at), value))
    values = F.transform(label, lambda value, at: F.when(F.get(logarithm, at) & (value > -1), F.log1p(value)).otherwise(value))
    counts = F.coalesce(F.col(WEIGHT).cast("double"), F.lit(0.0)) if WEIGHT in data.columns else F.lit(1.0)
    training = valid & ~F.coalesce(F.col(VALIDATION), F.lit(False)) if VALIDATION in data.columns else valid
    weight = F.when(training, counts).otherwise(0.0)
    (row,) = data.select(
        Summarizer.metrics("mean", "variance").summary(array_to_vector(values), weight).alias("label"),
        F.sum(weight).alias("weight"),
        F.sum(weight * weight).alias("squares"),
        F.sum(F.size(F.filter(logged, lambda value: value <= -1))).alias("bad"),
        F.min(F.array_min(logged)).alias("least"),
    ).collect()
    transform.check_logarithms(row.bad or 0, row.least or 0.0)
    if not row.weight:
        return transform.with_statistics([], [])
    unbiased = 1 - row.squares / row.weight**2  # Spark divides by the weights' sum times this
    return transform.with_statistics(row.label.mean.toArray(), np.sqrt(row.label.variance.toArray() * unbiased))


def check_not_negative(data: DataFrame, output: NetworkOutput, positions: range) -> None:
    """Raise DataError for a label below 0 of an output whose loss takes none.

    Args:
        data: a column LABEL of arrays.
        output: the network's output.
        positions: of its labels in the array, from 0.
    """
    least = F.array_min(F.slice(LABEL, positions.start + 1, len(positions)))
    negative = data.where(least < 0).select(least.alias(LABEL)).first()
    if negative is not None:
        raise DataError(
            f"labelCol: the loss {output.loss} expects labels of at least 0, received {negative[LABEL]:g}. Use another loss, or "
            "leave such rows out."
        )


def parse_class_weights(class_weight: str | dict[str, float], outputs: Sequence[NetworkOutput]) -> ClassWeights:
    """Return the Param class_weight with class numbers as keys, or BALANCED.

    Raises:
        SpecError: the network is not a classifier with one output, or has no class of a given number.
    """
    output = outputs[0]
    if not is_classification(output.task) or len(outputs) > 1:
        raise SpecError(
            f"class_weight needs a classifier with one output; the loss is {output.loss!r} (task {output.task}), the outputs "
            f"{len(outputs)}. "
            "Leave class_weight out."
        )
    if isinstance(class_weight, str):
        return BALANCED
    classes = max(output.units, 2)
    weights = {float(key): weight for key, weight in class_weight.items()}
    unknown = [key for key in weights if not 0 <= key < classes]
    if unknown:
        raise SpecError(f"class_weight: expected class numbers 0 to {classes - 1} of this network, received {unknown[0]:g}.")
    return weights


def balanced_weights(counts: Mapping[float, int]) -> dict[float, float]:
    """Return weights by which every class has the same sum over the rows.

    Args:
        counts: rows per class.
    """
    return {key: sum(counts.values()) / (len(counts) * count) for key, count in counts.items()}


def apply_class_weights(data: DataFrame, weights: ClassWeights) -> DataFrame:
    """Return the data with the training rows' weights multiplied by their class's."""
    label = F.element_at(LABEL, 1)
    weight: Any = F.lit(1.0)
    for key, value in (_count_and_balance(data, label) if isinstance(weights, str) else weights).items():
        weight = F.when(label == key, value).otherwise(weight)
    if VALIDATION in data.columns:
        weight = F.when(F.col(VALIDATION), 1.0).otherwise(weight)
    before = F.col(WEIGHT) if WEIGHT in data.columns else F.lit(1.0)
    return data.withColumn(WEIGHT, (before * weight).cast("float"))


def _count_and_balance(data: DataFrame, label: Column) -> dict[float, float]:
    rows = data.where(~F.col(VALIDATION)) if VALIDATION in data.columns else data
    return balanced_weights({row["label"]: row["count"] for row in rows.groupBy(label.alias("label")).count().collect()})
