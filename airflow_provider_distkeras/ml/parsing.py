"""From the records of CSV files to typed Arrow columns, by pyarrow's parser; a record that does not fit is told, not guessed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from airflow_provider_distkeras.contract.dialect import Dialect, length_of

#: Arrow type per kind that pyarrow's parser converts to; all others are converted from text.
_PARSED = {"number": pa.float64(), "boolean": pa.bool_()}
_SPARK_TYPES = {"number": "double", "boolean": "double", "timestamp": "timestamp_ntz", "text": "string"}

_EXPECTED = {"number": "a number", "boolean": "true or false", "timestamp": "a date or a time, such as 2026-03-01T12:00"}
#: Ends every block, so that a quote left open in its last record is seen to swallow it.
_END = "\x1a distkeras \x1a"
_SHOWN = 500
#: A number as text.
NUMBER = r"(?i)^[+-]?(nan|inf(inity)?|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)$"
#: The share of numbers that makes a column of numbers: what is none is then a bad line, and no category.
_MOST = 0.8
#: What surrounds the numbers of an array, and what separates them; Java reads both alike.
BRACKETS, SEPARATOR = "[](){} \t\n", r"[\s,;|]+"
_CONVERSION = re.compile(r"CSV column #(\d+): (?:Row #\d+: )?CSV conversion error to [^:]+: (.*)", re.DOTALL)


@dataclass(frozen=True)
class BadRecord:
    """A record that does not fit: its position among those parsed, its beginning, and why."""

    position: int
    text: str
    reason: str


class Misfit(ValueError):
    """Texts that are not what their column holds, and why."""


def spark_type(kind: str) -> str:
    """The Spark type of a column of this kind."""
    return _SPARK_TYPES.get(kind, "array<double>")


class Parser:
    """Parses blocks of records.

    Args:
        columns: the names of the fields, in the files' order.
        kinds: the columns wanted, and what each holds.
        dialect: how the records are written.
    """

    def __init__(self, columns: Sequence[str], kinds: Mapping[str, str], dialect: Dialect) -> None:
        self._columns, self._kinds, self._dialect = list(columns), dict(kinds), dialect
        nulls = ["", "nan", "NaN", *dialect.null_values]
        self._nulls = pa.array(nulls)
        self._end = dialect.delimiter.join([_END] * len(columns)).encode()
        self._converts = csv.ConvertOptions(
            column_types={name: _PARSED.get(kind, pa.string()) for name, kind in self._kinds.items()},
            include_columns=list(self._kinds),
            # Arrow trims the spaces around a number before it parses it, but after it looks for null values.
            null_values=[_END, *(f"{before}{null}{after}" for null in nulls for before in ("", " ") for after in ("", " "))],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            true_values=["true", "True", "TRUE"],
            false_values=["false", "False", "FALSE"],
        )

    def parse(self, records: pa.Array) -> tuple[list[pa.RecordBatch], list[BadRecord]]:
        """The records that fit as batches of the columns wanted, in order, and those that do not. Empty ones are left out.

        Args:
            records: strings or bytes, in the dialect's encoding, without line ends.
        """
        bad: list[BadRecord] = []
        batches = [batch for batch in self._parse(records, 0, bad) if batch.num_rows]
        return batches, sorted(bad, key=lambda record: record.position)

    def _parse(self, records: pa.Array, start: int, bad: list[BadRecord]) -> Iterator[pa.RecordBatch]:
        """Parse a block at once; if anything is wrong with it, its halves, down to the record at fault."""
        if not len(records):
            return
        try:
            table, wrong = self._read(records)
            reason = "" if table.num_rows + len(wrong) == _filled(records) + 1 else self._unclosed()
        except (pa.ArrowInvalid, UnicodeError, Misfit) as error:
            reason = self._explain(error)
        if not reason:
            positions = _positions(records) if wrong else []
            bad += [self._bad(records, int(positions[row.number - 1]), start, self._misfit(row)) for row in wrong]
            yield from table.slice(0, table.num_rows - 1).combine_chunks().to_batches()
        elif len(records) == 1:
            bad.append(self._bad(records, 0, start, reason))
        else:
            half = len(records) // 2
            yield from self._parse(records[:half], start, bad)
            yield from self._parse(records[half:], start + half, bad)

    def _read(self, records: pa.Array) -> tuple[pa.Table, list[csv.InvalidRow]]:
        """pyarrow's table of the records and of `_END`, and the records with another number of fields."""
        wrong: list[csv.InvalidRow] = []

        def skip(row: csv.InvalidRow) -> str:
            wrong.append(row)
            return "skip"

        content = self._encoded(records)
        table = csv.read_csv(
            pa.BufferReader(content),
            csv.ReadOptions(use_threads=False, block_size=len(content) + 1, column_names=self._columns),
            csv.ParseOptions(
                delimiter=self._dialect.delimiter,
                quote_char=self._dialect.quote or False,
                newlines_in_values=self._dialect.multiline,
                invalid_row_handler=skip,
            ),
            self._converts,
        )
        for position, (name, kind) in enumerate(self._kinds.items()):
            if kind != "number":
                table = table.set_column(position, name, self._converted(table[name].combine_chunks(), name, kind))
        return table, wrong

    def _converted(self, column: pa.Array, name: str, kind: str) -> pa.Array:
        """What is left of texts without the spaces around them, as times or arrays if they are that; booleans as numbers."""
        if kind == "boolean":
            return column.cast(pa.float64())
        trimmed = pc.utf8_trim_whitespace(column)
        texts = pc.if_else(pc.is_in(trimmed, self._nulls), None, trimmed)
        length = length_of(kind)
        try:
            if kind == "timestamp":
                return parse_times(texts, self._dialect.timestamp_formats)
            return texts if length is None else parse_arrays(texts, length)
        except Misfit as error:
            raise Misfit(f"{name!r} {error}") from error

    def _encoded(self, records: pa.Array) -> bytes:
        """The records and `_END`, a line each, in UTF-8."""
        joined = pc.binary_join(pa.ListArray.from_arrays([0, len(records)], records.cast(pa.binary())), b"\n")[0].as_py()
        if self._dialect.encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "utf-8-sig", "ascii"):
            joined = joined.decode(self._dialect.encoding).encode()
        return bytes(joined + b"\n" + self._end)

    def _bad(self, records: pa.Array, position: int, start: int, reason: str) -> BadRecord:
        text = records.cast(pa.binary())[position].as_py().decode(self._dialect.encoding, "replace")
        return BadRecord(start + position, text[:_SHOWN], reason)

    def _misfit(self, row: csv.InvalidRow) -> str:
        return f"{row.actual_columns} fields, expected {row.expected_columns}"

    def _unclosed(self) -> str:
        if self._dialect.multiline:
            return "a quote is not closed"
        return "a quote is not closed on the same line; set multiline=True if fields hold line breaks"

    def _explain(self, error: Exception) -> str:
        found = _CONVERSION.match(str(error).removeprefix("In "))
        if isinstance(error, UnicodeError) or "invalid UTF8" in str(error):
            return f"not in the encoding {self._dialect.encoding}"
        if not found:
            return str(error)
        name, value = self._columns[int(found[1])], found[2].removeprefix("invalid value ")
        return f"{name!r} is {value}, expected {_EXPECTED[self._kinds[name]]}"


def parse_times(texts: pa.Array, formats: Sequence[str] = ()) -> pa.Array:
    """Texts, all written in the same way, as times in UTC without a zone.

    Args:
        texts: ISO 8601, with or without a zone, or in one of the formats.
        formats: in the words of `strptime`.

    Raises:
        Misfit: some are written in another way.
    """
    naive = pa.timestamp("us")
    ways: list[Callable[[], pa.Array]] = [
        lambda: texts.cast(naive),
        lambda: texts.cast(pa.timestamp("us", "UTC")).cast(naive),
        *(partial(pc.strptime, texts, format=said, unit="us") for said in formats),
    ]
    for parse in ways:
        with contextlib.suppress(pa.ArrowInvalid):
            return parse().cast(naive)
    example = next(iter(texts.drop_null().to_pylist()))
    raise Misfit(f"is {example[:_SHOWN]!r}, expected {_EXPECTED['timestamp']}")


def parse_arrays(texts: pa.Array, length: int) -> pa.Array:
    """Texts of so many numbers each, such as "1 2 3" or "[1, 2, 3]", as lists. Raises Misfit if some are anything else."""
    lists = pc.split_pattern_regex(pc.utf8_trim(texts, characters=BRACKETS), SEPARATOR)
    other = [found for found in pc.unique(pc.list_value_length(lists).drop_null()).to_pylist() if found != length]
    if other:
        raise Misfit(f"holds {other[0]} numbers, expected {length}")
    try:
        values = lists.flatten().cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise Misfit(f"does not hold {length} numbers: {error}") from error
    return pa.ListArray.from_arrays(lists.offsets, values, mask=lists.is_null())


def infer_kind(texts: pa.Array, timestamp_formats: Sequence[str] = ()) -> str:
    """What a column holds, as far as these values tell: numbers where there is none, or where few are anything else."""
    values = texts.drop_null()
    numbers = pc.sum(pc.match_substring_regex(values, NUMBER)).as_py() or 0
    if numbers >= _MOST * len(values):
        return "number"
    if pc.all(pc.is_in(pc.utf8_lower(values), pa.array(["true", "false"]))).as_py():
        return "boolean"
    try:
        parse_times(values, timestamp_formats)
    except Misfit:
        return "text"
    return "timestamp"


def _filled(records: pa.Array) -> int:
    """How many records the parser sees: it leaves out empty ones."""
    return len(records) - pc.sum(pc.equal(pc.binary_length(records), 0)).as_py()


def _positions(records: pa.Array) -> pa.Array:
    """Positions of the records that the parser sees."""
    return pc.indices_nonzero(pc.binary_length(records))
