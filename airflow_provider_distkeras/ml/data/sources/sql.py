"""Conversions of columns of text, and of equivalent types, to their kinds: see `contract.files.csv_dialect.KINDS`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    AtomicType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    FractionalType,
    NumericType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from airflow_provider_distkeras.contract.files.csv_dialect import DECIMAL, Dialect, length_of
from airflow_provider_distkeras.ml.data.sources.times import parse_times
from airflow_provider_distkeras.spark.columns import quoted

#: A number as text, as a regular expression for Java and for RE2.
NUMBER = rf"(?i)^[+-]?(nan|inf(inity)?|{DECIMAL})$"
#: What surrounds the numbers of an array, and what separates them, as regular expressions for Java and for RE2.
BRACKETS, SEPARATOR = "[](){} \t\n", r"[\s,;|]+"
_TIMES = (TimestampType, TimestampNTZType, DateType)
#: Types of Spark that are equivalent to a column of text, per kind.
_SAME = {
    "number": (NumericType, BooleanType),
    "boolean": (NumericType, BooleanType),
    "timestamp": _TIMES,
    "text": (AtomicType,),
}


def kind_of_type(data_type: DataType) -> str:
    """Return the kind of a column of this type; text for one that no number or time can be."""
    if isinstance(data_type, NumericType):
        return "number"
    if isinstance(data_type, BooleanType):
        return "boolean"
    return "timestamp" if isinstance(data_type, _TIMES) else "text"


def holds_arrays(data_type: DataType) -> bool:
    """Return whether a column of this type holds vectors or arrays of numbers."""
    if isinstance(data_type, ArrayType):
        return isinstance(data_type.elementType, NumericType)
    return isinstance(data_type, VectorUDT)


def as_kind(name: str, kind: str, data_type: DataType, dialect: Dialect) -> Column | None:
    """Return a column as doubles, text, times without a zone, or arrays of doubles; None if its type does not allow that.

    What is text, but not of the kind, is missing, and so is an array of another length, or with a number that is missing. Text
    holds times in the dialect's formats.
    """
    length = length_of(kind)
    if length is not None:
        return _as_array(name, length, data_type)
    if isinstance(data_type, BinaryType) or not isinstance(data_type, (StringType, *_SAME[kind])):
        return None
    if kind == "timestamp" and isinstance(data_type, StringType) and dialect.timestamp_formats:
        return _time_in_formats(name, dialect.timestamp_formats)
    if kind == "timestamp":
        return F.expr(_time(name, data_type))
    if kind == "text":
        return F.expr(_text_of_number(name)) if isinstance(data_type, FractionalType) else F.col(quoted(name)).cast("string")
    return F.expr(as_number(name)) if isinstance(data_type, StringType) else F.col(quoted(name)).cast("double")


def without_nulls(values: Column, kind: str, dialect: Dialect) -> Column:
    """Return a column of a kind with null for what stands for a missing value in a dialect, and for arrays that hold such."""
    nulls: tuple[str | float, ...] = {"text": dialect.null_values, "timestamp": ()}.get(kind, dialect.null_numbers)
    if not nulls:
        return values
    if length_of(kind) is None:
        return F.when(~values.isin(*nulls), values)
    return F.when(~F.exists(values, lambda value: value.isin(*nulls)), values)


def as_number(name: str) -> str:
    """Return SQL of a column of text as a double: a number, or true and false as 1 and 0; null for what is neither."""
    text = f"CAST({quoted(name)} AS STRING)"
    # Matched first, as a cast that fails costs a Java exception per value.
    return (
        f"CASE WHEN {text} RLIKE r'{NUMBER}' THEN try_cast({text} AS DOUBLE) "
        f"WHEN lower({text}) = 'true' THEN 1.0D WHEN lower({text}) = 'false' THEN 0.0D END"
    )


def _text_of_number(name: str) -> str:
    """Return SQL of a column of fractional numbers as CSV files would hold them: whole ones without a point; null for NaN."""
    value = f"CAST({quoted(name)} AS DOUBLE)"
    whole = f"{value} = floor({value}) AND abs({value}) < 1e15"
    return (
        f"CASE WHEN isnan({value}) THEN NULL WHEN {whole} THEN CAST(CAST({value} AS BIGINT) AS STRING) "
        f"ELSE CAST({value} AS STRING) END"
    )


def _time_of_text(name: str) -> str:
    """Return SQL of a column of text in ISO 8601 as a time; one with a zone in UTC."""
    return f"coalesce(CASE WHEN {quoted(name)} RLIKE r'(Z|[+-]\\d\\d:?\\d\\d)$' THEN {_text_in_utc(name)} END, {_naive(name)})"


def _time_in_formats(name: str, formats: Sequence[str]) -> Column:
    """Return a column of text, written in one of these formats or in ISO 8601, as times."""
    from pyspark.sql.functions import arrow_udf

    def parse(texts: pa.Array) -> pa.Array:
        return parse_times(texts, formats)[0]

    parse.__annotations__ = {"texts": pa.Array, "return": pa.Array}
    make_udf: Any = arrow_udf
    column: Column = make_udf(parse, returnType="timestamp_ntz")(F.col(quoted(name)))
    return column


def _instant_in_utc(name: str) -> str:
    """Return SQL of a column of instants as times in UTC without a zone."""
    return f"CAST(to_utc_timestamp({quoted(name)}, current_timezone()) AS TIMESTAMP_NTZ)"


def _array_of_text(name: str) -> str:
    """Return SQL of a column of texts of numbers, such as "1 2 3" or "[1, 2, 3]", as arrays of doubles."""
    parts = f"split(trim(BOTH {_BRACKETS} FROM {quoted(name)}), r'{SEPARATOR}')"
    return f"transform({parts}, part -> try_cast(part AS DOUBLE))"


_BRACKETS = "'" + BRACKETS.replace("\t", "\\t").replace("\n", "\\n") + "'"


def _text_in_utc(name: str) -> str:
    return f"CAST(to_utc_timestamp(try_cast({quoted(name)} AS TIMESTAMP), current_timezone()) AS TIMESTAMP_NTZ)"


def _naive(name: str) -> str:
    return f"try_cast({quoted(name)} AS TIMESTAMP_NTZ)"


def _time(name: str, data_type: DataType) -> str:
    if isinstance(data_type, StringType):
        return _time_of_text(name)
    return _instant_in_utc(name) if isinstance(data_type, TimestampType) else f"CAST({quoted(name)} AS TIMESTAMP_NTZ)"


def _as_array(name: str, length: int, data_type: DataType) -> Column | None:
    if isinstance(data_type, VectorUDT):
        values = vector_to_array(F.col(quoted(name)))
    elif isinstance(data_type, StringType):
        values = F.expr(_array_of_text(name))
    elif holds_arrays(data_type):
        values = F.col(quoted(name)).cast("array<double>")
    else:
        return None
    return F.when((F.size(values) == length) & ~F.exists(values, lambda value: value.isNull() | F.isnan(value)), values)
