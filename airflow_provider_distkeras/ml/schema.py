"""What the columns of CSV files hold: as declared, else as their first rows tell; and whether that can be trained on."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.header import InputFiles
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.ml.parsing import infer_kind
from airflow_provider_distkeras.ml.profile import NumberProfile
from airflow_provider_distkeras.ml.reading import Survey


def kinds_of(spec: PreprocessSpec, files: InputFiles, columns: Iterable[str]) -> dict[str, str]:
    """What each of these columns (new names) holds.

    Raises:
        DataError: a column holds text, or times, that nothing says how to use.
    """
    old = {new: old for old, new in spec.columns_renamed.items()}
    kinds = {}
    for name in columns:
        raw = old.get(name, name)
        if name in spec.categorical_columns:
            kinds[name] = "text"
            continue
        values = _sampled(files, raw, spec.null_values)
        kinds[name] = spec.schema.get(raw) or infer_kind(values)
        if kinds[name] not in ("number", "boolean"):
            raise DataError(_not_a_number(spec, name, raw, _example(values, kinds[name])))
    return kinds


def check_survey(spec: PreprocessSpec, found: Survey) -> None:
    """Raise DataError for values that nothing says how to use."""
    if not found.rows:
        raise DataError("The files hold no row that fits.")
    if not found.kept:
        raise DataError(
            f"No row is left: all {found.rows} lack a value whose rows are dropped. Set missing='mean', or fill them."
        )
    for name, profile in found.profiles.items():
        if not profile.count:
            raise DataError(f"The column {name!r} has no value in any row. Add it to excluded_columns, or fill it.")
    infinite = {n: p.infinite for n, p in found.profiles.items() if isinstance(p, NumberProfile) and p.infinite}
    if infinite:
        raise DataError(f"Infinite values in {listed(infinite)}. Correct them, or exclude those columns.")
    lacking = {n: p.missing for n, p in found.profiles.items() if p.missing and spec.missing_policy(n) == "fail"}
    if spec.label_col in lacking and len(lacking) == 1 and spec.missing != "fail":
        raise DataError(
            f"The label {spec.label_col!r} is missing in {lacking[spec.label_col]} rows. Set missing='drop', or fill it."
        )
    if lacking:
        raise DataError(
            f"Missing values in {listed(lacking)}. Set missing='mean' to fill numbers with the mean, missing='drop' to drop "
            "such rows, or fill them first."
        )


def listed(counts: dict[str, int]) -> str:
    """Columns and how many rows each concerns, for a message."""
    return ", ".join(f"{name!r} ({count} rows)" for name, count in counts.items())


def _sampled(files: InputFiles, column: str, null_values: Iterable[str]) -> pa.Array:
    """A column's values in the first rows of the first files; null where they are missing."""
    values = [row[files.headers[path].index(column)].strip() for path, rows in files.samples.items() for row in rows]
    nulls = {"", *null_values}
    return pa.array([None if value in nulls else value for value in values], pa.string())


def _example(values: pa.Array, kind: str) -> str:
    """The first value that is no number."""
    if kind == "text":
        for value in values.drop_null():
            if infer_kind(pa.array([value.as_py()])) != "number":
                return str(value)
    return str(next(iter(values.drop_null()), ""))


def _not_a_number(spec: PreprocessSpec, name: str, raw: str, example: str) -> str:
    if name == spec.label_col:
        fix = f"For classes, add {name!r} to categorical_columns; for a regression, the label must be numbers."
    else:
        fix = f"Add it to categorical_columns=[{name!r}] to one-hot encode it, or to excluded_columns=[{raw!r}] to leave it out."
    role = "label column" if name == spec.label_col else "column"
    return f"The {role} {name!r} holds text such as {example!r}; expected numbers. {fix}"
