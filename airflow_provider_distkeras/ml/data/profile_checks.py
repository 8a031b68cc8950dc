"""Checks of a profile: records, values and roles that cannot be trained on."""

from __future__ import annotations

from pyspark.sql import SparkSession

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.specs import InputSpec
from airflow_provider_distkeras.ml.data.feature_plan import FeaturePlan
from airflow_provider_distkeras.ml.data.profile import NumberProfile
from airflow_provider_distkeras.ml.data.profiling import DataProfile
from airflow_provider_distkeras.ml.data.sources.base import Source


def accepts_bad_records(spec: InputSpec, bad: int, records: int) -> bool:
    """Return whether so many records may not fit."""
    return not bad or (spec.bad_lines != "fail" and bad <= spec.max_bad_lines * records)


def check_bad_records(spark: SparkSession, spec: InputSpec, source: Source, profile: DataProfile) -> None:
    """Raise DataError for records that do not fit, unless the spec accepts so many."""
    if accepts_bad_records(spec, profile.bad, profile.rows + profile.bad):
        return
    text, reason = profile.examples[0]
    place = source.locate(spark, text)
    raise DataError(
        f"{profile.bad:,} of {profile.rows + profile.bad:,} lines do not fit, such as {place}, {text[:200]!r}: {reason}. "
        f"{_fix(spec, profile)}"
    )


def _fix(spec: InputSpec, profile: DataProfile) -> str:
    """Return what to do about records that do not fit."""
    if "not in the encoding" in profile.examples[0][1]:
        return "Set encoding to what they are written in, such as 'cp1252' or 'utf-16'."
    if not profile.rows:
        return "As no line fits, the options do not: check schema, timestamp_columns and the delimiter."
    return "Correct them, " + (
        "or set bad_lines='quarantine' or 'drop'." if spec.bad_lines == "fail" else "or raise max_bad_lines."
    )


def check_profile(plan: FeaturePlan, profile: DataProfile) -> None:
    """Raise DataError for values that the plan does not say how to use."""
    label = plan.label.name
    if not profile.rows:
        raise DataError("The files hold no row that fits.")
    if not profile.complete:
        raise DataError(
            f"No row is left: all {profile.rows} lack a value whose rows are dropped. Set missing='mean', or fill them."
        )
    if not profile.profiles[label].rows:
        raise DataError(f"validation_col: all {profile.complete} rows are to validate on, none to train on. Mark fewer.")
    for name, column in profile.profiles.items():
        if not column.count:
            raise DataError(f"The column {name!r} has no value in any row. Add it to excluded_columns, or fill it.")
    infinite = profile.count("infinite")
    if infinite:
        raise DataError(
            f"Infinite values in {listed(infinite)}, or such that float32 cannot hold them. Correct them, exclude those columns, "
            "or take them for missing, such as null_values=['inf']."
        )
    _check_roles(plan, profile)
    policies = {column.name: column.missing for column in plan.columns}
    lacking = {name: n for name, n in profile.count("missing").items() if policies.get(name) == "fail"}
    if label in lacking and len(lacking) == 1 and plan.missing != "fail":
        raise DataError(f"The label {label!r} is missing in {lacking[label]} rows. Set missing='drop', or fill it.")
    if lacking and lacking.keys() <= set(plan.roles.values()):
        raise DataError(f"Missing values in {listed(lacking)}, which are no features. Set missing='drop', or fill them.")
    if lacking:
        raise DataError(
            f"Missing values in {listed(lacking)}. Set missing='mean' to fill numbers with the mean, missing='drop' to drop "
            "such rows, or fill them first."
        )


def _check_roles(plan: FeaturePlan, profile: DataProfile) -> None:
    """Raise DataError for weights and folds below zero, and for marks of validation rows other than 0 and 1."""
    for role, name in plan.roles.items():
        training, held_out = profile.profiles[name], profile.held_out[name]
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
