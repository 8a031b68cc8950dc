"""The features column, as vectors or arrays, and what can be known of it without a job."""

from __future__ import annotations

from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, NumericType

from airflow_provider_distkeras.contract.errors import DataError, unknown_name


def check_column(data: DataFrame, name: str, role: str) -> None:
    """Raise DataError if the data has no such column."""
    if name not in data.columns:
        raise DataError(f"{role}: {unknown_name('column', name, data.columns)}")


def as_floats(data: DataFrame, name: str) -> Column:
    """A vector or array column as array of float32, converted inside Spark.

    Raises:
        DataError: there is no such column, or it holds something else.
    """
    check_column(data, name, "featuresCol")
    kind = data.schema[name].dataType
    if isinstance(kind, VectorUDT):
        return vector_to_array(F.col(name), "float32")
    if isinstance(kind, ArrayType) and isinstance(kind.elementType, NumericType):
        return F.col(name).cast("array<float>")
    raise DataError(
        f"featuresCol: expected vectors or arrays of numbers in {name!r}, received {kind.simpleString()}. "
        "Assemble the columns with process_csv or VectorAssembler."
    )


def count_features(data: DataFrame, name: str) -> int:
    """How many features a row has: by the column's metadata, else by the first row."""
    known = data.schema[name].metadata.get("ml_attr", {}).get("num_attrs")
    if known is not None:
        return int(known)
    first = data.select(F.size(as_floats(data, name)).alias("size")).where(F.col("size") > 0).first()
    if first is None:
        raise DataError(f"The data has no row with features in {name!r}.")
    return int(first["size"])
