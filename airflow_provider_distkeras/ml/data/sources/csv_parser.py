"""Runs on executors. Parses records of CSV files to typed Arrow columns; reports records that do not fit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from airflow_provider_distkeras.contract.files.csv_dialect import Dialect, length_of
from airflow_provider_distkeras.contract.files.number_format import PLAIN, NumberFormat
from airflow_provider_distkeras.ml.data.profiling import BadRecord
from airflow_provider_distkeras.ml.data.sources.csv_quotes import Fault, QuoteReader
from airflow_provider_distkeras.ml.data.sources.numbers import parse_numbers
from airflow_provider_distkeras.ml.data.sources.sql import BRACKETS, NUMBER, SEPARATOR
from airflow_provider_distkeras.ml.data.sources.times import parse_times


def _spaced(texts: Sequence[str]) -> list[str]:
    """Return the texts, and each with a space before or behind it."""
    return [f"{before}{text}{after}" for text in texts for before in ("", " ") for after in ("", " ")]


Positions = NDArray[np.int64]

#: Arrow type per kind that pyarrow's parser converts to; all others are converted from text.
_PARSED = {"number": pa.float64(), "boolean": pa.bool_()}
_SPARK_TYPES = {"number": "double", "boolean": "double", "timestamp": "timestamp_ntz", "text": "string"}

_TRUE, _FALSE = _spaced(["true", "True", "TRUE", "1"]), _spaced(["false", "False", "FALSE", "0"])
_EXPECTED = {
    "number": "a number",
    "boolean": "true or false, or 1 or 0",
    "timestamp": "a date or a time, such as 2026-03-01T12:00",
}
#: Ends every block, so that a quote left open in its last record is seen to swallow it.
_END = "\x1a" * 16
_SHOWN = 500
#: The share of numbers that makes a column of numbers: what is none is then a bad line, and no category.
_MOST = 0.8
_CONVERSION = re.compile(r"CSV column #(\d+): (?:Row #\d+: )?CSV conversion error to [^:]+: (.*)", re.DOTALL)


class Misfit(ValueError):
    """Texts are not of the column's kind."""


def spark_type(kind: str) -> str:
    """Return the Spark type of a column of this kind."""
    return _SPARK_TYPES.get(kind, "array<double>")


class CsvParser:
    """Parses blocks of records.

    Args:
        columns: the names of the fields, in the files' order.
        kinds: the kind of each column to parse.
        dialect: how the records are written.
        renamed: new name per column to parse; by default its own.
    """

    def __init__(
        self, columns: Sequence[str], kinds: Mapping[str, str], dialect: Dialect, renamed: Mapping[str, str] | None = None
    ) -> None:
        self._columns, self._kinds, self._dialect = list(columns), dict(kinds), dialect
        self._names = [(renamed or {}).get(name, name) for name in kinds]
        self._nulls = pa.array(dialect.all_null_values)
        self._quotes = QuoteReader(dialect)
        self._null_numbers = pa.array(dialect.null_numbers, pa.float64())
        self._end = dialect.delimiter.join([_END] * len(columns)).encode()
        written = {name: dialect.number_format(name) for name, kind in kinds.items() if kind == "number"}
        self._written = {name: form for name, form in written.items() if not form.is_plain}
        # Arrow's parser finds null values as texts: a truth value that is missing may be written as another number.
        self._parsed = {kind: of for kind, of in _PARSED.items() if kind == "number" or not dialect.null_numbers}
        self._converts, self._as_text = self._conversions(self._parsed), self._conversions({})

    def _conversions(self, parsed: Mapping[str, pa.DataType]) -> csv.ConvertOptions:
        """Return pyarrow's options: these types by kind, all other columns as text."""
        return csv.ConvertOptions(
            column_types={
                name: pa.string() if name in self._written else parsed.get(kind, pa.string())
                for name, kind in self._kinds.items()
            },
            include_columns=list(self._kinds),
            # Arrow trims the spaces around a number after it has looked for null values, and around true and false never.
            null_values=[_END, *_spaced(self._nulls.to_pylist())],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            true_values=_TRUE,
            false_values=_FALSE,
        )

    def parse(self, records: pa.Array) -> tuple[list[pa.RecordBatch], list[BadRecord]]:
        """Parse records to batches, and list those that do not fit. Empty ones are left out.

        Args:
            records: strings or bytes, in the dialect's encoding, without line ends.
        """
        plain, faults = self._quotes.read(records)
        positions = np.delete(np.arange(len(records)), [position for fault in faults for position in fault.positions])
        plain = plain.take(pa.array(positions)) if faults else plain
        bad: dict[int, str] = {}
        batches = [batch for batch in self._parse(plain, positions, bad) if batch.num_rows]
        batches = [batch.rename_columns(self._names) for batch in batches]
        faults += [Fault(position, 1, reason) for position, reason in bad.items()]
        return batches, [self._bad(records, fault) for fault in sorted(faults, key=lambda fault: fault.first)]

    def takes(self, texts: Mapping[str, str]) -> bool:
        """Return whether texts, one per column to parse, are values of its kind, or stand for a missing one."""
        given = {name: text for name, text in texts.items() if text not in self._dialect.all_null_values}
        return not any(self._refusals(pa.array([text]), name, self._kinds[name]) for name, text in given.items())

    def _parse(self, records: pa.Array, positions: Positions, bad: dict[int, str]) -> Iterator[pa.RecordBatch]:
        """Parse a block at once; if anything is wrong with it, without the records at fault, or by halves down to them."""
        if not len(records):
            return
        misfits: dict[int, str] = {}
        try:
            table, wrong = self._read(records, self._converts)
            reason = "" if _is_whole(records, table, wrong) else self._unclosed()
        except (pa.ArrowInvalid, UnicodeError, Misfit) as error:
            reason = self._explain(error)
            misfits = self._misfits(records) if len(records) > 1 else {}
        if not reason:
            seen: Positions | list[int] = _positions(records) if wrong else []
            bad.update((int(positions[seen[row.number - 1]]), self._misfit(row)) for row in wrong)
            yield from table.slice(0, table.num_rows - 1).combine_chunks().to_batches()
        elif len(records) == 1:
            bad[int(positions[0])] = reason
        elif misfits:
            bad.update((int(positions[at]), why) for at, why in misfits.items())
            rest = np.delete(np.arange(len(records)), list(misfits))
            yield from self._parse(records.take(pa.array(rest)), positions[rest], bad)
        else:
            half = len(records) // 2
            yield from self._parse(records[:half], positions[:half], bad)
            yield from self._parse(records[half:], positions[half:], bad)

    def _misfits(self, records: pa.Array) -> dict[int, str]:
        """Return the reasons of records with values of another kind, by position: read as text, all show at once."""
        try:
            table, wrong = self._read(records, self._as_text)
        except (pa.ArrowInvalid, UnicodeError):
            return {}
        if not _is_whole(records, table, wrong):
            return {}
        seen = np.delete(_positions(records), [row.number - 1 for row in wrong])
        misfits: dict[int, str] = {}
        # As in a record parsed alone, the first column at fault counts, of those that pyarrow itself converts before the others.
        for name, kind in sorted(self._kinds.items(), key=lambda column: column[1] not in self._parsed):
            values = table[name].slice(0, len(seen)).combine_chunks().dictionary_encode()
            reasons = self._refusals(values.dictionary, name, kind)
            rows = np.flatnonzero(pc.is_in(values.indices, pa.array(list(reasons), pa.int32())))
            misfits = {int(seen[row]): reasons[values.indices[int(row)].as_py()] for row in rows} | misfits
        return misfits

    def _refusals(self, values: pa.Array, name: str, kind: str) -> dict[int, str]:
        """Return the reasons of texts that are not of the column's kind, by position."""
        try:
            self._check(values, name, kind)
            return {}
        except Misfit as error:
            if len(values) == 1:
                return {0: str(error)}
        alone = (self._refusals(values.slice(position, 1), name, kind) for position in range(len(values)))
        return {position: refused[0] for position, refused in enumerate(alone) if refused}

    def _check(self, texts: pa.Array, name: str, kind: str) -> None:
        """Raise Misfit if some texts are not of the column's kind."""
        if kind not in self._parsed or name in self._written:
            self._converted(texts, name, kind)
            return
        fits = _all_numbers(texts) if kind == "number" else pc.all(pc.is_in(texts, pa.array([*_TRUE, *_FALSE]))).as_py()
        if not fits:
            raise Misfit(f"{name!r} is '{texts[0]}', expected {_EXPECTED[kind]}")

    def _read(self, records: pa.Array, converts: csv.ConvertOptions) -> tuple[pa.Table, list[csv.InvalidRow]]:
        """Return pyarrow's table of the records and of `_END`, and the records with another number of fields."""
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
            converts,
        )
        if converts is self._as_text:
            return table, wrong
        for position, (name, kind) in enumerate(self._kinds.items()):
            if kind == "number" and name not in self._written:
                if len(self._null_numbers):
                    table = table.set_column(position, name, self._without_nulls(table[name]))
            else:
                table = table.set_column(position, name, self._converted(table[name].combine_chunks(), name, kind))
        return table, wrong

    def _converted(self, column: pa.Array, name: str, kind: str) -> pa.Array:
        """Return texts without the spaces around them, or as times or arrays; booleans as numbers."""
        if pa.types.is_boolean(column.type):
            return column.cast(pa.float64())
        trimmed = pc.utf8_trim_whitespace(column)
        texts = pc.if_else(pc.is_in(trimmed, self._nulls), None, trimmed)
        length = length_of(kind)
        try:
            if kind == "timestamp":
                return self._times(texts)
            if kind == "boolean":
                return self._truths(texts)
            if kind == "number":
                return self._numbers(texts, self._written[name])
            return texts if length is None else parse_arrays(texts, length, self._nulls, self._null_numbers)
        except Misfit as error:
            raise Misfit(f"{name!r} {error}") from error

    def _times(self, texts: pa.Array) -> pa.Array:
        times, unread = parse_times(texts, self._dialect.timestamp_formats)
        if unread is not None:
            others = "".join(f" or one written as {each!r}" for each in self._dialect.timestamp_formats)
            raise Misfit(f"is {unread[:_SHOWN]!r}, expected {_EXPECTED['timestamp']}{others}")
        return times

    def _numbers(self, texts: pa.Array, written: NumberFormat) -> pa.Array:
        numbers, refused = parse_numbers(texts, written)
        if refused is not None:
            raise Misfit(f"is {refused[:_SHOWN]!r}, expected {written}")
        return self._without_nulls(numbers)

    def _without_nulls(self, numbers: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        """Return numbers with null for those that stand for a missing value."""
        return pc.if_else(pc.is_in(numbers, self._null_numbers), None, numbers) if len(self._null_numbers) else numbers

    def _truths(self, texts: pa.Array) -> pa.Array:
        """Return texts as 1 and 0, null for numbers that stand for a missing value."""
        numbers = pc.if_else(pc.match_substring_regex(texts, NUMBER), texts, None).cast(pa.float64())
        texts = pc.if_else(pc.is_in(numbers, self._null_numbers), None, texts)
        is_true, is_false = (pc.is_in(texts, pa.array(values)) for values in (_TRUE, _FALSE))
        others = texts.filter(pc.and_(pc.is_valid(texts), pc.invert(pc.or_(is_true, is_false))))
        if len(others):
            raise Misfit(f"is '{others[0]}', expected {_EXPECTED['boolean']}")
        return pc.if_else(pc.is_valid(texts), is_true.cast(pa.float64()), None)

    def _encoded(self, records: pa.Array) -> bytes:
        """Return the records and `_END`, a line each, in UTF-8."""
        joined = pc.binary_join(pa.ListArray.from_arrays([0, len(records)], records.cast(pa.binary())), b"\n")[0].as_py()
        if self._dialect.encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "utf-8-sig", "ascii"):
            joined = joined.decode(self._dialect.encoding).encode()
        return bytes(joined + b"\n" + self._end)

    def _bad(self, records: pa.Array, fault: Fault) -> BadRecord:
        lines = records.slice(fault.first, fault.count).cast(pa.binary()).to_pylist()
        text = b"\n".join(lines).decode(self._dialect.encoding, "replace")
        return BadRecord(fault.first, text[:_SHOWN], fault.reason)

    def _misfit(self, row: csv.InvalidRow) -> str:
        return f"{row.actual_columns} fields, expected {row.expected_columns}"

    def _unclosed(self) -> str:
        if self._dialect.multiline:
            return "a quote is not closed"
        return "a quote is not closed on the same line; set multiline=True if fields hold line breaks"

    def _explain(self, error: Exception) -> str:
        match = _CONVERSION.match(str(error).removeprefix("In "))
        if isinstance(error, UnicodeError) or "invalid UTF8" in str(error):
            return f"not in the encoding {self._dialect.encoding}"
        if not match:
            return str(error)
        name, value = self._columns[int(match[1])], match[2].removeprefix("invalid value ")
        return f"{name!r} is {value}, expected {_EXPECTED[self._kinds[name]]}"


def parse_arrays(texts: pa.Array, length: int, nulls: pa.Array, null_numbers: pa.Array) -> pa.Array:
    """Convert texts of `length` numbers, such as "1 2 3" or "[1, 2, 3]", to lists. Raise Misfit if some are anything else.

    Args:
        texts: Strings.
        length: How many numbers each holds.
        nulls: What stands for a missing number. An array with one is missing.
        null_numbers: The same, as numbers.
    """
    lists = pc.split_pattern_regex(pc.utf8_trim(texts, characters=BRACKETS), SEPARATOR)
    other = [other for other in pc.unique(pc.list_value_length(lists).drop_null()).to_pylist() if other != length]
    if other:
        raise Misfit(f"holds {other[0]} numbers, expected {length}")
    try:
        elements = lists.flatten()
        values = pc.if_else(pc.is_in(elements, nulls), None, elements).cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise Misfit(f"does not hold {length} numbers: {error}") from error
    missing = pc.or_(pc.is_null(values, nan_is_null=True), pc.is_in(values, null_numbers))
    incomplete = np.zeros(len(lists), bool)
    incomplete[np.searchsorted(lists.offsets, pc.indices_nonzero(missing), side="right") - 1] = True
    return pa.ListArray.from_arrays(lists.offsets, values, mask=pc.or_(lists.is_null(), pa.array(incomplete)))


def _all_numbers(texts: pa.Array) -> bool:
    try:
        pc.utf8_trim_whitespace(texts).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def infer_kind(texts: pa.Array, dialect: Dialect, written: NumberFormat = PLAIN) -> str:
    """Infer the kind of a column from these values: numbers where there is none, or where few are anything else.

    Args:
        texts: the values, without spaces around them; null where they are missing.
        dialect: how the files are written.
        written: how numbers are written in the column.
    """
    values = texts.drop_null()
    is_number = pc.match_substring_regex(values, NUMBER) if written.is_plain else pc.is_valid(parse_numbers(values, written)[0])
    numbers = pc.sum(is_number).as_py() or 0
    if numbers >= _MOST * len(values):
        return "number"
    if pc.all(pc.is_in(pc.utf8_lower(values), pa.array(["true", "false"]))).as_py():
        return "boolean"
    return "timestamp" if parse_times(values, dialect.timestamp_formats)[1] is None else "text"


def _is_whole(records: pa.Array, table: pa.Table, wrong: Sequence[csv.InvalidRow]) -> bool:
    """Return whether every record that the parser sees was read, and `_END`: a quote left open would have swallowed some."""
    return bool(table.num_rows + len(wrong) == len(_positions(records)) + 1)


def _positions(records: pa.Array) -> Positions:
    """Return the positions of the records that the parser sees: it leaves out empty ones."""
    return np.flatnonzero(pc.binary_length(records))
