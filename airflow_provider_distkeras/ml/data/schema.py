"""The kind of a column: as declared, else as its values in the first rows suggest."""

from __future__ import annotations

import pyarrow as pa

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.csv_dialect import Dialect, length_of
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.ml.data.sources.base import Source
from airflow_provider_distkeras.ml.data.sources.csv_parser import infer_kind


def kind_of(spec: PreprocessSpec, source: Source, name: str) -> str:
    """Return the kind of a column.

    Raises:
        DataError: The column holds text, or times, and the spec does not say how to use them.
    """
    if name in spec.categorical_columns or name == spec.group_col:
        return "text"
    if name in spec.timestamp_columns:
        return "timestamp"
    name_in_files = source.names_in_files[name]
    kind = spec.schema.get(name_in_files) or source.kind_of(name)
    is_array_feature = name not in spec.roles.values() and length_of(kind) is not None
    is_time_to_order_by = kind == "timestamp" and name == spec.time_col
    if kind in ("number", "boolean") or is_array_feature or is_time_to_order_by:
        return kind
    raise DataError(_unusable(spec, name, name_in_files, kind, _example(source.sample(name), kind, spec.dialect)))


def _example(values: pa.Array, kind: str, dialect: Dialect) -> str:
    """Return the first value that is no number."""
    if kind == "text":
        for value in values.drop_null():
            if infer_kind(pa.array([value.as_py()]), dialect) != "number":
                return str(value)
    return str(next(iter(values.drop_null()), ""))


def _unusable(spec: PreprocessSpec, name: str, name_in_files: str, kind: str, example: str) -> str:
    """Return a message about a column of a kind that cannot be used without more."""
    if kind == "timestamp" and name not in spec.roles.values():
        return (
            f"The column {name!r} holds times such as {example!r}. Add it to timestamp_columns={{{name!r}: "
            f"['month', 'weekday', 'hour']}}, or to excluded_columns=[{name_in_files!r}] to leave it out."
        )
    role = next((role for role, column in spec.roles.items() if column == name), None)
    if role is not None and role != "label":
        fix = {"validation": "It must be true or false, or 1 or 0.", "time": "Set timestamp_formats if it holds times."}.get(
            role, "Give another column."
        )
    elif role == "label":
        fix = f"For classes, add {name!r} to categorical_columns; for a regression, the label must be numbers."
    else:
        fix = (
            f"Add it to categorical_columns=[{name!r}] to one-hot encode it, or to excluded_columns=[{name_in_files!r}] to leave "
            "it out."
        )
    return f"The {f'{role} ' if role else ''}column {name!r} holds text such as {example!r}; expected numbers. {fix}"
