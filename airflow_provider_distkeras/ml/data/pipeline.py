"""Spark ML's own stages, from typed columns to `features`, fitted from a profile, without passes of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pyspark.ml import Model, Transformer
from pyspark.ml.feature import (
    Bucketizer,
    FeatureHasher,
    Imputer,
    MinMaxScaler,
    OneHotEncoder,
    SQLTransformer,
    StandardScaler,
    StandardScalerModel,
    StringIndexerModel,
    VectorAssembler,
    VectorSizeHint,
)
from pyspark.ml.linalg import Vectors
from pyspark.sql import DataFrame, SparkSession

from airflow_provider_distkeras.contract.feature_layout import INDEX, FeatureLayout
from airflow_provider_distkeras.contract.specs.feature_scaling import LOG, MINMAX, STANDARDIZING, FeatureScaling
from airflow_provider_distkeras.ml.data import category_numbers
from airflow_provider_distkeras.ml.data.derived_features import CalendarFeature, log_sql
from airflow_provider_distkeras.ml.data.feature_layout import FeatureInput, FeatureSpread, bucket_of, index_of
from airflow_provider_distkeras.ml.data.feature_statistics import RankMap
from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
from airflow_provider_distkeras.spark.columns import quoted

FEATURES = "features"
_Rows = list[list[float]]


def fit(
    spark: SparkSession, inputs: Sequence[FeatureInput], times: Sequence[CalendarFeature], scaling: FeatureScaling
) -> list[Transformer]:
    """Return the fitted stages.

    Args:
        spark: The session.
        inputs: The columns to assemble.
        times: Those of them that are made from columns of times.
        scaling: The scaling of every column.
    """
    stages: list[Transformer] = []
    made = {each.name: each.sql for each in times}
    made |= {each.assembled: _is_missing(each.column, inputs) for each in inputs if each.kind == "indicator"}
    if made:
        columns = ", ".join(f"{expression} AS {quoted(name)}" for name, expression in made.items())
        stages.append(SQLTransformer(statement=f"SELECT *, {columns} FROM __THIS__"))
    stages += _logs_and_ranks(inputs)
    filled = [each for each in inputs if each.fill]
    if filled:
        stages.append(_imputer(spark, filled))
    categories = [each for each in inputs if each.kind == "category"]
    if categories:
        stages += _encoders(spark, categories)
    numbers = {each.assembled: each.numbers for each in inputs if each.numbers}
    if numbers:
        stages += category_numbers.stages(spark, numbers)
    for each in inputs:
        if each.kind == "hashed":
            hasher = FeatureHasher(inputCols=[each.column], outputCol=each.assembled, numFeatures=len(each.spreads))
            stages.append(hasher.setCategoricalCols([each.column]))
        elif each.kind == "array":
            # A missing array is then as many missing numbers to the assembler.
            stages.append(VectorSizeHint(inputCol=each.column, size=len(each.spreads), handleInvalid="optimistic"))
    scalers = _scalers(inputs, scaling)
    vectors = [*(f"{FEATURES}__unscaled", f"{FEATURES}__minmax")[: len(scalers)], FEATURES]
    stages.append(VectorAssembler(inputCols=[each.assembled for each in inputs], outputCol=vectors[0], handleInvalid="error"))
    for (scaler, rows), unscaled, scaled in zip(scalers, vectors, vectors[1:], strict=False):
        stages.append(scaler.setInputCol(unscaled).setOutputCol(scaled).fit(_vectors(spark, unscaled, rows)))
    return stages


def label_indexer(label_col: str, classes: Sequence[str]) -> StringIndexerModel:
    """Return the stage that numbers the classes of a label that is text, in alphabetical order."""
    return StringIndexerModel.from_labels(sorted(classes), label_col, index_of(label_col), handleInvalid="keep")


def label_classes(stages: Sequence[Transformer], label_col: str) -> list[str]:
    """Return the classes of a label that is text, by number, out of the fitted stages; none for one that is numbers."""
    indexers = [stage for stage in stages if isinstance(stage, StringIndexerModel) and stage.isDefined("outputCol")]
    return next((list(stage.labels) for stage in indexers if stage.getOutputCol() == index_of(label_col)), [])


def feature_meanings(stages: Sequence[Transformer]) -> dict[str, list[str]]:
    """Return what the features that fitted stages make mean, by column in their order, and the classes of the labels."""
    selected = stages[0]
    assert isinstance(selected, SelectColumns)
    indexers = [stage for stage in stages if isinstance(stage, StringIndexerModel)]
    labels = {
        name: [*texts]
        for stage in indexers
        for name, texts in zip(stage.getOutputCols() if stage.isDefined("outputCols") else [], stage.labelsArray, strict=False)
    }
    meanings: dict[str, list[str]] = {}
    for span in FeatureLayout.of(selected.getOrDefault("layout")).spans:
        texts = labels.get(index_of(span.column), []) if span.kind in ("category", INDEX) else []
        width = "" if texts else f" of {span.size or span.stop - span.start}"
        meanings.setdefault(span.column, []).extend([f"{span.kind}{width}", *texts])
    return {**meanings, **{label: ["label", *label_classes(stages, label)] for label in selected.labels}}


def standardizes(stages: Sequence[Transformer]) -> bool:
    """Return whether fitted stages bring any features to a middle of 0 and a spread of 1."""
    return any(isinstance(stage, StandardScalerModel) for stage in stages)


def scaling_of(stages: Sequence[Transformer]) -> str | dict[str, str] | None:
    """Return how fitted stages scale features: per column that they scale, of an earlier version a word for all; None if not."""
    selected = stages[0]
    assert isinstance(selected, SelectColumns)
    spans = FeatureLayout.of(selected.getOrDefault("layout")).spans
    return {span.column: span.scaling for span in spans if span.scaling} or ("standard" if standardizes(stages) else None)


def _is_missing(column: str, inputs: Sequence[FeatureInput]) -> str:
    """Return SQL that is 1 where there is no value, else 0."""
    is_number = any(each.column == column and each.kind == "number" for each in inputs)
    return f"CAST({quoted(column)} IS NULL{f' OR isnan({quoted(column)})' if is_number else ''} AS DOUBLE)"


def _encoders(spark: SparkSession, inputs: Sequence[FeatureInput]) -> list[Transformer]:
    """Return stages that number categories, those missing or unseen last, and encode all but the last number."""
    names = [each.column for each in inputs]
    encoder = OneHotEncoder(
        inputCols=[index_of(name) for name in names], outputCols=[each.assembled for each in inputs], dropLast=True
    )
    row = spark.createDataFrame([[""] * len(names)], ", ".join(f"{quoted(name)} string" for name in names))
    indexers: list[Transformer] = []
    for size in sorted({len(each.categories) for each in inputs}):  # of unequal lists, PySpark fills the shorter up with null
        same = [each for each in inputs if len(each.categories) == size]
        columns, labels = [each.column for each in same], [list(each.categories) for each in same]
        indexers.append(
            StringIndexerModel.from_arrays_of_labels(labels, columns, [*map(index_of, columns)], handleInvalid="keep")
        )
        row = indexers[-1].transform(row)
    return [*indexers, encoder.fit(row)]


def _imputer(spark: SparkSession, inputs: Sequence[FeatureInput]) -> Model:
    """Return the stage that fills numbers in, fitted on one row of the values to fill in."""
    names = [each.unfilled for each in inputs]
    imputer = Imputer(strategy="mean", inputCols=names, outputCols=[each.assembled for each in inputs])
    schema = ", ".join(f"{quoted(name)} double" for name in names)
    return imputer.fit(spark.createDataFrame([[each.filled_with for each in inputs]], schema))


def _logs_and_ranks(inputs: Sequence[FeatureInput]) -> list[Transformer]:
    """Return stages that make the logarithms or ranks of numbers, of a missing one null."""
    stages: list[Transformer] = []
    ranked = {each.column: each.ranks for each in inputs if each.ranks}
    if ranked:
        splits = [[-math.inf, *ranks.knots.tolist(), math.inf] for ranks in ranked.values()]
        buckets = [bucket_of(name) for name in ranked]
        stages.append(Bucketizer(inputCols=[*ranked], outputCols=buckets, splitsArray=splits, handleInvalid="keep"))
    made = {
        each.unfilled: _rank_sql(each.column, each.ranks) if each.ranks else log_sql(each.column)
        for each in inputs
        if each.ranks or (each.kind == "number" and each.scaling == LOG)
    }
    if made:
        columns = ", ".join(f"{expression} AS {quoted(name)}" for name, expression in made.items())
        stages.append(SQLTransformer(statement=f"SELECT *, {columns} FROM __THIS__"))
    return stages


def _rank_sql(column: str, ranks: RankMap) -> str:
    """Return the rank of a number as an SQL expression, on the line between the ends of its bucket."""
    ends = {}
    for name, values in (("knot", ranks.knots), ("level", ranks.levels)):
        listed = ", ".join(f"{value!r}D" for value in np.pad(values, 1, "edge").tolist())  # flat beyond the first and the last
        for place, step in (("low", 1), ("high", 2)):  # NaN is in a bucket behind the last, which has no ends
            ends[name, place] = f"try_element_at(array({listed}), CAST({quoted(bucket_of(column))} AS INT) + {step})"
    way = f"({quoted(column)} - {ends['knot', 'low']}) / nullif({ends['knot', 'high']} - {ends['knot', 'low']}, 0D)"
    return f"{ends['level', 'low']} + ({ends['level', 'high']} - {ends['level', 'low']}) * coalesce({way}, 0D)"


def _scalers(inputs: Sequence[FeatureInput], scaling: FeatureScaling) -> list[tuple[MinMaxScaler | StandardScaler, _Rows]]:
    """Return the scalers, each with few rows of the same mean and standard deviation, or extremes, as all rows have.

    Each leaves alone what the other one scales.
    """
    spreads = [(each.scaling, spread) for each in inputs for spread in each.spreads]
    scalers: list[tuple[MinMaxScaler | StandardScaler, _Rows]] = []
    if MINMAX in scaling.words:
        between = [spread if word == MINMAX else FeatureSpread() for word, spread in spreads]
        scalers.append((MinMaxScaler(), [[s.minimum for s in between], [s.maximum for s in between]]))
    if scaling.standardizes:
        around = [spread if word in STANDARDIZING else FeatureSpread() for word, spread in spreads]
        rows = [[s.mean + deviations * s.std for s in around] for deviations in (-1, 0, 1)]  # a deviation of 1 stays just that
        scalers.append((StandardScaler(withMean=True, withStd=True), rows))
    return scalers


def _vectors(spark: SparkSession, name: str, rows: _Rows) -> DataFrame:
    return spark.createDataFrame([(Vectors.dense(np.asarray(row)),) for row in rows], [name])
