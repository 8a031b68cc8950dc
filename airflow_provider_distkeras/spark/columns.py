"""The features column, as vectors or arrays, and what can be known of it without a job."""

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
    """A vector or array column, or where `numbers` may be one a numeric column, as array of float32, converted inside Spark.

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
    """A label column as array of float32: numbers, vectors or arrays.

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
    """Arrays one behind the other; a single one as it is, which `concat` would copy row by row."""
    return arrays[0] if len(arrays) == 1 else F.concat(*arrays)


def count_values(data: DataFrame, name: str) -> int:
    """How many values a row's features or labels have: by the column's type or metadata, else by the first row."""
    kind = data.schema[name].dataType
    if isinstance(kind, (NumericType, BooleanType)):
        return 1
    known = data.schema[name].metadata.get("ml_attr", {}).get("num_attrs")
    if known is not None:
        return int(known)
    first = data.select(F.size(as_floats(data, name)).alias("size")).where(F.col("size") > 0).first()
    if first is None:
        raise DataError(f"The data has no row with values in {name!r}.")
    return int(first["size"])


def write_floats(data: DataFrame, path: str) -> None:
    """Write Parquet without dictionaries: to look for repeated numbers took Spark several times as long as all the rest."""
    data.write.option("parquet.enable.dictionary", "false").parquet(path)


def in_order(said: dict[str, T], names: list[str], param: str) -> list[T]:
    """What was said by input or output, or by position, in the order of a network's inputs or outputs, called `names`.

    One thing for several inputs is left as it is: a column may hold the features of all of them.

    Raises:
        SpecError: another number of things, or a name that is none of theirs.
    """
    if set(said) == set(names):
        return [said[name] for name in names]
    if list(said) == [str(position) for position in range(len(said))] and len(said) in (1, len(names)):
        return list(said.values())
    raise SpecError(f"{param}: expected one for each of {names}, received {said!r}.")
