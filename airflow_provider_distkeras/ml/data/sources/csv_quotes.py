"""Runs on executors. Quotes in CSV records: written anew as pyarrow reads them, and those that a line break has cut off."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.files.csv_dialect import Dialect

#: Stands for an escape character that is escaped itself, while others are replaced.
_ESCAPED = "\0\1"
#: The most lines that a quoted field is taken to have where every line is read as a record.
_MOST_LINES = 1000
#: The reason of a line that is a part of a record.
_PART = "a quote is not closed on the same line; set multiline=True if fields hold line breaks"
#: What Python's parser says of a line that ends inside quotes.
_UNCLOSED = "unexpected end of data"
#: Bytes as characters, one by one, for Python's own parser.
_BYTEWISE = "latin-1"


@dataclass(frozen=True)
class _Places:
    """The places of a character in records: most blocks have none, and are seen to have none at once.

    Attributes:
        before: the byte before each.
        records: the position of the record of each.
    """

    before: NDArray[np.uint8]
    records: NDArray[np.int64]

    @classmethod
    def of(cls, records: pa.Array, character: str) -> _Places:
        """Return the places of an ASCII character."""
        _, offsets, content = records.cast(pa.binary()).buffers()
        ends = np.frombuffer(offsets, np.int32)[records.offset : records.offset + len(records) + 1]
        values = np.frombuffer(content or b"", np.uint8)
        places = np.flatnonzero(values[ends[0] : ends[-1]] == ord(character)) + ends[0] if len(ends) else ends
        return cls(values[places - 1] if len(places) else values[:0], np.searchsorted(ends[1:], places, side="right"))

    def follow(self, characters: str) -> bool:
        """Return whether one of them follows one of some characters."""
        return bool(np.isin(self.before, np.frombuffer(characters.encode(), np.uint8)).any())

    def odd(self) -> NDArray[np.int64]:
        """Return the positions of the records that have an odd number of them."""
        records, counts = np.unique(self.records, return_counts=True)
        return records[counts % 2 == 1]


def _unescaped(records: pa.Array, places: _Places, dialect: Dialect) -> pa.Array:
    """Return the records with their quotes doubled where they were escaped, and without spaces before an opening quote."""
    quote, escape = str(dialect.quote), dialect.escape
    if escape is not None and places.follow(escape):
        records = records.cast(pa.binary())
        for pattern, by in ((escape * 2, _ESCAPED), (escape + quote, quote * 2), (_ESCAPED, escape)):
            records = pc.replace_substring(records, pattern, by)
    if dialect.delimiter != " " and places.follow(" "):
        records = records.cast(pa.binary())
        spaced = pc.match_substring_regex(records, rf"(^|{re.escape(dialect.delimiter)}) +{re.escape(quote)}")
        written = [_without_spaces(text, dialect) for text in records.filter(spaced).to_pylist()]
        records = pc.replace_with_mask(records, spaced, pa.array(written, pa.binary()))
    return records


def _without_spaces(record: bytes, dialect: Dialect) -> bytes:
    """Return a record with all fields in quotes and no space before them; as it is if its quotes do not fit."""
    quote, text = str(dialect.quote), record.decode(_BYTEWISE)
    reader = csv.reader([text], delimiter=dialect.delimiter, quotechar=quote, skipinitialspace=True, strict=True)
    try:
        fields = next(reader)
    except (csv.Error, StopIteration):
        return record
    return dialect.delimiter.join(f"{quote}{field.replace(quote, quote * 2)}{quote}" for field in fields).encode(_BYTEWISE)


@dataclass(frozen=True)
class Fault:
    """Lines that are bad by their quotes, as one record.

    Attributes:
        first: the position of the first line.
        count: the number of lines.
        reason: why they are bad.
    """

    first: int
    count: int
    reason: str

    @property
    def positions(self) -> range:
        """The positions of the lines."""
        return range(self.first, self.first + self.count)


class QuoteReader:
    """Reads the quotes of records, as far as pyarrow does not; it is called with the blocks of a task in their order.

    Args:
        dialect: how the records are written.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._opened: int | None = None

    def read(self, records: pa.Array) -> tuple[pa.Array, list[Fault]]:
        """Return the records as pyarrow reads them, and those of them that cannot be right by their quotes."""
        if self._dialect.quote is None:
            return records, []
        places = _Places.of(records, self._dialect.quote)
        plain = _unescaped(records, places, self._dialect)
        return plain, self._faults(plain, places if plain is records else _Places.of(plain, self._dialect.quote))

    def _faults(self, records: pa.Array, places: _Places) -> list[Fault]:
        """Return the lines that are parts of one record, and the records whose quotes are escaped in another way."""
        parts = self._parts(records, places) if self._dialect.by_line else []
        inside = {position for part in parts for position in part.positions}
        escaped = self._escaped(records) if self._dialect.escape is None and places.follow("\\") else []
        return [*parts, *(fault for fault in escaped if fault.first not in inside)]

    def _escaped(self, records: pa.Array) -> list[Fault]:
        """Return the records with a backslash before a quote that closes no field."""
        quote, delimiter = re.escape(str(self._dialect.quote)), re.escape(self._dialect.delimiter)
        found = pc.match_substring_regex(records.cast(pa.binary()), rf"\\{quote}[^{delimiter}{quote}\r\n]")
        reason = f"a {self._dialect.quote} follows a backslash; set escape='\\\\' if backslashes escape quotes"
        return [Fault(int(position), 1, reason) for position in pc.indices_nonzero(found).to_numpy()]

    def _parts(self, records: pa.Array, places: _Places) -> list[Fault]:
        """Return the lines from one that opens a quoted field and leaves it open to the one that closes it."""
        parts: list[Fault] = []
        for position in map(int, places.odd()):
            text = records[position].as_py()
            line = text.decode(_BYTEWISE) if isinstance(text, bytes) else text
            is_near = self._opened is not None and position - self._opened <= _MOST_LINES
            if self._opened is not None and is_near and not self._error(f"{self._dialect.quote}{line}"):
                first = max(self._opened, 0)
                parts.append(Fault(first, position + 1 - first, _PART))
                self._opened = None
            elif self._error(line) == _UNCLOSED:
                self._opened = position
        if self._opened is not None:
            self._opened -= len(records)
        return parts

    def _error(self, line: str) -> str:
        """Return the error of Python's parser about a line; "" if it has none."""
        try:
            list(csv.reader([line], delimiter=self._dialect.delimiter, quotechar=self._dialect.quote, strict=True))
        except csv.Error as error:
            return str(error)
        return ""
