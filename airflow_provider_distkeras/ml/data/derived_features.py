"""Features that are computed of columns: the same in Spark's SQL, which makes them, and in pyarrow, which profiles them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from airflow_provider_distkeras.spark.columns import quoted


@dataclass(frozen=True)
class _Part:
    """SQL's function and pyarrow's, and after how many units the part begins anew, if it does."""

    sql: str
    arrow: Callable[[Any], Any]
    period: int | None


_PARTS = {
    "year": _Part("year", pc.year, None),
    "quarter": _Part("quarter", pc.quarter, 4),
    "month": _Part("month", pc.month, 12),
    "week": _Part("weekofyear", pc.iso_week, 53),
    "yearday": _Part("dayofyear", pc.day_of_year, 366),
    "day": _Part("day", pc.day, 31),
    "weekday": _Part("weekday", pc.day_of_week, 7),
    "hour": _Part("hour", pc.hour, 24),
    "minute": _Part("minute", pc.minute, 60),
    "second": _Part("second", pc.second, 60),
}


@dataclass(frozen=True)
class CalendarFeature:
    """A part of the times of a column, or its place on a circle.

    Attributes:
        column: the column of times; part: one of `contract.params.choices.CALENDAR_PARTS`.
        wave: sin or cos; None for the part itself.
    """

    column: str
    part: str
    wave: str | None = None

    @property
    def name(self) -> str:
        """The column that holds it."""
        return "__".join(filter(None, (self.column, self.part, self.wave)))

    @property
    def sql(self) -> str:
        """The feature as an SQL expression."""
        value = f"{_PARTS[self.part].sql}({quoted(self.column)})"
        return f"CAST({value} AS DOUBLE)" if self.wave is None else f"{self.wave}({value} * {self._turn!r}D)"

    def values(self, times: pa.Array) -> pa.Array:
        """Return the feature of these times."""
        value = _PARTS[self.part].arrow(times).cast(pa.float64())
        return value if self.wave is None else {"sin": pc.sin, "cos": pc.cos}[self.wave](pc.multiply(value, self._turn))

    @property
    def _turn(self) -> float:
        period = _PARTS[self.part].period
        assert period is not None
        return 2 * math.pi / period


def features_of(column: str, parts: Sequence[str], *, cyclic: bool) -> list[CalendarFeature]:
    """Return the features of a column of times; with `cyclic`, periodic parts as sine and cosine."""
    features = []
    for part in parts:
        turns = cyclic and _PARTS[part].period is not None
        features += [CalendarFeature(column, part, wave) for wave in (("sin", "cos") if turns else (None,))]
    return features


@dataclass(frozen=True)
class LogFeature:
    """The logarithm of a column of numbers, or of a calendar feature: of 1 + |x|, with the sign of x.

    Attributes:
        number: the column of numbers, or of the calendar feature.
        calendar: the calendar feature; None for a column that is read.
    """

    number: str
    calendar: CalendarFeature | None = None

    @property
    def column(self) -> str:
        """The column that is read."""
        return self.calendar.column if self.calendar else self.number

    @property
    def name(self) -> str:
        """The column that holds it."""
        return log_of(self.number)

    def values(self, column: pa.Array) -> pa.Array:
        """Return the feature of a block of the column that is read; NaN where it has no value."""
        values = self.calendar.values(column) if self.calendar else column.cast(pa.float64(), safe=False)
        return pa.array(signed_log(values.to_numpy(zero_copy_only=False)))


#: What `ProfileRequest` profiles beside columns.
DerivedFeature = CalendarFeature | LogFeature


def log_of(number: str) -> str:
    """Return the name of the column of a number's logarithm."""
    return f"{number}__log"


def log_sql(number: str) -> str:
    """Return the logarithm of a column of numbers as an SQL expression."""
    return f"signum({quoted(number)}) * log1p(abs({quoted(number)}))"


def signed_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithms of 1 + |x|, with the signs of x."""
    return np.sign(values) * np.log1p(np.abs(values))
