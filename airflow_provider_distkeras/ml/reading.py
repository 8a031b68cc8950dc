"""Reading CSV files as text, and one pass that finds out what the text holds: nothing is coerced, padded or cut in silence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StringType, StructField, StructType

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.header import InputFiles

_CORRUPT = "__distkeras_corrupt"
#: What Spark's cast takes. Matched first, as a cast that fails costs a Java exception per value.
_NUMBER = r"(?i)^[+-]?(nan|inf(inity)?|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)$"


@dataclass(frozen=True)
class ColumnFacts:
    """What one pass found in a column.

    Attributes:
        missing: rows where it is empty, or NaN.
        texts: rows where it is neither empty nor a number; text: the first such value.
        infinite: rows where it is infinite.
    """

    missing: int
    texts: int
    text: str | None
    infinite: int


@dataclass(frozen=True)
class Survey:
    """What one pass found in all files: how many rows, and the facts per column."""

    rows: int
    columns: dict[str, ColumnFacts]


def read_csv(spark: SparkSession, files: InputFiles, delimiter: str) -> DataFrame:
    """The rows of the files as text, columns in the order of the first, with a hidden column for lines that do not fit."""
    parts = []
    for header, paths in _by_header(files).items():
        schema = StructType([StructField(name, StringType()) for name in (*header, _CORRUPT)])
        part = spark.read.csv(
            paths,
            schema=schema,
            header=True,
            sep=delimiter,
            escape='"',  # a quote inside quotes is doubled
            encoding="UTF-8",
            mode="PERMISSIVE",
            columnNameOfCorruptRecord=_CORRUPT,
            ignoreLeadingWhiteSpace=True,
            ignoreTrailingWhiteSpace=True,
        )
        parts.append(part.select(*map(_quoted, files.columns), _CORRUPT))
    return reduce(DataFrame.unionByName, parts)


def survey(data: DataFrame) -> Survey:
    """Look at every value of data from `read_csv`, in one pass.

    Raises:
        DataError: lines have more or fewer fields than the header, or there are no rows.
    """
    names = [name for name in data.columns if name != _CORRUPT]
    # As SQL text: built by Column operations, hundreds of columns would cost tens of thousands of calls into the JVM.
    texts = [f"{_quoted(name)} AS text_{i}" for i, name in enumerate(names)]
    numbers = [f"{as_number(name)} AS number_{i}" for i, name in enumerate(names)]
    facts = [_facts(f"text_{i}", f"number_{i}") + f" AS column_{i}" for i in range(len(names))]
    lines = ["count(1) AS rows", f"count({_CORRUPT}) AS bad", f"first({_CORRUPT}, true) AS line"]
    found = data.selectExpr(_CORRUPT, *texts, *numbers).selectExpr(*lines, *facts).collect()[0]
    if found["bad"]:
        raise DataError(
            f"{found['bad']} of {found['rows']} lines do not fit the {len(names)} columns, such as {found['line']!r}. "
            "A line must have as many fields as the header, and a quote must be closed on the same line."
        )
    if not found["rows"]:
        raise DataError("The files hold no row.")
    return Survey(found["rows"], {name: ColumnFacts(**found[f"column_{i}"].asDict()) for i, name in enumerate(names)})


def visible(data: DataFrame) -> DataFrame:
    """The data as the user knows it."""
    return data.drop(_CORRUPT)


def as_number(name: str) -> str:
    """SQL for a column as a double: a number, or true and false as 1 and 0; null for what is neither."""
    text = f"CAST({_quoted(name)} AS STRING)"
    return (
        f"CASE WHEN {text} RLIKE r'{_NUMBER}' THEN try_cast({text} AS DOUBLE) "
        f"WHEN lower({text}) = 'true' THEN 1.0D WHEN lower({text}) = 'false' THEN 0.0D END"
    )


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _facts(text: str, number: str) -> str:
    """SQL for the `ColumnFacts` of a column."""
    is_text = f"{text} IS NOT NULL AND {number} IS NULL"
    return (
        f"struct(count(CASE WHEN {text} IS NULL OR isnan({number}) THEN 1 END) AS missing, "
        f"count(CASE WHEN {is_text} THEN 1 END) AS texts, "
        f"first(CASE WHEN {is_text} THEN {text} END, true) AS text, "
        f"count(CASE WHEN abs({number}) = double('infinity') THEN 1 END) AS infinite)"
    )


def _by_header(files: InputFiles) -> dict[tuple[str, ...], list[str]]:
    """The files, grouped by the order of their columns."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for path, header in files.headers.items():
        groups.setdefault(tuple(header), []).append(path)
    return groups
