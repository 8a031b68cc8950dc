"""Statistics that features were prepared with, and the affine map that other rows' statistics make of prepared features.

Runs on executors, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import ArtifactError

if TYPE_CHECKING:
    import pyarrow as pa

#: The column of positions in `features` that were filled in.
FILLED = "filled"


FIELDS = ("count", "mean", "m2", "minimum", "maximum")

Vector64 = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureSpan:
    """Positions in `features` that came from one column; see `FeaturePreparation`."""

    kind: str
    start: int
    stop: int
    fill: str | None

    @property
    def positions(self) -> slice:
        """The positions."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class FeaturePreparation:
    """How features were prepared.

    Attributes:
        scaling: standard, minmax or None.
        spans: what came from where: number, indicator, category, hashed (left as they are) or array (one statistic for all);
            `fill` says by what a number's missing values were filled in: mean, median or None.
    """

    scaling: str | None
    spans: tuple[FeatureSpan, ...]

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Self | None:
        """What a preprocess manifest's details, or a dict like them, tell; None if that is nothing.

        Raises:
            ArtifactError: the spans do not follow each other.
        """
        if details.get("layout") is None:
            return None
        spans = tuple(FeatureSpan(said["kind"], said["start"], said["stop"], said.get("fill")) for said in details["layout"])
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
        return np.concatenate([[float(self.rows)], *(getattr(self, name) for name in FIELDS)]).tobytes()

    @classmethod
    def from_vector(cls, values: Vector64) -> Self:
        """What `to_bytes` wrote."""
        return cls(int(values[0]), *values[1:].reshape(len(FIELDS), -1))

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

    def pooled(self, span: FeatureSpan) -> Moments:
        """The same, where all positions of a span have what describes their values together."""
        parts = (Moments(0, *(getattr(self, name)[at : at + 1] for name in FIELDS)) for at in range(span.start, span.stop))
        together = reduce(Moments.__add__, parts)
        fields = {name: getattr(self, name).copy() for name in FIELDS}
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
