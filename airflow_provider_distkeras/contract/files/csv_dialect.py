"""The dialect of CSV files: delimiter, quotes, encoding and missing values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from airflow_provider_distkeras.contract.files.number_format import NumberFormat

#: The kinds of columns, beside "array[8]", which is eight numbers; a boolean is a number, 1 or 0, where it is used.
KINDS = ("number", "boolean", "timestamp", "text")

#: A decimal number without its sign, as a regular expression for Python, Java and RE2.
DECIMAL = r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_NUMBER = rf"(?i)\s*[+-]?(inf(inity)?|{DECIMAL})\s*"


def length_of(kind: str) -> int | None:
    """Return how many numbers a column of this kind holds in a row, if it is an array; else None."""
    match = re.fullmatch(r"array\[([1-9]\d*)\]", kind)
    return int(match[1]) if match else None


@dataclass(frozen=True)
class Dialect:
    r"""The way in which CSV files are written.

    Attributes:
        delimiter: what separates the fields of a line.
        quote: what surrounds a field that holds delimiters, itself doubled inside; None where nothing does.
        encoding: Python's name of the encoding.
        null_values: texts that stand for a missing value, beside an empty field, nan, and \N, as databases write it.
            One that is a number stands for it in a column of numbers, however the number is written there.
        multiline: whether a quoted field may hold line breaks. A file is then read as a whole, by one task.
        escape: what stands before a quote inside quotes, where quotes are not doubled.
        header: whether the first line names the columns; None for the same, but a line that looks like values is refused.
        timestamp_formats: how times are written, beside ISO 8601, in the words of `strptime`.
        comment: what a line begins with that is no record; None where every line is one.
        skip_lines: how many lines precede the header, or the first row of files without one.
        skip_footer: how many lines that hold something follow the last row. A file is then read as a whole, by one task.
        decimal: what stands before the fraction of a number.
        thousands: what may stand between every three digits of a number; None for nothing.
        number_formats: what numbers are written with, such as a currency, per column by its name in the files.
    """

    delimiter: str = ","
    quote: str | None = '"'
    encoding: str = "utf-8"
    null_values: tuple[str, ...] = ()
    multiline: bool = False
    timestamp_formats: tuple[str, ...] = ()
    escape: str | None = None
    header: bool | None = None
    comment: str | None = None
    skip_lines: int = 0
    skip_footer: int = 0
    decimal: str = "."
    thousands: str | None = None
    number_formats: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Return the dialect of options as `to_dict` returns them; those that are not given are as usual."""
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        nothing: dict[str, Any] = {name: None for name, value in values.items() if value == ""}
        return cls(**values | nothing)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain JSON values; empty where there is no such character."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return values | {name: values[name] or "" for name in ("quote", "escape", "comment", "thousands")}

    def number_format(self, column: str) -> NumberFormat:
        """Return how the numbers of a column, by its name in the files, are written."""
        return NumberFormat(self.number_formats.get(column), self.decimal, self.thousands)

    @property
    def all_null_values(self) -> tuple[str, ...]:
        """All texts that stand for a missing value."""
        return ("", "nan", "NaN", r"\N", *self.null_values)

    @property
    def null_numbers(self) -> tuple[float, ...]:
        """Those of the null values that are numbers: in a column of numbers they stand for a missing value however written."""
        return tuple(float(value) for value in self.null_values if re.fullmatch(_NUMBER, value))

    @property
    def is_wide(self) -> bool:
        """Whether a line break takes more than a byte."""
        return len("\n".encode(self.encoding)) > 1

    @property
    def by_line(self) -> bool:
        """Whether every line is a record that ends at the byte of a line break."""
        return not (self.multiline or self.is_wide)
