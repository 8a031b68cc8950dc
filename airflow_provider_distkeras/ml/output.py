"""Writing predictions as Parquet, CSV or JSON lines, and reading them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, DoubleType, FloatType, LongType, MapType, StructType

from airflow_provider_distkeras.contract import parquet as contract
from airflow_provider_distkeras.ml import parquet
from airflow_provider_distkeras.ml.storage import storage_for

#: A quote inside quotes is doubled, and a text may hold line breaks.
_CSV: dict[str, Any] = {"header": True, "escape": '"'}


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
    """How many rows `write` wrote to a path; from the footers of Parquet files that this process can reach."""
    spark = written.sparkSession
    files = contract.within(storage_for(spark, path), path)
    said = parquet.footers(spark, list(files)) if files and contract.named_parquet(files) else None
    return written.count() if said is None else sum(footer.num_rows for footer in said)


def _flat(data: DataFrame) -> DataFrame:
    """The data with arrays, maps and structs as JSON texts."""
    nested = [field.name for field in data.schema if isinstance(field.dataType, (ArrayType, MapType, StructType))]
    return data.withColumns({name: F.to_json(F.col(name)) for name in nested})


def _without_dictionaries(schema: StructType) -> dict[str, str]:
    """Options that spare measures and identifiers the search for repeated values, which takes longer than writing them."""
    paths = [_path(field.name, field.dataType) for field in schema if _rarely_repeats(field.dataType)]
    return {f"parquet.enable.dictionary#{path}": "false" for path in paths}


def _rarely_repeats(kind: DataType) -> bool:
    if isinstance(kind, ArrayType):
        return _rarely_repeats(kind.elementType)
    return isinstance(kind, (FloatType, DoubleType, LongType))


def _path(name: str, kind: DataType) -> str:
    """A column's path in a Parquet file."""
    return _path(f"{name}.list.element", kind.elementType) if isinstance(kind, ArrayType) else name
