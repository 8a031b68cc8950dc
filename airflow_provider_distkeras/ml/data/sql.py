"""SQL that converts columns of text, and of equivalent types, to their kinds."""

from __future__ import annotations

#: A number as text, as a regular expression for Java and for RE2.
NUMBER = r"(?i)^[+-]?(nan|inf(inity)?|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)$"
#: What surrounds the numbers of an array, and what separates them, as regular expressions for Java and for RE2.
BRACKETS, SEPARATOR = "[](){} \t\n", r"[\s,;|]+"


def quoted(name: str) -> str:
    """Return a column's name in SQL."""
    return "`" + name.replace("`", "``") + "`"


def as_number(name: str) -> str:
    """Return SQL of a column of text as a double: a number, or true and false as 1 and 0; null for what is neither."""
    text = f"CAST({quoted(name)} AS STRING)"
    # Matched first, as a cast that fails costs a Java exception per value.
    return (
        f"CASE WHEN {text} RLIKE r'{NUMBER}' THEN try_cast({text} AS DOUBLE) "
        f"WHEN lower({text}) = 'true' THEN 1.0D WHEN lower({text}) = 'false' THEN 0.0D END"
    )


def as_text(name: str) -> str:
    """Return SQL of a column of fractional numbers as CSV files would hold them: whole ones without a point; null for NaN."""
    value = f"CAST({quoted(name)} AS DOUBLE)"
    whole = f"{value} = floor({value}) AND abs({value}) < 1e15"
    return (
        f"CASE WHEN isnan({value}) THEN NULL WHEN {whole} THEN CAST(CAST({value} AS BIGINT) AS STRING) "
        f"ELSE CAST({value} AS STRING) END"
    )


def as_time(name: str) -> str:
    """Return SQL of a column of text in ISO 8601 as a time; one with a zone in UTC."""
    return f"coalesce(CASE WHEN {quoted(name)} RLIKE r'(Z|[+-]\\d\\d:?\\d\\d)$' THEN {_in_utc(name)} END, {_naive(name)})"


def in_utc(name: str) -> str:
    """Return SQL of a column of instants as times in UTC without a zone."""
    return f"CAST(to_utc_timestamp({quoted(name)}, current_timezone()) AS TIMESTAMP_NTZ)"


def as_array(name: str) -> str:
    """Return SQL of a column of texts of numbers, such as "1 2 3" or "[1, 2, 3]", as arrays of doubles."""
    parts = f"split(trim(BOTH {_BRACKETS} FROM {quoted(name)}), r'{SEPARATOR}')"
    return f"transform({parts}, part -> try_cast(part AS DOUBLE))"


_BRACKETS = "'" + BRACKETS.replace("\t", "\\t").replace("\n", "\\n") + "'"


def _in_utc(name: str) -> str:
    return f"CAST(to_utc_timestamp(try_cast({quoted(name)} AS TIMESTAMP), current_timezone()) AS TIMESTAMP_NTZ)"


def _naive(name: str) -> str:
    return f"try_cast({quoted(name)} AS TIMESTAMP_NTZ)"
