"""The features of a fold: statistics that features were prepared with, fitted anew on the fold's training rows.

A prepared feature is its raw value, or its logarithm, shifted and scaled by statistics of all training rows. To standardize it
once more, by the statistics of some rows, gives what their statistics make of the raw value; so raw values are not needed. Ranks
keep the order of raw values: ranks of ranks are those of the raw values, as closely as lines between quantiles are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.feature_layout import FeatureSpan
from airflow_provider_distkeras.contract.specs.feature_scaling import MINMAX, QUANTILE, ROBUST
from airflow_provider_distkeras.ml.data.feature_statistics import (
    FIELDS,
    FILLED,
    MEAN_RANK,
    QUARTILES,
    RANKED,
    FeatureMap,
    FeaturePreparation,
    Moments,
    RankMap,
    Vector64,
    add_moments,
    filled_in,
)
from airflow_provider_distkeras.ml.estimator.fold import PART, Fold
from airflow_provider_distkeras.spark.columns import as_floats
from airflow_provider_distkeras.training.dataset import as_matrix

if TYPE_CHECKING:
    import pyarrow as pa

_QUANTILE_ACCURACY = 10_000
_MOMENTS_SCHEMA = f"part int, rows long, {', '.join(f'{name} array<double>' for name in FIELDS)}"


def fold_feature_maps(
    data: DataFrame,
    features: str,
    preparation: FeaturePreparation | None,
    folds: Sequence[Fold],
    part_moments: Mapping[int, Moments] | None = None,
) -> list[FeatureMap | None]:
    """Return each fold's map of features; None where features were prepared without statistics.

    Args:
        data: rows with their part, and FILLED if a statistic filled in any feature.
        features: the column of features.
        preparation: how the features were prepared; None if that is unknown.
        folds: the folds.
        part_moments: the moments of each part; computed in one pass over the data if they are missing.
    """
    if preparation is None or not preparation.is_fitted:
        return [None] * len(folds)
    part_moments = part_moments or _moments(data, features)
    maps: list[FeatureMap | None] = []
    for fold, quantiles in zip(folds, _quantiles(data, features, preparation, folds), strict=True):
        training = reduce(Moments.__add__, (part_moments[part] for part in fold.training if part in part_moments))
        maps.append(_feature_map(preparation, training, quantiles))
    return maps


def apply_feature_map(data: DataFrame, features: str, feature_map: FeatureMap | None) -> DataFrame:
    """Return the data with features by a fold's statistics; unchanged for None."""
    if feature_map is None:
        return data
    filled = F.col(FILLED) if FILLED in data.columns else None
    mapped = mapped_column(feature_map, as_floats(data, features), filled)
    return data.withColumn(features, mapped.alias(features, metadata=data.schema[features].metadata))


def mapped_column(feature_map: FeatureMap, features: Column, filled: Column | None) -> Column:
    """Return the column of features by a fold's statistics.

    Args:
        feature_map: of the fold.
        features: arrays of float32.
        filled: per row, the positions of the features that a statistic filled in; None if there are none in any row.
    """
    import pyarrow as pa
    from pyspark.sql.functions import arrow_udf

    features_only = filled is None

    def apply(columns: Iterator[Any]) -> Iterator[pa.Array]:
        for block in columns:
            rows, positions = (block, ()) if features_only else (block[0], filled_in(block[1]))
            yield _to_lists(feature_map.apply(as_matrix(rows), *positions)) if len(rows) else rows

    argument = pa.Array if features_only else tuple[pa.Array, pa.Array]
    apply.__annotations__ = {"columns": Iterator[argument], "return": Iterator[pa.Array]}  # type: ignore[valid-type]
    make_udf: Any = arrow_udf  # its overloads lack iterators over plain arrays
    column: Column = make_udf(apply, returnType="array<float>")(*[features] if filled is None else [features, filled])
    return column


def _feature_map(preparation: FeaturePreparation, training: Moments, quantiles: Mapping[FeatureSpan, Vector64]) -> FeatureMap:
    if len(training.mean) != preparation.size:
        raise ArtifactError(
            f"layout: expected {preparation.size} features in a row, received {len(training.mean)}. "
            "Use the details of the manifest that the dataset was prepared with."
        )
    ranks = {span.start: RankMap.of(values) for span, values in quantiles.items() if span.scaling == QUANTILE}
    fill = np.full(preparation.size, np.nan)
    for span in preparation.spans:
        if span.fill == "median":
            fill[span.start] = quantiles[span][len(quantiles[span]) // 2]
        elif span.fill == "mean":
            fill[span.start] = ranks[span.start].inverse(MEAN_RANK) if span.start in ranks else training.mean[span.start]
    moments = training.filled_in(np.where(np.isnan(fill), 0.0, fill))
    scale, offset = np.ones(preparation.size), np.zeros(preparation.size)
    for span in preparation.spans:
        at, pooled = span.positions, moments.pooled(span) if span.kind == "array" else moments
        if span.scaling not in (None, QUANTILE):
            scale[at], offset[at] = _scale_and_offset(span, pooled, quantiles.get(span))
        elif span.kind == "category":  # a category that no training row has becomes 0
            scale[at] = (moments.maximum[at] != 0) | (moments.minimum[at] != 0)
    return FeatureMap(scale, offset, fill, ranks)


def _scale_and_offset(span: FeatureSpan, moments: Moments, quantiles: Vector64 | None) -> tuple[Vector64, Vector64]:
    """Return the factor and the summand that Spark's StandardScaler or MinMaxScaler would apply."""
    at = span.positions
    minimum, maximum = moments.minimum[at], moments.maximum[at]
    varies = minimum < maximum
    if span.scaling == MINMAX:
        factor = np.where(varies, 1.0 / np.where(varies, maximum - minimum, 1.0), 0.0)
        return factor, np.where(varies, -minimum * factor, 0.5)
    middle, spread = moments.mean[at], np.sqrt(moments.m2[at] / np.maximum(moments.count[at] - 1.0, 1.0))
    if span.scaling == ROBUST and quantiles is not None:
        low, middle, high = quantiles
        spread = np.where(high > low, high - low, spread)
    factor = np.where(varies, 1.0 / np.where(varies, spread, 1.0), 0.0)
    return factor, -middle * factor


def _moments(data: DataFrame, features: str) -> dict[int, Moments]:
    """Return the moments of each part's features."""
    columns = [F.col(PART), as_floats(data, features).alias("features")]
    if FILLED in data.columns:
        columns.append(F.col(FILLED))
    rows = data.where(F.col(PART) >= 0).select(*columns).mapInArrow(_partition_moments, _MOMENTS_SCHEMA).collect()
    totals: dict[int, Moments] = {}
    for row in sorted(rows):  # the same order of addition every time
        moments = Moments(row["rows"], *(np.array(row[name]) for name in FIELDS))
        totals[row["part"]] = totals[row["part"]] + moments if row["part"] in totals else moments
    return totals


def _quantiles(
    data: DataFrame, features: str, preparation: FeaturePreparation, folds: Sequence[Fold]
) -> list[dict[FeatureSpan, Vector64]]:
    """Return per fold the quantiles over its training rows, without filled-in values, of spans that need some; 0 of no values."""
    shares = {span: RANKED if span.scaling == QUANTILE else QUARTILES for span in preparation.spans if _has_quantiles(span)}
    values = as_floats(data, features)
    numbers = {span: F.element_at(values, span.start + 1) for span in shares if span.kind != "array"}
    if FILLED in data.columns:
        is_filled = {span: F.coalesce(F.array_contains(FILLED, span.start), F.lit(False)) for span in numbers}
        numbers = {span: F.when(~is_filled[span], number) for span, number in numbers.items()}
    passes = [(data, numbers)] if numbers else []
    for span in shares.keys() - numbers.keys():
        one_by_one = F.explode(F.slice(values, span.start + 1, span.stop - span.start))
        passes.append((data.select(PART, one_by_one.alias("value")), {span: F.col("value")}))
    quantiles: list[dict[FeatureSpan, Vector64]] = [{} for _ in folds]
    for rows, columns in passes:
        keys = [(number, span) for number in range(len(folds)) for span in columns]
        measured = [
            F.percentile_approx(
                F.when(F.col(PART).isin(*folds[number].training), columns[span]), [*shares[span]], _QUANTILE_ACCURACY
            )
            for number, span in keys
        ]
        for (number, span), result in zip(keys, rows.agg(*measured).collect()[0], strict=True):
            quantiles[number][span] = np.zeros(len(shares[span])) if result is None else np.array(result, np.float64)
    return quantiles


def _has_quantiles(span: FeatureSpan) -> bool:
    """Return whether a span is scaled, or filled in, by quantiles."""
    return span.scaling in (ROBUST, QUANTILE) or span.fill == "median"


def _partition_moments(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the moments of each part's rows in one partition. Runs on executors."""
    import pyarrow as pa

    by_part: dict[int, Moments] = {}
    for batch in batches:
        if batch.num_rows:
            filled = filled_in(batch.column(FILLED)) if FILLED in batch.schema.names else None
            add_moments(by_part, as_matrix(batch.column("features")), batch.column(PART).to_numpy(), filled)
    rows = [{"part": p, "rows": m.rows, **{name: getattr(m, name) for name in FIELDS}} for p, m in sorted(by_part.items())]
    lists = [(name, pa.list_(pa.float64())) for name in FIELDS]
    yield pa.RecordBatch.from_pylist(rows, pa.schema([("part", pa.int32()), ("rows", pa.int64()), *lists]))


def _to_lists(matrix: NDArray[np.float32]) -> pa.Array:
    import pyarrow as pa

    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(matrix.ravel()))
