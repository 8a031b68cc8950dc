"""Writing predictions as Parquet, CSV or JSON lines, and reading them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, DoubleType, FloatType, MapType, StructType

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


def _flat(data: DataFrame) -> DataFrame:
    """The data with arrays, maps and structs as JSON texts."""
    nested = [field.name for field in data.schema if isinstance(field.dataType, (ArrayType, MapType, StructType))]
    return data.withColumns({name: F.to_json(F.col(name)) for name in nested})


def _without_dictionaries(schema: StructType) -> dict[str, str]:
    """Options that spare float columns the search for repeated values: there are few, and it takes longer than the writing."""
    paths = {field.name: _float_path(field.name, field.dataType) for field in schema}
    return {f"parquet.enable.dictionary#{path}": "false" for path in paths.values() if path}


def _float_path(name: str, kind: DataType) -> str | None:
    """A float column's path in a Parquet file; None for another column."""
    if isinstance(kind, ArrayType):
        return _float_path(f"{name}.list.element", kind.elementType)
    return name if isinstance(kind, (FloatType, DoubleType)) else None
