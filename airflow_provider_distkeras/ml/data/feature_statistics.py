"""Runs on executors. Statistics of prepared features, and the affine map that replaces them by those of other rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.feature_layout import FeatureLayout, FeatureSpan
from airflow_provider_distkeras.contract.specs.feature_scaling import FeatureScaling

if TYPE_CHECKING:
    import pyarrow as pa

#: The column of positions in `features` that were filled in.
FILLED = "filled"
#: The shares of values below the quantiles that ranks lie between, and those of a median and the quartiles around it.
RANKED = tuple(step / 100 for step in range(101))
QUARTILES = (0.25, 0.5, 0.75)
#: The mean of the ranks of any numbers.
MEAN_RANK = 0.5
FIELDS = ("count", "mean", "m2", "minimum", "maximum")

Vector64 = NDArray[np.float64]


@dataclass(frozen=True)
class FeaturePreparation:
    """How features were prepared.

    Attributes:
        spans: what came from where, and how it was scaled; array has one statistic for all.
    """

    spans: tuple[FeatureSpan, ...]

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Self | None:
        """Read how features were prepared from the details of a preprocess manifest.

        None if they do not contain it, or if nothing was fitted on the dataset's rows: it was prepared as a model's files were.

        Raises:
            ArtifactError: the spans do not follow each other.
        """
        if details.get("layout") is None or details.get("like") is not None:
            return None
        spans, scaling = FeatureLayout.of(details["layout"]).spans, details.get("scaling")
        if isinstance(scaling, str):  # spans of earlier versions have no scaling of their own
            spans = tuple(replace(span, scaling=FeatureScaling(scaling).of_feature(span.column, span.kind)) for span in spans)
        return cls(spans)

    @property
    def size(self) -> int:
        """Number of features of a row."""
        return self.spans[-1].stop if self.spans else 0

    @property
    def is_fitted(self) -> bool:
        """Whether anything was fitted on rows, and so must be fitted anew on others."""
        return any(span.scaling or span.fill or span.kind == "category" for span in self.spans)


@dataclass(frozen=True)
class Moments:
    """Moments per position of `features`, of the values that were not filled in.

    Attributes:
        rows: Number of rows.
        count: Number of values that were not filled in.
        mean: Their mean.
        m2: Their sum of squared distances from the mean.
        minimum: The least of them.
        maximum: The largest of them.
    """

    rows: int
    count: Vector64
    mean: Vector64
    m2: Vector64
    minimum: Vector64
    maximum: Vector64

    @classmethod
    def of(cls, features: NDArray[np.float32], filled: NDArray[np.bool_] | None = None) -> Self:
        """Compute the moments of rows; `filled` marks the values that were filled in."""
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
        """Return the moments as bytes of float64 values."""
        return np.concatenate([[float(self.rows)], *(getattr(self, name) for name in FIELDS)]).tobytes()

    @classmethod
    def from_vector(cls, values: Vector64) -> Self:
        """Read what `to_bytes` wrote."""
        return cls(int(values[0]), *values[1:].reshape(len(FIELDS), -1))

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both (Chan, Golub and LeVeque, "Updating formulae ... for computing sample variances", 1979)."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1.0)
        delta = other.mean - self.mean
        return Moments(
            self.rows + other.rows, count, self.mean + delta * share, self.m2 + other.m2 + delta**2 * self.count * share,
            np.minimum(self.minimum, other.minimum), np.maximum(self.maximum, other.maximum),
        )  # fmt: skip

    def filled_in(self, fill: Vector64) -> Moments:
        """Return the moments with `fill` in place of the values that were filled in."""
        count = self.rows - self.count
        some = count > 0
        return self + Moments(
            0, count, np.where(some, fill, self.mean), np.zeros_like(fill),
            np.where(some, fill, np.inf), np.where(some, fill, -np.inf),
        )  # fmt: skip

    def pooled(self, span: FeatureSpan) -> Moments:
        """Return the moments where all positions of a span have those of their values together."""
        parts = (Moments(0, *(getattr(self, name)[at : at + 1] for name in FIELDS)) for at in range(span.start, span.stop))
        together = reduce(Moments.__add__, parts)
        fields = {name: getattr(self, name).copy() for name in FIELDS}
        for name, values in fields.items():
            values[span.positions] = getattr(together, name)
        return Moments(self.rows, **fields)


@dataclass(frozen=True, eq=False)
class RankMap:
    """The map from numbers to their ranks among others, from 0 to 1: straight lines between quantiles.

    Equal numbers have the middle of their ranks, so that a constant becomes 0.5; what lies beyond all others has the rank of the
    last of them.

    Attributes:
        knots: different numbers, in order.
        levels: the rank of each.
    """

    knots: Vector64
    levels: Vector64

    @classmethod
    def of(cls, quantiles: Vector64) -> Self:
        """Return the map by quantiles for equally spaced shares from 0 to 1."""
        knots, at = np.unique(quantiles, return_inverse=True)
        return cls(knots, np.bincount(at, np.linspace(0.0, 1.0, len(quantiles))) / np.bincount(at))

    def apply(self, values: Vector64) -> Vector64:
        """Return the ranks of values."""
        return np.interp(values, self.knots, self.levels)

    def inverse(self, rank: float) -> float:
        """Return a number of this rank."""
        return float(np.interp(rank, self.levels, self.knots))


@dataclass(frozen=True)
class FeatureMap:
    """The map from prepared features to those by a fold's statistics: value * scale + offset, or the rank of the value.

    Before, `fill` replaces the values that were filled in.

    Attributes:
        scale: Factor per position.
        offset: Summand per position.
        fill: Value per position; NaN where nothing is filled in.
        ranks: Ranks per position that holds some.
    """

    scale: Vector64
    offset: Vector64
    fill: Vector64
    ranks: Mapping[int, RankMap] = field(default_factory=dict)

    def apply(
        self, features: NDArray[np.float32], rows: NDArray[np.integer] | None = None, at: NDArray[np.integer] | None = None
    ) -> NDArray[np.float32]:
        """Return the features by the fold's statistics; `rows` and `at` (positions) are of the values that were filled in."""
        values = features.astype(np.float64)
        if rows is not None and at is not None:
            values[rows, at] = np.where(np.isnan(self.fill[at]), values[rows, at], self.fill[at])
        mapped = (values * self.scale + self.offset).astype(np.float32)
        for position, ranks in self.ranks.items():
            mapped[:, position] = ranks.apply(values[:, position])
        return mapped


def add_moments(
    moments: dict[int, Moments],
    features: NDArray[np.float32],
    parts: NDArray[np.integer],
    filled: tuple[NDArray[np.integer], NDArray[np.integer]] | None,
) -> None:
    """Add the moments of rows to those of their parts; `filled` holds rows and positions of values that were filled in."""
    marks = None
    if filled is not None:
        marks = np.zeros(features.shape, bool)
        marks[filled] = True
    for part in np.unique(parts).tolist():
        rows = parts == part
        added = Moments.of(features[rows], None if marks is None else marks[rows])
        moments[part] = moments[part] + added if part in moments else added


def filled_in(lists: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows and the positions of the values that a column of positions marks."""
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.repeat(np.arange(len(lists)), lengths), lists.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
