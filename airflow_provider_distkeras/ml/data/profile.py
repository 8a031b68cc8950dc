"""Profiles of columns, gathered block by block and merged: to be shown, and to fit stages from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

QUANTILES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_TOP = 20
_SAMPLED = 1 << 13
#: The largest number that a feature, a float32, can hold.
_LARGEST = float(np.finfo(np.float32).max)
#: From here on, not every whole number has a float32 of its own.
_WHOLE = 2.0**24
#: Numbers of a block that are compared with each other: enough to see that a column holds identifiers.
_COMPARED = 1 << 16


class Sample:
    """A sample of every n-th value; n doubles whenever the sample is full."""

    def __init__(self, values: NDArray[np.float64] | None = None, stride: int = 1) -> None:
        self.values = np.empty(0) if values is None else values
        self.stride = stride
        self._next = 0

    def add(self, values: NDArray[np.float64]) -> None:
        """Sample some more values."""
        taken = values[self._next :: self.stride]
        self._next += len(taken) * self.stride - len(values)
        self.values = np.concatenate([self.values, taken])
        while len(self.values) > _SAMPLED:
            self._next += self.stride * (len(self.values) % 2)
            self.values, self.stride = self.values[::2], 2 * self.stride


def weighted_quantiles(samples: list[Sample], at: tuple[float, ...]) -> list[float]:
    """Return quantiles of all values that the samples were taken from."""
    values, reached = _in_order(samples)
    if not len(values):
        return [math.nan] * len(at)
    return [float(values[min(int(np.searchsorted(reached, q)), len(values) - 1)]) for q in at]


def _in_order(samples: list[Sample]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sorted values of some samples, and the share of all values that is at most as large as each."""
    values = np.concatenate([sample.values for sample in samples])
    weights = np.concatenate([np.full(len(sample.values), float(sample.stride)) for sample in samples])
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return values[order], reached / reached[-1:]


class NumberProfile:
    """Numbers (and times, as seconds since 1970): how many, how spread, and a sample of them.

    Attributes:
        rows: values seen; missing, infinite: how many of them are null or NaN, or no finite float32; the rest is described by
        mean, m2 (the sum of squared distances from the mean), minimum, maximum and samples.
        too_large: one of the infinite values; NaN if there is none.
        twins: two different whole numbers of one block that are one number in float32; NaN if none were seen.
    """

    kind: ClassVar[str] = "number"

    def __init__(self) -> None:
        self.rows = self.missing = self.infinite = 0
        self.mean = self.m2 = 0.0
        self.minimum, self.maximum = math.inf, -math.inf
        self.samples = [Sample()]
        self.too_large = math.nan
        self.twins = (math.nan, math.nan)

    @property
    def count(self) -> int:
        """Values that are finite."""
        return self.rows - self.missing - self.infinite

    @property
    def std(self) -> float:
        """Standard deviation of the sample; 0 for fewer than two values."""
        return math.sqrt(self.m2 / (self.count - 1)) if self.count > 1 else 0.0

    def add(self, column: pa.Array) -> None:
        """Add a block."""
        values = _as_floats(column)
        finite = np.abs(values) <= _LARGEST
        if not finite.all():
            self.too_large = next(iter(values[~finite & ~np.isnan(values)].tolist()), self.too_large)
            missing = int(np.isnan(values).sum())
            self.missing += missing
            self.infinite += len(values) - int(finite.sum()) - missing
            self.rows += len(values) - int(finite.sum())
            values = values[finite]
        if len(values):
            mean = float(values.mean())
            centered = values - mean
            self._combine(len(values), mean, float(centered @ centered))
            self.minimum = min(self.minimum, float(values.min()))
            self.maximum = max(self.maximum, float(values.max()))
            self.samples[0].add(values)
            if math.isnan(self.twins[0]):
                self.twins = _twins(values) or self.twins

    def merge(self, other: NumberProfile) -> None:
        """Add the values of another profile."""
        self.rows += other.missing + other.infinite
        self.missing, self.infinite = self.missing + other.missing, self.infinite + other.infinite
        if other.count:
            self._combine(other.count, other.mean, other.m2)
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.samples += other.samples
        self.too_large = other.too_large if math.isnan(self.too_large) else self.too_large
        self.twins = other.twins if math.isnan(self.twins[0]) else self.twins

    def equal_in_float32(self) -> tuple[float, float]:
        """Return two different whole numbers that are one number in float32, of a block or of the sample; NaN for none."""
        if not math.isnan(self.twins[0]):
            return self.twins
        return _twins(np.concatenate([sample.values for sample in self.samples])) or self.twins

    @property
    def texts(self) -> pa.Array:
        """No text, as the values are numbers."""
        return pa.array([], pa.string())

    def filled(self, value: float) -> NumberProfile:
        """Return the profile with this value in place of every missing one."""
        other = NumberProfile()
        other.merge(self)
        other.missing, other.rows = 0, other.rows - other.missing
        if self.missing:
            other._combine(self.missing, value, 0.0)
            other.minimum, other.maximum = min(other.minimum, value), max(other.maximum, value)
            other.samples.append(Sample(np.array([value]), self.missing))
        return other

    def quantiles(self, at: tuple[float, ...] = QUANTILES) -> list[float]:
        """Return quantiles, from the sample."""
        return weighted_quantiles(self.samples, at)

    def cumulative(self, at: Sequence[float]) -> list[float]:
        """Return the share of the values that are at most as large, for each of these, from the sample."""
        values, reached = _in_order(self.samples)
        return [float(share) for share in np.append(0.0, reached)[np.searchsorted(values, at, side="right")]]

    def describe(self) -> dict[str, Any]:
        """Return the profile as plain JSON values."""
        description = {"kind": self.kind, "count": self.count, "missing": self.missing}
        if self.infinite:
            description["infinite"] = self.infinite
        if not self.count:
            return description
        quantiles = self.quantiles()
        return {
            **description, "mean": self.mean, "std": self.std, "min": self.minimum, "max": self.maximum,
            "quantiles": _by_probability(quantiles), "cumulative": _by_probability(self.cumulative(quantiles)),
        }  # fmt: skip

    def to_row(self) -> dict[str, Any]:
        """Return plain values for `merge_row`. Nothing may have been merged before."""
        facts = [self.rows, self.missing, self.infinite, self.mean, self.m2, self.minimum, self.maximum]
        facts += [self.samples[0].stride, self.too_large, *self.twins]
        return {"facts": [float(fact) for fact in facts], "values": self.samples[0].values, "texts": [], "counts": []}

    def merge_row(self, row: dict[str, Any]) -> None:
        """Add a profile that `to_row` returned elsewhere."""
        other, facts = type(self)(), row["facts"]
        other.rows, other.missing, other.infinite = map(int, facts[:3])
        other.mean, other.m2, other.minimum, other.maximum = facts[3:7]
        other.samples = [Sample(np.asarray(row["values"], np.float64), int(facts[7]))]
        other.too_large, other.twins = facts[8], (facts[9], facts[10])
        self.merge(other)

    def _combine(self, count: int, mean: float, m2: float) -> None:
        """Add moments (Chan et al., "Updating formulae and a pairwise algorithm for computing sample variances", 1979)."""
        before, after = self.count, self.count + count
        delta = mean - self.mean
        self.mean += delta * count / after
        self.m2 += m2 + delta * delta * before * count / after
        self.rows += count


class TimeProfile(NumberProfile):
    """Times: as numbers, but described as times."""

    kind = "timestamp"

    def cumulative(self, at: Sequence[float]) -> list[float]:
        """Return the shares as for numbers, in whole seconds, in which times are described."""
        return super().cumulative([math.nextafter(math.floor(seconds) + 1, -math.inf) for seconds in at])

    def describe(self) -> dict[str, Any]:
        """Return the profile as plain JSON values."""
        description = super().describe()
        description.pop("std", None)
        for name in {"mean", "min", "max"} & set(description):
            description[name] = _as_time(description[name])
        if "quantiles" in description:
            description["quantiles"] = {q: _as_time(value) for q, value in description["quantiles"].items()}
        return description


class ArrayProfile(NumberProfile):
    """Arrays of numbers, taken as one lot of numbers; a missing array counts as one missing number."""

    kind = "array"

    def add(self, column: pa.Array) -> None:
        """Add a block."""
        self.rows, self.missing = self.rows + column.null_count, self.missing + column.null_count
        super().add(column.flatten())


class TextProfile:
    """Texts, and the number of rows with each.

    Attributes:
        rows: values seen; missing: how many of them are null.
        counts: rows per text; after `limit` different ones, new ones only count as `others`.
    """

    kind: ClassVar[str] = "text"
    limit: ClassVar[int] = 100_000

    def __init__(self) -> None:
        self.rows = self.missing = self.others = 0
        self.counts: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """Values that are not missing."""
        return self.rows - self.missing

    def add(self, column: pa.Array) -> None:
        """Add a block."""
        self.rows += len(column)
        self.missing += column.null_count
        counted = pc.value_counts(column.drop_null())
        self._count(dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)))

    def merge(self, other: TextProfile) -> None:
        """Add the values of another profile."""
        self.rows, self.missing, self.others = self.rows + other.rows, self.missing + other.missing, self.others + other.others
        self._count(other.counts)

    @property
    def texts(self) -> pa.Array:
        """The different texts."""
        return pa.array(self.counts, pa.string())

    def describe(self) -> dict[str, Any]:
        """Return the profile as plain JSON values."""
        description = {"kind": self.kind, "count": self.count, "missing": self.missing, "distinct": len(self.counts)}
        if self.others:
            description["distinct_at_least"] = description.pop("distinct")
        return {**description, "top": [list(pair) for pair in self.counts.most_common(_TOP)]}

    def to_row(self) -> dict[str, Any]:
        """Return plain values for `merge_row`. Nothing may have been merged before."""
        facts = [float(fact) for fact in (self.rows, self.missing, self.others)]
        return {"facts": facts, "values": [], "texts": list(self.counts), "counts": list(self.counts.values())}

    def merge_row(self, row: dict[str, Any]) -> None:
        """Add a profile that `to_row` returned elsewhere."""
        other = TextProfile()
        other.rows, other.missing, other.others = map(int, row["facts"])
        other.counts = Counter(dict(zip(row["texts"], row["counts"], strict=True)))
        self.merge(other)

    def _count(self, counts: dict[str, int]) -> None:
        if len(self.counts) + len(counts) <= self.limit:
            self.counts.update(counts)
            return
        for text, count in counts.items():
            if text in self.counts or len(self.counts) < self.limit:
                self.counts[text] += count
            else:
                self.others += count


Profile = NumberProfile | TextProfile
_PROFILES: dict[str, type[NumberProfile] | type[TextProfile]] = {
    "number": NumberProfile, "boolean": NumberProfile, "timestamp": TimeProfile, "text": TextProfile
}  # fmt: skip


def profile_for(kind: str) -> Profile:
    """Return an empty profile of a column of this kind."""
    return _PROFILES.get(kind, ArrayProfile)()


def _by_probability(values: Sequence[float]) -> dict[str, float]:
    return {f"{q:g}": value for q, value in zip(QUANTILES, values, strict=True)}


def _as_floats(column: pa.Array) -> NDArray[np.float64]:
    """Return a block's values; NaN where they are null. Times are seconds."""
    if pa.types.is_timestamp(column.type):
        column = pc.divide(column.cast(pa.int64()).cast(pa.float64(), safe=False), 1e6)  # microseconds may be lost
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _twins(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return two different whole numbers among these finite values that are one float32; None if there are none."""
    large = values[np.abs(values) >= _WHOLE][:_COMPARED]
    whole = np.unique(large[large == np.floor(large)])
    same = np.flatnonzero(np.diff(whole.astype(np.float32)) == 0)
    return (float(whole[same[0]]), float(whole[same[0] + 1])) if len(same) else None


def _as_time(seconds: float) -> str:
    return str(np.datetime64(math.floor(seconds), "s"))
