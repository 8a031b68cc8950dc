"""Columns of features and labels: their checks, their conversion to arrays of float32, and their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BooleanType, NumericType

from airflow_provider_distkeras.contract.errors import DataError, SpecError, unknown_name

T = TypeVar("T")

#: Where the metadata of a column of features say that they were standardized; filters, splits and caches keep it.
_STANDARDIZED = "distkeras_standardized"


def quoted(name: str) -> str:
    """Return a column's name in SQL."""
    return "`" + name.replace("`", "``") + "`"


def check_column(data: DataFrame, name: str, role: str) -> None:
    """Raise DataError if the data has no such column."""
    if name not in data.columns:
        raise DataError(f"{role}: {unknown_name('column', name, data.columns)}")


def check_numeric(data: DataFrame, name: str, role: str) -> None:
    """Raise DataError unless the data has such a column and it holds numbers."""
    check_column(data, name, role)
    kind = data.schema[name].dataType
    if not isinstance(kind, NumericType):
        raise DataError(f"{role}: expected numbers in {name!r}, received {kind.simpleString()}.")


def as_floats(data: DataFrame, name: str, *, numbers: bool = False) -> Column:
    """Return a column of vectors or arrays as arrays of float32, converted inside Spark.

    Args:
        data: the rows.
        name: the column.
        numbers: whether a column of numbers is taken too, each as an array of one.

    Raises:
        DataError: there is no such column, or it holds something else.
    """
    check_column(data, name, "featuresCol")
    kind = data.schema[name].dataType
    if numbers and isinstance(kind, NumericType):
        return F.array(F.col(name).cast("float"))
    if isinstance(kind, VectorUDT):
        return vector_to_array(F.col(name), "float32")
    if isinstance(kind, ArrayType) and isinstance(kind.elementType, NumericType):
        return F.col(name).cast("array<float>")
    raise DataError(
        f"featuresCol: expected vectors or arrays of numbers in {name!r}, received {kind.simpleString()}. "
        "Assemble the columns with process_csv or VectorAssembler."
    )


def as_labels(data: DataFrame, name: str) -> Column:
    """Return a label column of numbers, vectors or arrays as arrays of float32.

    Raises:
        DataError: there is no such column, or it holds something else.
    """
    check_column(data, name, "labelCol")
    kind = data.schema[name].dataType
    if isinstance(kind, (NumericType, BooleanType)):
        return F.array(F.col(name).cast("float"))
    if isinstance(kind, (VectorUDT, ArrayType)):
        return as_floats(data, name)
    raise DataError(
        f"labelCol: expected numbers in {name!r}, received {kind.simpleString()}. For classes, index them first "
        "(StringIndexer, or process_csv with the label in categorical_columns)."
    )


def joined(arrays: Sequence[Column]) -> Column:
    """Return arrays joined one after the other; a single one as it is, since `concat` would copy it row by row."""
    return arrays[0] if len(arrays) == 1 else F.concat(*arrays)


def count_values(data: DataFrame, name: str) -> int:
    """Return how many values a row's features or labels have, by the column's type or metadata, else by the first row."""
    kind = data.schema[name].dataType
    if isinstance(kind, (NumericType, BooleanType)):
        return 1
    declared = data.schema[name].metadata.get("ml_attr", {}).get("num_attrs")
    if declared is not None:
        return int(declared)
    first = data.select(F.size(as_floats(data, name)).alias("size")).where(F.col("size") > 0).first()
    if first is None:
        raise DataError(f"The data has no row with values in {name!r}.")
    return int(first["size"])


def mark_standardized(data: DataFrame, name: str) -> DataFrame:
    """Return the data with metadata that say that a column of features was standardized."""
    return data.withMetadata(name, {**data.schema[name].metadata, _STANDARDIZED: True})


def is_standardized(data: DataFrame, name: str) -> bool:
    """Return whether `mark_standardized` marked a column of features."""
    return bool(data.schema[name].metadata.get(_STANDARDIZED))


def write_floats(data: DataFrame, path: str) -> None:
    """Write Parquet without dictionaries: the search for repeated numbers takes Spark several times as long as all the rest."""
    data.write.option("parquet.enable.dictionary", "false").parquet(path)


def by_output(labels: dict[str, T], outputs: list[str]) -> list[list[T]]:
    """Return what is given per label in the order of a network's outputs: of a single output all, in their own order.

    Args:
        labels: by name of label, or by position ("0", "1", ...).
        outputs: the names of the outputs.

    Raises:
        SpecError: there are several outputs, and other labels than outputs.
    """
    if len(outputs) == 1:
        return [list(labels.values())]
    fix = " Give one label per output, and name the output layers after the labels."
    return [[value] for value in in_order(labels, outputs, "labelCols", fix)]


def in_order(values: dict[str, T], names: list[str], param: str, fix: str = "") -> list[T]:
    """Return values per input or output of a network in the order of these.

    One value for several inputs is returned as it is: a column may hold the features of all of them.

    Args:
        values: the values by name, or by position ("0", "1", ...).
        names: the names of the inputs or outputs.
        param: the param that the values are of, for the message.
        fix: what to do, for the message.

    Raises:
        SpecError: the number of values is another one, or a name is none of the network's.
    """
    if set(values) == set(names):
        return [values[name] for name in names]
    if list(values) == [str(position) for position in range(len(values))] and len(values) in (1, len(names)):
        return list(values.values())
    raise SpecError(f"{param}: expected one for each of {names}, received {values!r}.{fix}")
