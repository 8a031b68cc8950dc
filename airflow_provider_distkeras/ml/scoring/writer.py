"""Writing predictions as Parquet, CSV or JSON lines, and reading them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, DoubleType, FloatType, LongType, MapType, StructField, StructType

from airflow_provider_distkeras.contract.files import listing
from airflow_provider_distkeras.ml.data.sources import parquet_row_groups
from airflow_provider_distkeras.ml.network.scorer import REASON
from airflow_provider_distkeras.spark.columns import quoted
from airflow_provider_distkeras.spark.storage import storage_for

#: Why a row is in the quarantine.
REASON_COLUMN = "reason"
#: A quote inside quotes is doubled, and a text may hold line breaks.
_CSV: dict[str, Any] = {"header": True, "escape": '"'}


@dataclass(frozen=True)
class OutputTarget:
    """Folder and format of the output.

    Attributes:
        folder: the folder of `predictions` and `quarantine`.
        output_format: parquet, csv (arrays as JSON) or json (a line per row).
        partition_by: columns whose values name the folders below `predictions`.
    """

    folder: str
    output_format: str = "parquet"
    partition_by: tuple[str, ...] = ()

    @property
    def predictions(self) -> str:
        """The folder of the rows that could be scored."""
        return f"{self.folder}/predictions"

    @property
    def quarantine(self) -> str:
        """The folder of the others, if there are any."""
        return f"{self.folder}/quarantine"


@dataclass(frozen=True)
class WrittenOutput:
    """The output of a scoring pass.

    Attributes:
        rows: Number of rows with scores.
        reasons: Number of the other rows per reason, the commonest first.
        measurable: The rows with scores, with the label, if they have one.
        rows_read: Number of rows that the pass has read.
        bad_records: Number of records that do not fit, and are no rows.
    """

    rows: int
    reasons: dict[str, int]
    measurable: DataFrame
    rows_read: int
    bad_records: int


def good(scored: DataFrame) -> DataFrame:
    """Return the rows that could be scored."""
    return scored.where(F.col(REASON).isNull()).drop(REASON)


def quarantine(scored: DataFrame, scores: list[str], target: OutputTarget) -> dict[str, int]:
    """Write the rows that have a reason, without the scores of the others. Return the number of rows per reason."""
    bad = scored.where(F.col(REASON).isNotNull()).drop(*scores).withColumnRenamed(REASON, REASON_COLUMN)
    counts = write(bad, target.quarantine, target.output_format).groupBy(REASON_COLUMN).count().collect()
    return by_frequency({row[0]: row[1] for row in counts})


def by_frequency(reasons: Mapping[str, int]) -> dict[str, int]:
    """Return the reasons, the commonest first."""
    return dict(sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0])))


def write(data: DataFrame, path: str, output_format: str, partition_by: Sequence[str] = ()) -> DataFrame:
    """Write the rows, and read them back: what is counted and measured is what was written.

    Args:
        data: the rows.
        path: a new folder.
        output_format: parquet, csv (arrays as JSON) or json (a line per row).
        partition_by: columns whose values name the folders below it.
    """
    if output_format == "csv":
        data = _flat(data)
    writer = data.write.partitionBy(*partition_by)
    reader = data.sparkSession.read.schema(data.schema)
    if output_format == "csv":
        writer.csv(path, **_CSV)
        return reader.csv(path, **_CSV, multiLine=True)
    if output_format == "json":
        writer.json(path, ignoreNullFields=False)
        return reader.json(path)
    writer.options(**_without_dictionaries(data.schema)).parquet(path)
    return reader.parquet(path)


def count(written: DataFrame, path: str) -> int:
    """Return the number of rows that `write` wrote to a path; from the footers of Parquet files that this process can reach."""
    spark = written.sparkSession
    files = listing.within(storage_for(spark, path), path)
    footers = parquet_row_groups.footers(spark, list(files)) if listing.format_of(files) == "parquet" else None
    return written.count() if footers is None else sum(footer.num_rows for footer in footers)


def _flat(data: DataFrame) -> DataFrame:
    """Return the data with arrays, maps and structs as JSON texts."""
    nested = [field.name for field in data.schema if isinstance(field.dataType, (ArrayType, MapType, StructType))]
    return data.withColumns({name: F.to_json(F.col(quoted(name))) for name in nested})


def _without_dictionaries(schema: StructType) -> dict[str, str]:
    """Return options that spare measures and identifiers the search for repeated values, which takes longer than writing them."""
    return {f"parquet.enable.dictionary#{path_of(field)}": "false" for field in schema if rarely_repeats(field.dataType)}


def rarely_repeats(kind: DataType) -> bool:
    """Return whether a column of this type is not worth a dictionary."""
    if isinstance(kind, ArrayType):
        return rarely_repeats(kind.elementType)
    return isinstance(kind, (FloatType, DoubleType, LongType))


def path_of(field: StructField) -> str:
    """Return a column's path in a Parquet file."""
    path, kind = field.name, field.dataType
    while isinstance(kind, ArrayType):
        path, kind = f"{path}.list.element", kind.elementType
    return path
