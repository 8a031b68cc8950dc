"""The feature columns of files, by a spec and the files' header, before Spark starts."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_distkeras.contract.errors import DataError, unknown_name
from airflow_provider_distkeras.contract.files.csv_header import refuse_reserved, refuse_twins
from airflow_provider_distkeras.contract.label_columns import option_of
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.contract.specs.feature_scaling import DEFAULT, FeatureScaling


def feature_columns(spec: PreprocessSpec, columns: list[str]) -> list[str]:
    """Return the features by their new names, in the order of the files' columns.

    Raises:
        DataError: a column is named that the files do not have, two would have one name, or a label is absent.
    """
    for what in ("columns_renamed", "excluded_columns", "schema", "number_formats"):
        _check(what, getattr(spec, what) or (), columns)
    remaining = [spec.columns_renamed.get(name, name) for name in columns if name not in spec.excluded_columns]
    refuse_twins(remaining, "after columns_renamed", "Rename or exclude one of them.")
    refuse_reserved(remaining)
    absent = next((name for name in spec.label_names if name not in remaining), None)
    if absent is not None:
        raise DataError(
            f"The label column {absent!r} is absent; the columns are {', '.join(remaining)}. "
            f"Rename the one to predict, such as columns_renamed={{'cnt': {absent!r}}}, or set label_col."
        )
    for role, name in spec.roles.items():
        _check(option_of(role), [name], remaining)
    for what in ("categorical_columns", "categorical_encoding", "timestamp_columns"):
        _check(what, getattr(spec, what) or (), remaining)
    if isinstance(spec.missing, dict):
        _check("missing", spec.missing, remaining)
    if isinstance(spec.scaling, dict):
        _check("scaling", FeatureScaling.of(spec.scaling).columns, remaining)
    features = [name for name in remaining if name not in spec.roles.values()]
    if isinstance(spec.scaling, dict) and DEFAULT in spec.scaling and DEFAULT in features:
        raise DataError(
            f"scaling[{DEFAULT!r}]: this is the scaling of all columns that are not named, and the files have a column of that "
            f"name, too. Rename it, such as columns_renamed={{{DEFAULT!r}: '{DEFAULT}_'}}."
        )
    if not features:
        raise DataError(f"No feature column is left of {', '.join(columns)}: exclude fewer.")
    return features


def _check(what: str, names: Iterable[str], columns: list[str]) -> None:
    for name in names:
        if name not in columns:
            raise DataError(f"{what}: {unknown_name('column', name, columns)}")
