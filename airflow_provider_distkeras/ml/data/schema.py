"""What the columns of CSV files hold: as declared, else as their first rows tell; and whether that can be trained on."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.csv_dialect import length_of
from airflow_provider_distkeras.contract.files.csv_header import InputFiles
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.ml.data.profile import NumberProfile
from airflow_provider_distkeras.ml.data.profiling import DataProfile
from airflow_provider_distkeras.ml.data.sources.csv_parser import infer_kind


def kinds_of(spec: PreprocessSpec, files: InputFiles, columns: Iterable[str]) -> dict[str, str]:
    """What each of these columns (new names) holds.

    Raises:
        DataError: a column holds text, or times, that nothing says how to use.
    """
    old = {new: old for old, new in spec.columns_renamed.items()}
    kinds = {}
    for name in columns:
        raw = old.get(name, name)
        if name in spec.categorical_columns or name == spec.group_col:
            kinds[name] = "text"
            continue
        if name in spec.timestamp_columns:
            kinds[name] = "timestamp"
            continue
        values = _sampled(files, raw, spec.null_values)
        kinds[name] = spec.schema.get(raw) or infer_kind(values, spec.timestamp_formats)
        is_feature = name not in spec.roles.values()
        if kinds[name] == "timestamp" and name == spec.time_col:
            continue
        if kinds[name] not in ("number", "boolean") and not (is_feature and length_of(kinds[name])):
            raise DataError(_unusable(spec, name, raw, kinds[name], _example(values, kinds[name])))
    return kinds


def check_survey(spec: PreprocessSpec, found: DataProfile, checked: Iterable[str]) -> None:
    """Raise DataError for values in these columns that nothing says how to use."""
    if not found.rows:
        raise DataError("The files hold no row that fits.")
    if not found.kept:
        raise DataError(
            f"No row is left: all {found.rows} lack a value whose rows are dropped. Set missing='mean', or fill them."
        )
    if not found.profiles[spec.label_col].rows:
        raise DataError(f"validation_col: all {found.kept} rows are to validate on, none to train on. Mark fewer.")
    for name, profile in found.profiles.items():
        if not profile.count:
            raise DataError(f"The column {name!r} has no value in any row. Add it to excluded_columns, or fill it.")
    infinite = found.count("infinite")
    if infinite:
        raise DataError(
            f"Infinite values in {listed(infinite)}, or such that float32 cannot hold them. Correct them, exclude those columns, "
            "or take them for missing, such as null_values=['inf']."
        )
    _check_roles(spec, found)
    lacking = {name: n for name, n in found.count("missing").items() if name in checked and spec.missing_policy(name) == "fail"}
    if spec.label_col in lacking and len(lacking) == 1 and spec.missing != "fail":
        raise DataError(
            f"The label {spec.label_col!r} is missing in {lacking[spec.label_col]} rows. Set missing='drop', or fill it."
        )
    if lacking and lacking.keys() <= set(spec.roles.values()):
        raise DataError(f"Missing values in {listed(lacking)}, which are no features. Set missing='drop', or fill them.")
    if lacking:
        raise DataError(
            f"Missing values in {listed(lacking)}. Set missing='mean' to fill numbers with the mean, missing='drop' to drop "
            "such rows, or fill them first."
        )


def _check_roles(spec: PreprocessSpec, found: DataProfile) -> None:
    """Raise DataError for weights and folds below zero, and for marks of validation rows other than 0 and 1."""
    for role, name in spec.roles.items():
        training, held_out = found.profiles[name], found.held_out[name]
        if not isinstance(training, NumberProfile) or not isinstance(held_out, NumberProfile):
            continue
        least = min(training.minimum, held_out.minimum)
        if role in ("weight", "fold") and least < 0:
            raise DataError(f"{role}_col: expected numbers of at least 0 in {name!r}, received {least:g}. Correct them.")
        if role == "weight" and not training.maximum:
            raise DataError(f"weight_col: every weight in {name!r} is 0: no row would be trained on. Correct them.")
        odd = [value for value in (held_out.minimum, held_out.maximum) if held_out.count and value != 1]
        if role == "validation" and odd:
            raise DataError(
                f"validation_col: expected true and false, or 1 and 0, in {name!r}, received {odd[0]:g}. Correct them."
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


def _unusable(spec: PreprocessSpec, name: str, raw: str, kind: str, example: str) -> str:
    if kind == "timestamp" and name not in spec.roles.values():
        return (
            f"The column {name!r} holds times such as {example!r}. Add it to timestamp_columns={{{name!r}: "
            f"['month', 'weekday', 'hour']}}, or to excluded_columns=[{raw!r}] to leave it out."
        )
    role = next((role for role, column in spec.roles.items() if column == name), None)
    if role is not None and role != "label":
        fix = {"validation": "It must be true or false, or 1 or 0.", "time": "Times may be told by timestamp_formats."}.get(
            role, "Give another column."
        )
    elif role == "label":
        fix = f"For classes, add {name!r} to categorical_columns; for a regression, the label must be numbers."
    else:
        fix = f"Add it to categorical_columns=[{name!r}] to one-hot encode it, or to excluded_columns=[{raw!r}] to leave it out."
    return f"The {f'{role} ' if role else ''}column {name!r} holds text such as {example!r}; expected numbers. {fix}"
