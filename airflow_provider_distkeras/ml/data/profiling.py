"""CSV files as typed DataFrames, and one pass over them that finds out all that must be known before anything is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from py4j.protocol import Py4JJavaError
from pyspark import TaskContext
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.csv_dialect import Dialect
from airflow_provider_distkeras.contract.files.csv_header import InputFiles
from airflow_provider_distkeras.ml.data.calendar_features import CalendarFeature
from airflow_provider_distkeras.ml.data.profile import Profile, profile_for
from airflow_provider_distkeras.ml.data.sources.csv_parser import BadRecord, CsvParser, spark_type
from airflow_provider_distkeras.ml.data.sources.csv_records import CsvBlock, feeds
from airflow_provider_distkeras.ml.data.sql import quoted

_PROFILE = "part string, name string, facts array<double>, values array<double>, texts array<string>, counts array<bigint>"
_EXAMPLES = 5
#: What a row that a survey's task yields tells of: the profile of a column in some of the rows, or of all records.
_TRAINING, _HELD_OUT, _COUNTS, _EXAMPLE = "training", "held out", "counts", "example"

#: What becomes of blocks of records in Spark's Python workers.
Work = Callable[[Iterator[CsvBlock], CsvParser], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class DataProfile:
    """What one pass found in all files.

    Attributes:
        rows: records that fit; kept: those with a value wherever one is required.
        profiles: the rows kept that are trained on, per column; held_out: the other ones.
        bad: records that do not fit; examples: how some of them begin, and what is wrong.
    """

    rows: int
    kept: int
    profiles: dict[str, Profile]
    held_out: dict[str, Profile]
    bad: int
    examples: list[tuple[str, str]]

    def count(self, what: str) -> dict[str, int]:
        """Values that are `missing`, or `infinite`, per column that has some, in all rows kept."""
        found = {name: getattr(p, what, 0) + getattr(self.held_out[name], what, 0) for name, p in self.profiles.items()}
        return {name: count for name, count in found.items() if count}

    def renamed(self, names: Mapping[str, str]) -> DataProfile:
        """The same, with columns by their new names."""
        profiles, held_out = ({names.get(n, n): p for n, p in each.items()} for each in (self.profiles, self.held_out))
        return replace(self, profiles=profiles, held_out=held_out)


@dataclass(frozen=True)
class ProfileRequest:
    """What a survey is to find out, about columns by their names in the files.

    Attributes:
        columns: the columns to profile.
        required: those without whose values a row is left out.
        calendar: features of columns of times, to be profiled as well.
        held_out: the column that marks, by anything but 0, rows that are not trained on.
    """

    columns: tuple[str, ...]
    required: tuple[str, ...] = ()
    calendar: tuple[CalendarFeature, ...] = ()
    held_out: str | None = None


@dataclass(frozen=True)
class CsvReader:
    """Reads CSV files.

    Attributes:
        files: the files.
        kinds: the columns wanted, in order, and what each holds.
        dialect: how the files are written.
    """

    files: InputFiles
    kinds: Mapping[str, str]
    dialect: Dialect

    def read(self, spark: SparkSession) -> DataFrame:
        """The records that fit, by column."""
        return self._map(spark, _parse, ", ".join(f"{quoted(name)} {spark_type(kind)}" for name, kind in self.kinds.items()))

    def survey(self, spark: SparkSession, question: ProfileRequest) -> DataProfile:
        """Look at every record. Raises DataError if a file cannot be read."""
        with explained(self.files):
            found = self._map(spark, partial(_survey, question=question, kinds=self.kinds), _PROFILE).toArrow().to_pylist()
        profiles = _profiles(question, self.kinds)
        counts, examples = np.zeros(3, np.int64), list[tuple[str, str]]()
        for row in found:
            if row["part"] == _COUNTS:
                counts += row["counts"]
            elif row["part"] == _EXAMPLE:
                examples.append((row["texts"][0], row["texts"][1]))
            else:
                profiles[row["part"]][row["name"]].merge_row(row)
        rows, kept, bad = map(int, counts)
        return DataProfile(rows, kept, profiles[_TRAINING], profiles[_HELD_OUT], bad, examples[:_EXAMPLES])

    def bad_records(self, spark: SparkSession) -> DataFrame:
        """The records that do not fit: how they begin, what is wrong, and their file."""
        return self._map(spark, _bad, "text string, reason string, file string", named=True)

    def whereabouts(self, spark: SparkSession, text: str) -> str:
        """Where the first bad record is that begins so: its file and, where every line is a record, its line."""
        found = self.bad_records(spark).where(F.col("text") == text).first()
        if found is None:
            return "a line"  # its file has changed since
        file = str(found["file"])
        if not self.dialect.by_line or file.endswith(".zst"):
            return f"a record of {file}"
        parts = spark.read.text(file).mapInArrow(partial(_find_line, text=text), "part int, lines bigint, at bigint").collect()
        before = 0
        for part in sorted(parts, key=lambda part: int(part["part"])):
            if part["at"] is not None:
                return f"line {before + part['at'] + 1} of {file}"
            before += part["lines"]
        return f"a line of {file}"

    def _map(self, spark: SparkSession, work: Work, schema: str, named: bool = False) -> DataFrame:
        """What becomes of the records of all files."""
        parts = []
        for feed in feeds(self.files, self.dialect):
            # Files in a wide encoding arrive in UTF-8.
            dialect = replace(self.dialect, encoding="utf-8") if self.dialect.is_wide else self.dialect
            parser = CsvParser(feed.columns, self.kinds, dialect)
            function = partial(_work, work=work, blocks=partial(feed.blocks, dialect=self.dialect), parser=parser)
            parts.append(feed.open(spark, named).mapInArrow(function, schema))
        return reduce(DataFrame.unionByName, parts)


@contextmanager
def explained(files: InputFiles) -> Iterator[None]:
    """Tell in a line what a Spark job that reads files failed of.

    Raises:
        DataError: a file cannot be read.
    """
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        causes = re.findall(r"^(?:Caused by: )?[\w.]*(?:Error|Exception): (.+)$", str(error), re.MULTILINE)
        paths = list(files.sizes)
        named = f"{len(paths)} files such as {paths[0]}" if len(paths) > 1 else paths[0]
        raise DataError(f"Cannot read {named}: {causes[-1] if causes else error}") from error


def _work(batches: Iterable[pa.RecordBatch], work: Work, blocks: Any, parser: CsvParser) -> Iterator[pa.RecordBatch]:
    return work(blocks(batches), parser)


def _parse(blocks: Iterator[CsvBlock], parser: CsvParser) -> Iterator[pa.RecordBatch]:
    for block in blocks:
        yield from parser.parse(block.records)[0]


def _bad(blocks: Iterator[CsvBlock], parser: CsvParser) -> Iterator[pa.RecordBatch]:
    for block in blocks:
        _, bad = parser.parse(block.records)
        if bad and block.files is not None:
            texts, reasons = pa.array([record.text for record in bad]), pa.array([record.reason for record in bad])
            files = block.files.take(pa.array([record.position for record in bad]))
            yield pa.RecordBatch.from_arrays([texts, reasons, files.cast(pa.string())], ["text", "reason", "file"])


def _profiles(question: ProfileRequest, kinds: Mapping[str, str]) -> dict[str, dict[str, Profile]]:
    """Empty profiles of the columns, and of the calendar features."""
    all_kinds = {name: kinds[name] for name in question.columns} | {feature.name: "number" for feature in question.calendar}
    return {part: {name: profile_for(kind) for name, kind in all_kinds.items()} for part in (_TRAINING, _HELD_OUT)}


def _survey(
    blocks: Iterator[CsvBlock], parser: CsvParser, question: ProfileRequest, kinds: Mapping[str, str]
) -> Iterator[pa.RecordBatch]:
    """What one task finds: a row for its counts, one for each example of a bad record, and one per column."""
    profiles = _profiles(question, kinds)
    counts, examples = np.zeros(3, np.int64), list[BadRecord]()
    for block in blocks:
        batches, bad = parser.parse(block.records)
        examples += bad[: _EXAMPLES - len(examples)]
        counts[2] += len(bad)
        for batch in batches:
            kept = _with_values(batch, question.required)
            counts[:2] += batch.num_rows, kept.num_rows
            for part, rows in _parts(kept, question.held_out):
                for name in question.columns:
                    profiles[part][name].add(rows[name])
                for feature in question.calendar:
                    profiles[part][feature.name].add(feature.values(rows[feature.column]))
    nothing: dict[str, Any] = {"name": "", "facts": [], "values": [], "texts": [], "counts": []}
    found = [{**nothing, "part": _COUNTS, "counts": counts}]
    found += [{**nothing, "part": _EXAMPLE, "texts": [record.text, record.reason]} for record in examples]
    found += [{"part": part, "name": n, **profile.to_row()} for part, each in profiles.items() for n, profile in each.items()]
    types = {"facts": pa.float64(), "values": pa.float64(), "texts": pa.string(), "counts": pa.int64()}
    texts = [("part", pa.string()), ("name", pa.string())]
    yield pa.RecordBatch.from_pylist(found, schema=pa.schema([*texts, *((n, pa.list_(kind)) for n, kind in types.items())]))


def _parts(batch: pa.RecordBatch, held_out: str | None) -> list[tuple[str, pa.RecordBatch]]:
    """The rows to train on, and those that are held out."""
    if held_out is None:
        return [(_TRAINING, batch)]
    trained_on = pc.equal(batch[held_out], 0).fill_null(True)
    return [(_TRAINING, batch.filter(trained_on)), (_HELD_OUT, batch.filter(pc.invert(trained_on)))]


def _with_values(batch: pa.RecordBatch, required: tuple[str, ...]) -> pa.RecordBatch:
    """The rows with a value in each of these columns."""
    masks = [
        pc.is_valid(pc.if_else(pc.is_nan(c), None, c) if pa.types.is_floating(c.type) else c) for c in map(batch.column, required)
    ]
    return batch.filter(reduce(pc.and_, masks)) if masks else batch


def _find_line(batches: Iterable[pa.RecordBatch], text: str) -> Iterator[pa.RecordBatch]:
    """How many lines a task has, and which of them, from 0, begins so."""
    lines, at = 0, None
    for batch in batches:
        if at is None:
            found = pc.indices_nonzero(pc.starts_with(batch.column(0).cast(pa.binary()), text.encode()))
            at = lines + found[0].as_py() if len(found) else None
        lines += batch.num_rows
    context = TaskContext.get()
    part = context.partitionId() if context else 0
    yield pa.RecordBatch.from_pylist(
        [{"part": part, "lines": lines, "at": at}],
        schema=pa.schema([("part", pa.int32()), ("lines", pa.int64()), ("at", pa.int64())]),
    )
