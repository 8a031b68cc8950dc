"""`CsvSource`: rows in CSV files, parsed by Spark's Python workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from airflow_provider_distkeras.contract.files.csv_dialect import Dialect
from airflow_provider_distkeras.contract.files.csv_header import InputFiles, inspect
from airflow_provider_distkeras.contract.specs import InputSpec
from airflow_provider_distkeras.ml.data.profiling import (
    REPORT,
    DataProfile,
    ParsedBlock,
    ProfileRequest,
    merge_reports,
    profile_blocks,
)
from airflow_provider_distkeras.ml.data.sources.base import AS_IT_IS, IS_BAD, Source, read_errors
from airflow_provider_distkeras.ml.data.sources.csv_parser import CsvParser, infer_kind, spark_type
from airflow_provider_distkeras.ml.data.sources.csv_records import CsvBlock, CsvFeed, feeds
from airflow_provider_distkeras.spark import zstd
from airflow_provider_distkeras.spark.columns import quoted
from airflow_provider_distkeras.spark.storage import literal, storage_for

#: A function of a task: parsed blocks, and the blocks of records they come from, to batches.
_Work = Callable[[Iterator[tuple[CsvBlock, ParsedBlock]]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class CsvSource(Source):
    """CSV files.

    Attributes:
        files: The files and their headers.
        dialect: How the files are written.
    """

    typed: ClassVar[bool] = False

    files: InputFiles
    dialect: Dialect

    @property
    def sizes(self) -> dict[str, int]:
        """Size in bytes per file."""
        return self.files.sizes

    @property
    def columns_in_files(self) -> list[str]:
        """All columns, by their names in the files."""
        return self.files.columns

    def with_kinds(self, kinds: Mapping[str, str]) -> Self:
        """Return the source that reads these columns only, as these kinds; those to read as they are as text."""
        return super().with_kinds({name: "text" if kind == AS_IT_IS else kind for name, kind in kinds.items()})

    def kind_of(self, column: str) -> str:
        """Return what the first rows suggest that a column holds."""
        return infer_kind(self.sample(column), self.dialect, self.dialect.number_format(self.names_in_files[column]))

    def sample(self, column: str) -> pa.Array:
        """Return a column's values in the first rows of the first files, as text; null where they are missing."""
        name, headers = self.names_in_files[column], self.files.headers
        values = [row[headers[path].index(name)] for path, rows in self.files.samples.items() for row in rows]
        return pa.array(map(self._value, values), pa.string())

    @property
    def first_row(self) -> Mapping[str, str | None]:
        """The first row, by the columns' names in the files, if they are read without a header; empty if not."""
        if self.dialect.header is not False:
            return {}
        path, rows = next(iter(self.files.samples.items()))
        return dict(zip(self.files.headers[path], map(self._value, rows[0]), strict=True))

    @property
    def header_fits(self) -> bool:
        """Whether what was taken for the header could as well be a row: each name is a value of the kind that is read there."""
        names = {self.names_in_files[name]: kind for name, kind in self.kinds.items()}
        return self.dialect.header is None and CsvParser([*names], names, self.dialect).takes({name: name for name in names})

    def _value(self, text: str) -> str | None:
        """Return a field without the spaces around it; None where it stands for a missing value."""
        value = text.strip()
        return None if value in self.dialect.all_null_values else value

    def profile(self, spark: SparkSession, request: ProfileRequest) -> DataProfile:
        """Profile every record. Raise DataError if a file cannot be read."""
        with read_errors(list(self.sizes)):
            work = partial(_profile, request=request, kinds=self.kinds)
            report = self._map(spark, work, REPORT).toArrow().to_pylist()
        profile = merge_reports(report, request, self.kinds)
        return replace(profile, headers=profile.headers - sum(feed.own_headers for feed in feeds(self.files, self.dialect)))

    def rows(self, spark: SparkSession, *, with_bad: bool = False) -> DataFrame:
        """Return the records that fit; `with_bad` as `Source.rows` describes it."""
        columns = ", ".join(f"{quoted(name)} {spark_type(kind)}" for name, kind in self.kinds.items())
        if not with_bad:
            return self._map(spark, _rows, columns)
        schema = spark.createDataFrame([], columns).schema
        work = partial(_rows_and_bad, schema=to_arrow_schema(schema))
        return self._map(spark, work, f"{columns}, {IS_BAD} boolean")

    def bad_records(self, spark: SparkSession) -> DataFrame:
        """Return the records that do not fit, by `text` (how they begin), `reason` and `file`."""
        return self._map(spark, _bad_records, "text string, reason string, file string", named=True)

    def locate(self, spark: SparkSession, text: str) -> str:
        """Return where the first bad record that begins with this text is.

        That is its file and, where every line is a record, its line.
        """
        record, first = self.bad_records(spark).where(F.col("text") == text).first(), text.split("\n", 1)[0]
        if record is None:
            return "a line"  # its file has changed since
        file = str(record["file"])
        if not self.dialect.by_line or file.endswith(".zst"):
            return f"a record of {file}"
        lines = spark.read.text(literal(file))
        parts = lines.mapInArrow(partial(_find_line, text=first), "part int, lines bigint, at bigint").collect()
        before = 0
        for part in sorted(parts, key=lambda part: int(part["part"])):
            if part["at"] is not None:
                return f"line {before + part['at'] + 1} of {file}"
            before += part["lines"]
        return f"a line of {file}"

    def _map(self, spark: SparkSession, work: _Work, schema: str, named: bool = False) -> DataFrame:
        """Return what a function makes of the parsed records of all files; `named` with the file of each."""
        # Files in a wide encoding arrive in UTF-8.
        dialect = replace(self.dialect, encoding="utf-8") if self.dialect.is_wide else self.dialect
        columns = {self.names_in_files[name]: name for name in self.kinds}
        kinds = {in_files: self.kinds[name] for in_files, name in columns.items()}
        parts = []
        for feed in feeds(self.files, self.dialect):
            parser = CsvParser(feed.columns, kinds, dialect, columns)
            function = partial(_parsed, work=work, feed=feed, dialect=self.dialect, parser=parser)
            parts.append(feed.open(spark, named).mapInArrow(function, schema))
        return reduce(DataFrame.unionByName, parts)


def open_source(spark: SparkSession, spec: InputSpec) -> CsvSource:
    """Find the files and read their headers and first rows. Raise DataError if they are unusable."""
    storage = storage_for(spark, spec.input_path[0])
    files = inspect(storage, spec.input_path, spec.dialect, zstd.decompress_head, spec.left_out)
    return CsvSource(files, spec.dialect)


def _parsed(
    batches: Iterable[pa.RecordBatch], work: _Work, feed: CsvFeed, dialect: Dialect, parser: CsvParser
) -> Iterator[pa.RecordBatch]:
    """Parse the records of a task and hand them to a function. Runs on executors."""
    return work((block, ParsedBlock(*parser.parse(block.records), block.headers)) for block in feed.blocks(batches, dialect))


def _rows(blocks: Iterator[tuple[CsvBlock, ParsedBlock]]) -> Iterator[pa.RecordBatch]:
    """Yield the records that fit. Runs on executors."""
    for _, (batches, *_) in blocks:
        yield from batches


def _rows_and_bad(blocks: Iterator[tuple[CsvBlock, ParsedBlock]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the records that fit, then a row of nulls per record that does not. Runs on executors.

    Args:
        blocks: Parsed blocks.
        schema: The columns of a task none of whose records fit.
    """
    count = 0
    for _, (batches, bad, _) in blocks:
        count += len(bad)
        for batch in batches:
            schema = batch.schema  # all batches of a task must have one: the rows of nulls, too
            yield batch.append_column(IS_BAD, pa.repeat(False, batch.num_rows))
    if count:
        rows = pa.RecordBatch.from_arrays([pa.nulls(count, column.type) for column in schema], schema=schema)
        yield rows.append_column(IS_BAD, pa.repeat(True, count))


def _bad_records(blocks: Iterator[tuple[CsvBlock, ParsedBlock]]) -> Iterator[pa.RecordBatch]:
    """Yield the records that do not fit, with their file. Runs on executors."""
    for block, (_, bad, _) in blocks:
        if bad and block.files is not None:
            texts, reasons = pa.array([record.text for record in bad]), pa.array([record.reason for record in bad])
            files = block.files.take(pa.array([record.position for record in bad]))
            yield pa.RecordBatch.from_arrays([texts, reasons, files.cast(pa.string())], ["text", "reason", "file"])


def _profile(
    blocks: Iterator[tuple[CsvBlock, ParsedBlock]], request: ProfileRequest, kinds: Mapping[str, str]
) -> Iterator[pa.RecordBatch]:
    """Profile the blocks of a task. Runs on executors."""
    return profile_blocks((parsed for _, parsed in blocks), request, kinds)


def _find_line(batches: Iterable[pa.RecordBatch], text: str) -> Iterator[pa.RecordBatch]:
    """Yield how many lines a task has, and which of them, from 0, begins with this text. Runs on executors."""
    lines, at = 0, None
    for batch in batches:
        if at is None:
            matches = pc.indices_nonzero(pc.starts_with(batch.column(0).cast(pa.binary()), text.encode()))
            at = lines + matches[0].as_py() if len(matches) else None
        lines += batch.num_rows
    context = TaskContext.get()
    part = context.partitionId() if context else 0
    yield pa.RecordBatch.from_pylist(
        [{"part": part, "lines": lines, "at": at}],
        schema=pa.schema([("part", pa.int32()), ("lines", pa.int64()), ("at", pa.int64())]),
    )
