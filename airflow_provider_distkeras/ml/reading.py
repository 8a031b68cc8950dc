"""Reading CSV files with known types: nothing is coerced in silence, no line is padded or cut."""

from __future__ import annotations

from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, DataType, NumericType, StructField, StructType, _parse_datatype_string

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.header import InputFiles

_CORRUPT = "__distkeras_corrupt"
_TRIMMED: dict[str, Any] = {"ignoreLeadingWhiteSpace": True, "ignoreTrailingWhiteSpace": True, "encoding": "UTF-8"}


def infer_types(spark: SparkSession, files: InputFiles, delimiter: str) -> dict[str, DataType]:
    """The type of every column, from its values; numbers and truth values that differ between files become doubles."""
    found: dict[str, DataType] = {}
    for header, paths in _by_header(files).items():
        inferred = spark.read.csv(paths, header=True, inferSchema=True, sep=delimiter, **_TRIMMED)
        for name, field in zip(header, inferred.schema.fields, strict=True):
            known = found.setdefault(name, field.dataType)
            if known != field.dataType:
                both = isinstance(known, NumericType) and isinstance(field.dataType, NumericType)
                found[name] = _parse_datatype_string("double" if both else "string")
    return found


def is_number(kind: DataType) -> bool:
    """Whether values of a type can be features as they are."""
    return isinstance(kind, (NumericType, BooleanType))


def read_csv(spark: SparkSession, files: InputFiles, types: dict[str, str], delimiter: str) -> DataFrame:
    """The rows of the files, columns in the order of the first, with a hidden column for lines that do not fit.

    Args:
        types: Spark type per column; one that is not named is read as text.
    """
    parts = []
    for header, paths in _by_header(files).items():
        fields = [StructField(name, _parse_datatype_string(types.get(name, "string"))) for name in header]
        schema = StructType([*fields, StructField(_CORRUPT, _parse_datatype_string("string"))])
        options = {"header": True, "sep": delimiter, "mode": "PERMISSIVE", "columnNameOfCorruptRecord": _CORRUPT, **_TRIMMED}
        parts.append(
            spark.read.csv(paths, schema=schema, **options).select(*(F.col(f"`{name}`") for name in files.columns), _CORRUPT)
        )
    return reduce(DataFrame.unionByName, parts)


def survey(data: DataFrame, extra: dict[str, Column]) -> Row:
    """One pass over data from `read_csv`: lines that do not fit, and whatever else is asked for.

    Returns:
        A row with `rows` and the values of `extra`.

    Raises:
        DataError: lines do not fit the columns and their types, or there are no rows.
    """
    visible = [F.count(F.col(f"`{name}`")).alias(f"__count_{i}") for i, name in enumerate(data.columns) if name != _CORRUPT]
    found = data.agg(
        F.count(F.lit(1)).alias("rows"),
        F.count(_CORRUPT).alias("bad"),
        F.first(_CORRUPT, ignorenulls=True).alias("example"),
        *visible,
        *(column.alias(name) for name, column in extra.items()),
    ).first()
    assert found is not None  # an aggregate always gives a row
    if found["bad"]:
        raise DataError(
            f"{found['bad']} of {found['rows']} lines do not fit the {len(data.columns) - 1} columns and types, such as "
            f"{found['example']!r}. A line must have as many fields as the header, and numbers where the other lines have them."
        )
    if not found["rows"]:
        raise DataError("The files hold no row.")
    return found


def without_corrupt(data: DataFrame) -> DataFrame:
    """The data as the user knows it."""
    return data.drop(_CORRUPT)


def count_missing(name: str, *, numeric: bool) -> Column:
    """Counts the rows where a column is null or, being a number, not one (NaN)."""
    column = F.col(f"`{name}`")
    return F.count(F.when(column.isNull() | F.isnan(column) if numeric else column.isNull(), 1))


def _by_header(files: InputFiles) -> dict[tuple[str, ...], list[str]]:
    """The files, grouped by the order of their columns."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for path, header in files.headers.items():
        groups.setdefault(tuple(header), []).append(path)
    return groups
