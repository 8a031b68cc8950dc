"""`TableSource`: the base of sources whose files Spark itself reads as columns with types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from typing import ClassVar

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.csv_dialect import Dialect
from airflow_provider_distkeras.contract.files.listing import base_of
from airflow_provider_distkeras.ml.data.profiling import (
    REPORT,
    DataProfile,
    ParsedBlock,
    ProfileRequest,
    merge_reports,
    profile_blocks,
)
from airflow_provider_distkeras.ml.data.sources.base import AS_IT_IS, Source, read_errors
from airflow_provider_distkeras.ml.data.sources.sql import as_kind, holds_arrays, kind_of_type, without_nulls
from airflow_provider_distkeras.spark.columns import as_floats, quoted
from airflow_provider_distkeras.spark.storage import literal

_SAMPLED_ROWS = 1000


@dataclass(frozen=True)
class TableSource(Source):
    """Files that Spark itself reads. All their records fit.

    Attributes:
        files: Size in bytes per file.
        table: The rows, by the columns' names in the files.
        dialect: What stands for a missing value.
    """

    typed: ClassVar[bool] = True

    files: dict[str, int]
    table: DataFrame
    dialect: Dialect

    @property
    def sizes(self) -> dict[str, int]:
        """Size in bytes per file."""
        return self.files

    @property
    def columns_in_files(self) -> list[str]:
        """All columns, by their names in the files, those of partition folders included."""
        return self.table.columns

    def kind_of(self, column: str) -> str:
        """Return what a column holds by its type; of arrays, the first says how long they are."""
        data_type = self.table.schema[self.names_in_files[column]].dataType
        if not holds_arrays(data_type):
            return kind_of_type(data_type)
        values = self._values(column)
        first = values.select(as_floats(values, "value")).dropna().first()
        return f"array[{len(first[0])}]" if first and first[0] else "text"

    def sample(self, column: str) -> pa.Array:
        """Return a column's values in the first rows, as text; null where they are missing."""
        texts = self._values(column).select(F.col("value").cast("string")).limit(_SAMPLED_ROWS)
        return texts.toArrow().column(0).combine_chunks()

    def profile(self, spark: SparkSession, request: ProfileRequest) -> DataProfile:
        """Profile every record. Raise DataError if a file cannot be read."""
        with read_errors(list(self.sizes)):
            work = partial(_profile, request=request, kinds=self.kinds)
            report = self.rows(spark).mapInArrow(work, REPORT).toArrow().to_pylist()
        return merge_reports(report, request, self.kinds)

    def rows(self, spark: SparkSession, *, with_bad: bool = False) -> DataFrame:
        """Return the rows. Raise DataError for a column whose type does not allow its kind."""
        return self.table.select(*self._columns())

    def _columns(self) -> list[Column]:
        """Return the columns to read, by their new names and as their kinds. Raise DataError as `rows` does."""
        return [self._column(self.names_in_files[name], kind).alias(name) for name, kind in self.kinds.items()]

    def _column(self, name: str, kind: str) -> Column:
        if kind == AS_IT_IS:
            return F.col(quoted(name))
        data_type = self.table.schema[name].dataType
        column = as_kind(name, kind, data_type, self.dialect)
        if column is None:
            raise DataError(
                f"The column {name!r} has the type {data_type.simpleString()}, expected one that can be read as {kind}. Convert "
                f"it in the files, or add it to excluded_columns=[{name!r}]."
            )
        return without_nulls(column, kind, self.dialect)

    def _values(self, column: str) -> DataFrame:
        """Return the values of one column, under the name `value`."""
        return self.table.select(F.col(quoted(self.names_in_files[column])).alias("value"))


def read_table(spark: SparkSession, paths: Iterable[str], file_format: str) -> DataFrame:
    """Return the rows of files by Spark's reader of this format, with columns for the folders that partition them."""
    reader, bases = spark.read.format(file_format), dict[str, list[str]]()
    for path in paths:
        bases.setdefault(base_of(path), []).append(literal(path))
    return reduce(DataFrame.unionByName, [reader.option("basePath", base).load(files) for base, files in bases.items()])


def _profile(batches: Iterable[pa.RecordBatch], request: ProfileRequest, kinds: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """Profile the rows of a task. Runs on executors."""
    return profile_blocks((ParsedBlock([batch], []) for batch in batches), request, kinds)
