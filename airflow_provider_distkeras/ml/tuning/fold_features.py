"""Statistics of a fold: those that features were prepared with, fitted anew on what the fold trains on.

A prepared feature is its raw value, moved and stretched by statistics of all training rows. To standardize it once more, by the
statistics of some rows, gives what their statistics make of the raw value; so raw values are not needed.
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
from airflow_provider_distkeras.ml.data.feature_statistics import (
    FIELDS,
    FILLED,
    FeatureMap,
    FeaturePreparation,
    Moments,
    Vector64,
    add_moments,
    filled_in,
)
from airflow_provider_distkeras.ml.estimator.fold import PART, Fold
from airflow_provider_distkeras.spark.columns import as_floats
from airflow_provider_distkeras.training.dataset import as_matrix

if TYPE_CHECKING:
    import pyarrow as pa

_MEDIAN_ACCURACY = 10_000
_MOMENTS_SCHEMA = f"part int, rows long, {', '.join(f'{name} array<double>' for name in FIELDS)}"


def fold_maps(
    data: DataFrame,
    features: str,
    preparation: FeaturePreparation | None,
    folds: Sequence[Fold],
    parts: Mapping[int, Moments] | None = None,
) -> list[FeatureMap | None]:
    """What each fold's statistics make of the features; None where nothing was ever fitted.

    Args:
        data: with the rows' parts, and their features in a column of that name; and FILLED, if anything was filled in.
        preparation: how the features were prepared; None if that is not known.
        parts: what describes each part's rows; if that is not known, one pass over the data finds it out.
    """
    if preparation is None or not preparation.is_fitted:
        return [None] * len(folds)
    parts = parts or _moments(data, features)
    found: list[FeatureMap | None] = []
    for fold, medians in zip(folds, _medians(data, features, preparation.filled_by("median"), folds), strict=True):
        training = reduce(Moments.__add__, (parts[part] for part in fold.training if part in parts))
        found.append(_feature_map(preparation, training, medians))
    return found


def _feature_map(preparation: FeaturePreparation, training: Moments, medians: dict[int, float]) -> FeatureMap:
    if len(training.mean) != preparation.size:
        raise ArtifactError(f"layout: expected {preparation.size} features in a row, received {len(training.mean)}.")
    fill = np.full(preparation.size, np.nan)
    means = preparation.filled_by("mean")
    fill[means] = training.mean[means]
    fill[list(medians)] = list(medians.values())
    moments = training.filled_in(np.where(np.isnan(fill), 0.0, fill))
    scale, offset = np.ones(preparation.size), np.zeros(preparation.size)
    for span in preparation.spans:
        at, pooled = span.positions, moments.pooled(span) if span.kind == "array" else moments
        if preparation.scaling is not None and span.kind != "hashed":
            scale[at], offset[at] = _scaled(preparation.scaling, pooled, at)
        elif span.kind == "category":  # one that these rows do not have says nothing
            scale[at] = (moments.maximum[at] != 0) | (moments.minimum[at] != 0)
    return FeatureMap(scale, offset, fill)


def _scaled(scaling: str, moments: Moments, at: slice) -> tuple[Vector64, Vector64]:
    """The factor and the summand that Spark's StandardScaler or MinMaxScaler would give."""
    minimum, maximum = moments.minimum[at], moments.maximum[at]
    varies = minimum < maximum
    if scaling == "minmax":
        factor = np.where(varies, 1.0 / np.where(varies, maximum - minimum, 1.0), 0.0)
        return factor, np.where(varies, -minimum * factor, 0.5)
    std = np.sqrt(moments.m2[at] / np.maximum(moments.count[at] - 1.0, 1.0))
    factor = np.where(varies, 1.0 / np.where(varies, std, 1.0), 0.0)
    return factor, -moments.mean[at] * factor


def _moments(data: DataFrame, features: str) -> dict[int, Moments]:
    """Per part, what describes its rows."""
    columns = [F.col(PART), as_floats(data, features).alias("features")]
    if FILLED in data.columns:
        columns.append(F.col(FILLED))
    rows = data.where(F.col(PART) >= 0).select(*columns).mapInArrow(_describe, _MOMENTS_SCHEMA).collect()
    found: dict[int, Moments] = {}
    for row in sorted(rows):  # so that sums are added in the same order every time
        moments = Moments(row["rows"], *(np.array(row[name]) for name in FIELDS))
        found[row["part"]] = found[row["part"]] + moments if row["part"] in found else moments
    return found


def _medians(data: DataFrame, features: str, positions: list[int], folds: Sequence[Fold]) -> list[dict[int, float]]:
    """Per fold, the medians of these positions, less what was filled in; 0 where nothing is left."""
    if not positions:
        return [{} for _ in folds]
    values = as_floats(data, features)
    asked = []
    for fold in folds:
        for position in positions:
            there = F.col(PART).isin(*fold.training)
            if FILLED in data.columns:
                there &= ~F.coalesce(F.array_contains(FILLED, position), F.lit(False))
            value = F.when(there, F.element_at(values, position + 1))
            asked.append(F.percentile_approx(value, 0.5, _MEDIAN_ACCURACY))
    found = [0.0 if median is None else float(median) for median in data.agg(*asked).collect()[0]]
    size = len(positions)
    return [dict(zip(positions, found[at : at + size], strict=True)) for at in range(0, len(found), size)]


def _describe(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Per part, the moments of a task's rows."""
    import pyarrow as pa

    found: dict[int, Moments] = {}
    for batch in batches:
        if batch.num_rows:
            filled = filled_in(batch.column(FILLED)) if FILLED in batch.schema.names else None
            add_moments(found, as_matrix(batch.column("features")), batch.column(PART).to_numpy(), filled)
    described = [{"part": p, "rows": m.rows, **{name: getattr(m, name) for name in FIELDS}} for p, m in sorted(found.items())]
    lists = [(name, pa.list_(pa.float64())) for name in FIELDS]
    yield pa.RecordBatch.from_pylist(described, pa.schema([("part", pa.int32()), ("rows", pa.int64()), *lists]))


def _lists(matrix: NDArray[np.float32]) -> pa.Array:
    import pyarrow as pa

    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(matrix.ravel()))


def refitted(data: DataFrame, features: str, mapping: FeatureMap | None) -> DataFrame:
    """The data with features by a fold's statistics."""
    if mapping is None:
        return data
    filled = F.col(FILLED) if FILLED in data.columns else None
    return data.withColumn(features, mapped(mapping, as_floats(data, features), filled))


def mapped(mapping: FeatureMap, features: Column, filled: Column | None) -> Column:
    """Return the features column by a fold's statistics; `filled` holds the positions of what was filled in."""
    import pyarrow as pa
    from pyspark.sql.functions import arrow_udf

    alone = filled is None

    def apply(columns: Iterator[Any]) -> Iterator[pa.Array]:
        for block in columns:
            given, at = (block, ()) if alone else (block[0], filled_in(block[1]))
            yield _lists(mapping.apply(as_matrix(given), *at)) if len(given) else given

    given = pa.Array if alone else tuple[pa.Array, pa.Array]
    apply.__annotations__ = {"columns": Iterator[given], "return": Iterator[pa.Array]}  # type: ignore[valid-type]
    make: Any = arrow_udf  # its overloads know no iterators over plain arrays
    column: Column = make(apply, returnType="array<float>")(*[features] if filled is None else [features, filled])
    return column
