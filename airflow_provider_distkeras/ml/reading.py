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

from airflow_provider_distkeras.contract.dialect import Dialect
from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.header import InputFiles
from airflow_provider_distkeras.ml.parsing import SPARK_TYPES, BadRecord, Parser
from airflow_provider_distkeras.ml.profile import PROFILES, Profile
from airflow_provider_distkeras.ml.records import Block, feeds

_PROFILE = "name string, facts array<double>, values array<double>, texts array<string>, counts array<bigint>"
_EXAMPLES = 5
#: What a survey's task calls its counts of records, and an example of a bad one; no column can be called so.
_COUNTS, _EXAMPLE = "\ncounts", "\nexample"

#: What becomes of blocks of records in Spark's Python workers.
Work = Callable[[Iterator[Block], Parser], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class Survey:
    """What one pass found in all files.

    Attributes:
        rows: records that fit; kept: those with a value wherever one is required, which `profiles` describes, per column.
        bad: records that do not fit; examples: how some of them begin, and what is wrong.
    """

    rows: int
    kept: int
    profiles: dict[str, Profile]
    bad: int
    examples: list[tuple[str, str]]

    def renamed(self, names: Mapping[str, str]) -> Survey:
        """The same, with columns by their new names."""
        return replace(self, profiles={names.get(name, name): profile for name, profile in self.profiles.items()})


@dataclass(frozen=True)
class Reader:
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
        return self._map(spark, _parse, ", ".join(f"{quoted(name)} {SPARK_TYPES[kind]}" for name, kind in self.kinds.items()))

    def survey(self, spark: SparkSession, required: Iterable[str] = (), columns: Iterable[str] | None = None) -> Survey:
        """Look at every record.

        Args:
            required: columns without whose values a row is left out of the profiles.
            columns: those to profile; all if not given.

        Raises:
            DataError: a file cannot be read.
        """
        kinds = {name: self.kinds[name] for name in (self.kinds if columns is None else columns)}
        work = partial(_survey, kinds=kinds, required=tuple(required))
        with explained(self.files):
            found = self._map(spark, work, _PROFILE).toArrow().to_pylist()
        profiles: dict[str, Profile] = {name: PROFILES[kind]() for name, kind in kinds.items()}
        counts, examples = np.zeros(3, np.int64), list[tuple[str, str]]()
        for row in found:
            if row["name"] == _COUNTS:
                counts += row["counts"]
            elif row["name"] == _EXAMPLE:
                examples.append((row["texts"][0], row["texts"][1]))
            else:
                profiles[row["name"]].merge_row(row)
        rows, kept, bad = map(int, counts)
        return Survey(rows, kept, profiles, bad, examples[:_EXAMPLES])

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
            parser = Parser(feed.columns, self.kinds, dialect)
            function = partial(_work, work=work, blocks=partial(feed.blocks, dialect=self.dialect), parser=parser)
            parts.append(feed.open(spark, named).mapInArrow(function, schema))
        return reduce(DataFrame.unionByName, parts)


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return "`" + name.replace("`", "``") + "`"


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


def _work(batches: Iterable[pa.RecordBatch], work: Work, blocks: Any, parser: Parser) -> Iterator[pa.RecordBatch]:
    return work(blocks(batches), parser)


def _parse(blocks: Iterator[Block], parser: Parser) -> Iterator[pa.RecordBatch]:
    for block in blocks:
        yield from parser.parse(block.records)[0]


def _bad(blocks: Iterator[Block], parser: Parser) -> Iterator[pa.RecordBatch]:
    for block in blocks:
        _, bad = parser.parse(block.records)
        if bad and block.files is not None:
            texts, reasons = pa.array([record.text for record in bad]), pa.array([record.reason for record in bad])
            files = block.files.take(pa.array([record.position for record in bad]))
            yield pa.RecordBatch.from_arrays([texts, reasons, files.cast(pa.string())], ["text", "reason", "file"])


def _survey(
    blocks: Iterator[Block], parser: Parser, kinds: dict[str, str], required: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    """What one task finds: a row for its counts, one for each example of a bad record, and one per column."""
    profiles: dict[str, Profile] = {name: PROFILES[kind]() for name, kind in kinds.items()}
    counts, examples = np.zeros(3, np.int64), list[BadRecord]()
    for block in blocks:
        batches, bad = parser.parse(block.records)
        examples += bad[: _EXAMPLES - len(examples)]
        counts[2] += len(bad)
        for batch in batches:
            kept = _with_values(batch, required)
            counts[:2] += batch.num_rows, kept.num_rows
            for name, profile in profiles.items():
                profile.add(kept[name])
    nothing: dict[str, Any] = {"facts": [], "values": [], "texts": [], "counts": []}
    rows = [{**nothing, "name": _COUNTS, "counts": counts}]
    rows += [{**nothing, "name": _EXAMPLE, "texts": [record.text, record.reason]} for record in examples]
    rows += [{"name": name, **profile.to_row()} for name, profile in profiles.items()]
    types = {"facts": pa.float64(), "values": pa.float64(), "texts": pa.string(), "counts": pa.int64()}
    schema = pa.schema([("name", pa.string()), *((name, pa.list_(kind)) for name, kind in types.items())])
    yield pa.RecordBatch.from_pylist(rows, schema=schema)


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
