"""How numbers are written in texts: with a decimal comma, separators of thousands, currencies, percent signs or suffixes."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: What a number of a column may be written with.
NUMBER_FORMATS = ("currency", "percent", "suffix")
#: What the letter behind a number multiplies it by, in lower case.
SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_CURRENCY = r"(?:[$€£¥₹]|[A-Z]{2,3}\$?|[A-Z]\$)"


@dataclass(frozen=True)
class NumberFormat:
    """The way in which the numbers of a column are written.

    Attributes:
        unit: one of `NUMBER_FORMATS`; None for numbers alone.
        decimal: what stands before the fraction.
        thousands: what may stand between every three digits; None for nothing.
    """

    unit: str | None = None
    decimal: str = "."
    thousands: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether numbers are written as everywhere."""
        return self == PLAIN

    @property
    def separator(self) -> str | None:
        """What may stand between every three digits: in amounts of a currency a comma, or a point, if nothing is said."""
        if self.thousands is None and self.unit == "currency":
            return "," if self.decimal == "." else "."
        return self.thousands

    @property
    def pattern(self) -> str:
        """A regular expression of a number, for RE2 and Python.

        Its groups are `opened` and `closed` (brackets, as of amounts below zero in accounts), `sign` and `inner` (before and
        behind a currency), `whole`, `fraction` or, of a number that begins with its fraction, `only`, `exponent` and `suffix`.
        """
        point, separator = re.escape(self.decimal), self.separator
        grouped = rf"\d{{1,3}}(?:{re.escape(separator)}\d{{3}})+|" if separator else ""
        number = rf"(?:(?P<whole>{grouped}\d+)(?:{point}(?P<fraction>\d*))?|{point}(?P<only>\d+))(?P<exponent>(?:[eE][+-]?\d+)?)"
        before = rf"(?:{_CURRENCY}\s?)?" if self.unit == "currency" else ""
        behind = {"currency": rf"(?:\s?{_CURRENCY})?", "percent": r"\s?%?"}.get(self.unit or "", "")
        suffix = (
            rf"(?P<suffix>(?:\s?[{''.join(SUFFIXES)}{''.join(SUFFIXES).upper()}])?)" if self.unit == "suffix" else "(?P<suffix>)"
        )
        alone = rf"(?P<sign>[+-]?){before}(?P<inner>[+-]?){number}{suffix}{behind}"
        return rf"^(?P<opened>\(?){alone}(?P<closed>\)?)$"

    def __str__(self) -> str:
        """Return what is expected, for a message."""
        said = [
            *([f"decimal={self.decimal!r}"] if self.decimal != "." else []),
            *([f"thousands={self.thousands!r}"] if self.thousands else []),
            *([self.unit] if self.unit else []),
        ]
        return f"a number ({', '.join(said)})" if said else "a number"


#: Numbers that are written as everywhere.
PLAIN = NumberFormat()
