"""Statistics of a fold: those that features were prepared with, fitted anew on what the fold trains on.

A prepared feature is its raw value, moved and stretched by statistics of all training rows. To standardize it once more, by the
statistics of some rows, gives what their statistics make of the raw value; so raw values are not needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.ml.folds import PART, Fold
from airflow_provider_distkeras.spark.columns import as_floats
from airflow_provider_distkeras.training.dataset import as_matrix

if TYPE_CHECKING:
    import pyarrow as pa

#: The column of positions in `features` that were filled in.
FILLED = "filled"

_MEDIAN_ACCURACY = 10_000
_FIELDS = ("count", "mean", "m2", "minimum", "maximum")
_MOMENTS_SCHEMA = f"part int, rows long, {', '.join(f'{name} array<double>' for name in _FIELDS)}"

Vector64 = NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """Positions in `features` that came from one column; see `Preparation`."""

    kind: str
    start: int
    stop: int
    fill: str | None

    @property
    def positions(self) -> slice:
        """The positions."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Preparation:
    """How features were prepared.

    Attributes:
        scaling: standard, minmax or None.
        spans: what came from where: number, indicator, category, hashed (left as they are) or array (one statistic for all);
            `fill` says by what a number's missing values were filled in: mean, median or None.
    """

    scaling: str | None
    spans: tuple[Span, ...]

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Self | None:
        """What a preprocess manifest's details, or a dict like them, tell; None if that is nothing.

        Raises:
            ArtifactError: the spans do not follow each other.
        """
        if details.get("layout") is None:
            return None
        spans = tuple(Span(said["kind"], said["start"], said["stop"], said.get("fill")) for said in details["layout"])
        ends = [0, *(span.stop for span in spans)]
        if [span.start for span in spans] != ends[:-1]:
            raise ArtifactError(f"layout: expected spans that follow each other from 0, received {details['layout']!r}.")
        return cls(details.get("scaling"), spans)

    @property
    def size(self) -> int:
        """Features of a row."""
        return self.spans[-1].stop if self.spans else 0

    @property
    def is_fitted(self) -> bool:
        """Whether anything was fitted on rows, and so must be fitted anew on others."""
        scaled = self.scaling is not None and any(span.kind != "hashed" for span in self.spans)
        return scaled or any(span.fill or span.kind == "category" for span in self.spans)

    def filled_by(self, statistic: str) -> list[int]:
        """The positions whose missing values were filled in by a statistic."""
        return [position for span in self.spans if span.fill == statistic for position in range(span.start, span.stop)]


@dataclass(frozen=True)
class Moments:
    """Per position of `features`, what describes its values that were not filled in.

    Attributes:
        rows: how many rows; count: of these, values that were not filled in.
        mean, m2: their mean and their sum of squared distances from it; minimum, maximum: their extremes.
    """

    rows: int
    count: Vector64
    mean: Vector64
    m2: Vector64
    minimum: Vector64
    maximum: Vector64

    @classmethod
    def of(cls, features: NDArray[np.float32], filled: NDArray[np.bool_] | None = None) -> Self:
        """Of rows; `filled` marks what was filled in."""
        values = features.astype(np.float64)
        if filled is None or not filled.any():
            mean = values.mean(axis=0)
            m2 = ((values - mean) ** 2).sum(axis=0)
            return cls(len(values), np.full(len(mean), float(len(values))), mean, m2, values.min(axis=0), values.max(axis=0))
        there = ~filled
        count = there.sum(axis=0).astype(np.float64)
        mean = np.where(there, values, 0.0).sum(axis=0) / np.maximum(count, 1.0)
        m2 = np.where(there, values - mean, 0.0)
        return cls(
            len(values), count, mean, (m2**2).sum(axis=0),
            np.where(there, values, np.inf).min(axis=0), np.where(there, values, -np.inf).max(axis=0),
        )  # fmt: skip

    def to_bytes(self) -> bytes:
        """As bytes of float64 values."""
        return np.concatenate([[float(self.rows)], *(getattr(self, name) for name in _FIELDS)]).tobytes()

    @classmethod
    def from_vector(cls, values: Vector64) -> Self:
        """What `to_bytes` wrote."""
        return cls(int(values[0]), *values[1:].reshape(len(_FIELDS), -1))

    def __add__(self, other: Moments) -> Moments:
        """Of both together (Chan, Golub and LeVeque, "Updating formulae ... for computing sample variances", 1979)."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1.0)
        delta = other.mean - self.mean
        return Moments(
            self.rows + other.rows, count, self.mean + delta * share, self.m2 + other.m2 + delta**2 * self.count * share,
            np.minimum(self.minimum, other.minimum), np.maximum(self.maximum, other.maximum),
        )  # fmt: skip

    def filled_in(self, fill: Vector64) -> Moments:
        """The same, with `fill` in place of what was filled in before."""
        count = self.rows - self.count
        some = count > 0
        return self + Moments(
            0, count, np.where(some, fill, self.mean), np.zeros_like(fill),
            np.where(some, fill, np.inf), np.where(some, fill, -np.inf),
        )  # fmt: skip

    def pooled(self, span: Span) -> Moments:
        """The same, where all positions of a span have what describes their values together."""
        parts = (Moments(0, *(getattr(self, name)[at : at + 1] for name in _FIELDS)) for at in range(span.start, span.stop))
        together = reduce(Moments.__add__, parts)
        fields = {name: getattr(self, name).copy() for name in _FIELDS}
        for name, values in fields.items():
            values[span.positions] = getattr(together, name)
        return Moments(self.rows, **fields)


@dataclass(frozen=True)
class FeatureMap:
    """What a fold's statistics make of prepared features: value * scale + offset, after `fill` took the place of what was filled.

    Attributes:
        scale, offset, fill: per position; `fill` is NaN where nothing is filled in.
    """

    scale: Vector64
    offset: Vector64
    fill: Vector64

    def apply(
        self, features: NDArray[np.float32], rows: NDArray[np.integer] | None = None, at: NDArray[np.integer] | None = None
    ) -> NDArray[np.float32]:
        """The features by the fold's statistics; `rows` and `at` (positions) tell which values were filled in."""
        values = features.astype(np.float64)
        if rows is not None and at is not None:
            values[rows, at] = np.where(np.isnan(self.fill[at]), values[rows, at], self.fill[at])
        return (values * self.scale + self.offset).astype(np.float32)

    def column(self, features: Column, filled: Column | None) -> Column:
        """The same for columns of a DataFrame."""
        import pyarrow as pa
        from pyspark.sql.functions import arrow_udf

        alone = filled is None

        def apply(columns: Iterator[Any]) -> Iterator[pa.Array]:
            for block in columns:
                given, at = (block, ()) if alone else (block[0], filled_in(block[1]))
                yield _lists(self.apply(as_matrix(given), *at)) if len(given) else given

        given = pa.Array if alone else tuple[pa.Array, pa.Array]
        apply.__annotations__ = {"columns": Iterator[given], "return": Iterator[pa.Array]}  # type: ignore[valid-type]
        make: Any = arrow_udf  # its overloads know no iterators over plain arrays
        column: Column = make(apply, returnType="array<float>")(*[features] if filled is None else [features, filled])
        return column


def fold_maps(
    data: DataFrame,
    features: str,
    preparation: Preparation | None,
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


def _feature_map(preparation: Preparation, training: Moments, medians: dict[int, float]) -> FeatureMap:
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
        moments = Moments(row["rows"], *(np.array(row[name]) for name in _FIELDS))
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
    described = [{"part": p, "rows": m.rows, **{name: getattr(m, name) for name in _FIELDS}} for p, m in sorted(found.items())]
    lists = [(name, pa.list_(pa.float64())) for name in _FIELDS]
    yield pa.RecordBatch.from_pylist(described, pa.schema([("part", pa.int32()), ("rows", pa.int64()), *lists]))


def add_moments(
    found: dict[int, Moments],
    features: NDArray[np.float32],
    parts: NDArray[np.integer],
    filled: tuple[NDArray[np.integer], NDArray[np.integer]] | None,
) -> None:
    """Add what describes some rows to what describes their parts; `filled` tells the rows and positions of what was filled in."""
    marks = None
    if filled is not None:
        marks = np.zeros(features.shape, bool)
        marks[filled] = True
    for part in np.unique(parts).tolist():
        rows = parts == part
        moments = Moments.of(features[rows], None if marks is None else marks[rows])
        found[part] = found[part] + moments if part in found else moments


def filled_in(lists: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which values a column of positions marks: their rows and their positions."""
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.repeat(np.arange(len(lists)), lengths), lists.flatten().to_numpy(zero_copy_only=False).astype(np.int64)


def _lists(matrix: NDArray[np.float32]) -> pa.Array:
    import pyarrow as pa

    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(matrix.ravel()))


def refitted(data: DataFrame, features: str, mapping: FeatureMap | None) -> DataFrame:
    """The data with features by a fold's statistics."""
    if mapping is None:
        return data
    filled = F.col(FILLED) if FILLED in data.columns else None
    return data.withColumn(features, mapping.column(as_floats(data, features), filled))
