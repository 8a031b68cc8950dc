"""Validation rows, class checks, row weights, samples of classes and statistics of labels, computed by Spark."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyspark.ml.functions import array_to_vector
from pyspark.ml.stat import Summarizer
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.params.objectives import is_classification
from airflow_provider_distkeras.ml.network.builder import NetworkOutput
from airflow_provider_distkeras.spark.columns import check_column
from airflow_provider_distkeras.training.backends.label_transform import LabelTransform
from airflow_provider_distkeras.training.dataset import FEATURES, LABEL, VALIDATION, WEIGHT

logger = logging.getLogger(__name__)

_BUCKETS = 1_000_000
#: The rows of a class are ranked in so many groups, which lie in different tasks.
_RANK_GROUPS = 64
_CLASS, _HASH, _GROUP = "__distkeras_class", "__distkeras_hash", "__distkeras_group"

#: A weight for every class, or the word `balanced`: every class gets the same sum of weights over the training rows.
ClassWeights = str | dict[float, float]


@dataclass(frozen=True)
class ClassSampling:
    """How many times an epoch has each training row, by class; validation rows and held-out rows are never sampled.

    Attributes:
        times: by class, 1 for those left out; or the words `over`, as many rows of each class as of the most frequent one, and
            `under`, as many as of the rarest.
        seed: decides, with the rows' values, which rows are left out or repeated.
    """

    times: str | dict[float, float]
    seed: int

    def targets(self, counts: Mapping[float, int]) -> dict[float, int]:
        """Return the number of rows per class after sampling, at least one.

        Args:
            counts: training rows per class.
        """
        if isinstance(self.times, str):
            target = (max if self.times == "over" else min)(counts.values(), default=0)
            return dict.fromkeys(counts, target)
        return {label: max(1, round(count * self.times.get(label, 1.0))) for label, count in counts.items()}


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


def parse_per_class(
    name: str, value: str | dict[str, float], outputs: Sequence[NetworkOutput], label_sizes: Sequence[int]
) -> str | dict[float, float]:
    """Return the Param class_weight or class_sampling with class numbers as keys, or its word.

    Args:
        name: the Param's name.
        value: its value.
        outputs: the network's outputs.
        label_sizes: labels of a row, per output.

    Raises:
        SpecError: the network is not a classifier with one output, its labels are no class numbers, or it has no class of a
            given number.
    """
    output = outputs[0]
    if not is_classification(output.task) or len(outputs) > 1:
        raise SpecError(
            f"{name} needs a classifier with one output; the loss is {output.loss!r} (task {output.task}), the outputs "
            f"{len(outputs)}. Leave {name} out."
        )
    if label_sizes[0] > 1:
        raise SpecError(
            f"{name} needs class numbers as labels; labelCol holds arrays of {label_sizes[0]} values. Make them numbers "
            f"of classes, or leave {name} out."
        )
    if isinstance(value, str):
        return value
    classes = max(output.units, 2)
    factors = {float(key): factor for key, factor in value.items()}
    unknown = [key for key in factors if not 0 <= key < classes]
    if unknown:
        raise SpecError(f"{name}: expected class numbers 0 to {classes - 1} of this network, received {unknown[0]:g}.")
    return factors


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


def sample_classes(data: DataFrame, sampling: ClassSampling) -> DataFrame:
    """Return the data with the training rows sampled by class; log the rows per class before and after.

    The rows of a class are ranked by a hash of their values. Of n rows, of which t are wanted, the row of rank i, from 0, comes
    floor((i + 1) t / n) - floor(i t / n) times: t rows in all, spread evenly over rows that are equal.
    """
    label = F.element_at(LABEL, 1).cast("double")
    if VALIDATION in data.columns:
        label = F.when(~F.coalesce(F.col(VALIDATION), F.lit(False)), label)
    hashed = data.withColumns({_CLASS: label, _HASH: F.xxhash64(F.lit(sampling.seed), *data.columns)})
    grouped = hashed.withColumn(_GROUP, F.pmod(_HASH, F.lit(_RANK_GROUPS)))
    sizes = grouped.where(F.col(_CLASS).isNotNull()).groupBy(_CLASS, _GROUP).count().orderBy(_CLASS, _GROUP).collect()
    counts: dict[float, int] = {}
    starts = []
    for key, group, size in sizes:
        starts.append((key, group, counts.get(key, 0)))
        counts[key] = counts.get(key, 0) + size
    targets = sampling.targets(counts)
    logger.info("class_sampling: %s", ", ".join(f"{key:g}: {counts[key]:,} -> {targets[key]:,}" for key in counts))
    ranks = data.sparkSession.createDataFrame(
        [(key, group, start, targets[key], counts[key]) for key, group, start in starts],
        f"{_CLASS} double, {_GROUP} long, start long, target long, size long",
    )
    rank = F.row_number().over(Window.partitionBy(_CLASS, _GROUP).orderBy(_HASH))
    ranked = grouped.withColumn("rank", rank).join(F.broadcast(ranks), [_CLASS, _GROUP], "left")
    copies = F.expr("(start + rank) * target div size - (start + rank - 1) * target div size")
    # A row without a rank is a validation row, or one without a label, which training refuses.
    repeated = F.explode(F.array_repeat(F.lit(0), F.coalesce(copies, F.lit(1)).cast("int")))
    return ranked.select(*data.columns, repeated.alias("copy")).drop("copy")
