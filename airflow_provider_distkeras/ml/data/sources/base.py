"""`Source`: the interface of everything that rows can be read from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Self

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from airflow_provider_distkeras.contract.specs import CsvSpec
from airflow_provider_distkeras.ml.data.profiling import DataProfile, ProfileRequest

#: The column of `Source.rows` that marks records that do not fit.
IS_BAD = "__distkeras_is_bad"


class Source(ABC):
    """Rows in files of one kind.

    Columns have their new names everywhere, except where a docstring names those in the files.
    """

    @classmethod
    @abstractmethod
    def open(cls, spark: SparkSession, spec: CsvSpec) -> Self:
        """Find the input of a spec and read its columns and first rows. Raise DataError if it is unusable."""

    @property
    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Size in bytes per file."""

    @property
    @abstractmethod
    def columns_in_files(self) -> list[str]:
        """All columns, by their names in the files."""

    @property
    @abstractmethod
    def names_in_files(self) -> Mapping[str, str]:
        """Name in the files per column that is not excluded, in the files' order."""

    @abstractmethod
    def with_names(self, renamed: Mapping[str, str], excluded: Sequence[str]) -> Self:
        """Return the source with new names per column, and without some; both by the names in the files."""

    @abstractmethod
    def with_kinds(self, kinds: Mapping[str, str]) -> Self:
        """Return the source that reads these columns only, as these kinds."""

    @abstractmethod
    def sample(self, column: str) -> pa.Array:
        """Return a column's values in the first rows, as text; null where they are missing."""

    @abstractmethod
    def profile(self, spark: SparkSession, request: ProfileRequest) -> DataProfile:
        """Profile every record. Raise DataError if a file cannot be read."""

    @abstractmethod
    def rows(self, spark: SparkSession, *, with_bad: bool = False) -> DataFrame:
        """Return the records that fit.

        Args:
            spark: The session.
            with_bad: Whether to add a row of nulls per record that does not fit, and the boolean column `IS_BAD` that marks it.
        """

    @abstractmethod
    def bad_records(self, spark: SparkSession) -> DataFrame:
        """Return the records that do not fit, by `text` (how they begin), `reason` and `file`."""

    @abstractmethod
    def locate(self, spark: SparkSession, text: str) -> str:
        """Return where the first bad record that begins with this text is, for a message."""
