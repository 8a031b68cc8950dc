"""`Source`: the interface of everything that rows can be read from."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.ml.data.profiling import DataProfile, ProfileRequest

#: The column of `Source.rows` that marks records that do not fit.
IS_BAD = "__distkeras_is_bad"
#: In place of a kind: a column as it is in the files, with the type that it has there; text in files without types.
AS_IT_IS = "as it is"


@dataclass(frozen=True)
class WorkerReader:
    """Rows that Python workers read from the files themselves, so that they need not cross from Spark.

    Attributes:
        tasks: A row per task.
        read: Yields the rows of some tasks. Takes Arrow batches of `tasks`, and the most rows that a batch may have. Runs on
            executors.
    """

    tasks: DataFrame
    read: Callable[[Iterable[pa.RecordBatch], int], Iterator[pa.RecordBatch]]


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Rows in files of one format.

    Columns have their new names everywhere, except where a docstring names those in the files.

    Attributes:
        typed: Whether the files give their columns types. In others all is text, until it is read as a kind.
        renamed: New name per column, by its name in the files.
        excluded: Columns to leave out, by their names in the files.
        kinds: Kind per column to read, in order; see `contract.files.csv_dialect.KINDS` and `AS_IT_IS`.
        count: Number of rows; None where only a pass over the files can count them.
    """

    typed: ClassVar[bool]

    renamed: Mapping[str, str] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    count: int | None = None

    @property
    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Size in bytes per file."""

    @property
    @abstractmethod
    def columns_in_files(self) -> list[str]:
        """All columns, by their names in the files."""

    @property
    def names_in_files(self) -> Mapping[str, str]:
        """Name in the files per column that is not excluded, in the files' order."""
        return {self.renamed.get(name, name): name for name in self.columns_in_files if name not in self.excluded}

    def with_names(self, renamed: Mapping[str, str], excluded: Sequence[str]) -> Self:
        """Return the source with new names per column, and without some; both by the names in the files."""
        return replace(self, renamed=renamed, excluded=tuple(excluded))

    def with_kinds(self, kinds: Mapping[str, str]) -> Self:
        """Return the source that reads these columns only, as these kinds."""
        return replace(self, kinds=kinds)

    @abstractmethod
    def kind_of(self, column: str) -> str:
        """Return what a column holds, by its type or as its first rows suggest."""

    @abstractmethod
    def sample(self, column: str) -> pa.Array:
        """Return a column's values in the first rows, as text; null where they are missing."""

    @property
    def first_row(self) -> Mapping[str, str | None]:
        """The first row, by the columns' names in the files, if they are read without a header; empty if not."""
        return {}

    @property
    def header_fits(self) -> bool:
        """Whether what was taken for the header could as well be a row: each name is a value of the kind that is read there."""
        return False

    @abstractmethod
    def profile(self, spark: SparkSession, request: ProfileRequest) -> DataProfile:
        """Profile every record. Raise DataError if a file cannot be read."""

    @abstractmethod
    def rows(self, spark: SparkSession, *, with_bad: bool = False) -> DataFrame:
        """Return the records that fit.

        Args:
            spark: The session.
            with_bad: Whether to add, in a format where some may not fit, a row of nulls for each that does not, and the boolean
                column `IS_BAD` that marks it.
        """

    def bad_records(self, spark: SparkSession) -> DataFrame:
        """Return the records that do not fit, by `text` (how they begin), `reason` and `file`; none if the format has none."""
        return spark.createDataFrame([], "text string, reason string, file string")

    def locate(self, spark: SparkSession, text: str) -> str:
        """Return where the first bad record that begins with this text is, for a message."""
        record = self.bad_records(spark).where(F.col("text") == text).first()
        return f"a record of {record['file']}" if record else "a record"  # its file has changed since

    def by_workers(self, spark: SparkSession, columns: Sequence[str], arrays: str) -> WorkerReader | None:
        """Return a reader of these columns and, behind them, one of arrays as float32; None where only Spark can read them."""
        return None


@contextmanager
def read_errors(paths: Sequence[str]) -> Iterator[None]:
    """Turn the failure of a Spark job that reads files into a message of one line.

    Raises:
        DataError: A file cannot be read.
    """
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        causes = re.findall(r"^(?:Caused by: )?[\w.]*(?:Error|Exception): (.+)$", str(error), re.MULTILINE)
        named = f"{len(paths)} files such as {paths[0]}" if len(paths) > 1 else paths[0]
        raise DataError(f"Cannot read {named}: {causes[-1] if causes else error}") from error
