"""`ParquetSource`: rows in Parquet files, which Python workers read themselves where they can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from py4j.protocol import Py4JJavaError
from pyarrow.parquet import FileMetaData
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files import listing
from airflow_provider_distkeras.contract.specs import InputSpec
from airflow_provider_distkeras.ml.data.sources import parquet_row_groups
from airflow_provider_distkeras.ml.data.sources.base import WorkerReader
from airflow_provider_distkeras.ml.data.sources.table import TableSource, read_table
from airflow_provider_distkeras.spark.storage import storage_for


@dataclass(frozen=True)
class ParquetSource(TableSource):
    """Parquet files.

    Attributes:
        footers: The files' footers; None where only Spark can reach them.
    """

    footers: list[FileMetaData] | None

    def by_workers(self, spark: SparkSession, columns: Sequence[str], arrays: str) -> WorkerReader | None:
        """Return a reader of row groups; None where the files, or the columns' types, are such that only Spark can read them."""
        paths, schema = list(self.sizes), self.table.schema
        if self.footers is None or not parquet_row_groups.readable(paths, self.footers, schema, columns, arrays):
            return None
        groups = parquet_row_groups.row_groups(paths, self.footers)
        return parquet_row_groups.reader(spark, groups, StructType([schema[name] for name in columns]), arrays)


def open_source(spark: SparkSession, spec: InputSpec) -> ParquetSource:
    """Find the files and read their columns. Raise DataError if they are unusable, or hold no row."""
    sizes = listing.find(storage_for(spark, spec.input_path[0]), spec.input_path)
    named = ", ".join(list(sizes)[:3])
    try:
        table = read_table(spark, sizes, "parquet")
    except (PySparkException, Py4JJavaError) as error:
        cause = str(getattr(error, "java_exception", error)).splitlines()[0]
        raise DataError(
            f"Spark cannot read all of {named} as Parquet: {cause} Restore the files, write times in microseconds, or set "
            "input_format."
        ) from error
    footers = parquet_row_groups.footers(spark, list(sizes))
    count = table.count() if footers is None else sum(footer.num_rows for footer in footers)
    if not count:
        raise DataError(f"There is no row in {named}.")
    return ParquetSource(sizes, table, spec.dialect, footers, count=count)
