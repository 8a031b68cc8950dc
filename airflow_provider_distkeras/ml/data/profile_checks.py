"""Checks of a profile: records, values and roles that cannot be trained on."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from pyspark.sql import SparkSession

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.csv_dialect import length_of
from airflow_provider_distkeras.contract.files.csv_names import WITHOUT_HEADER
from airflow_provider_distkeras.contract.specs import InputSpec
from airflow_provider_distkeras.ml.data.feature_layout import scaled
from airflow_provider_distkeras.ml.data.feature_plan import FeaturePlan, PlannedColumn
from airflow_provider_distkeras.ml.data.profile import NumberProfile, TextProfile
from airflow_provider_distkeras.ml.data.profiling import DataProfile
from airflow_provider_distkeras.ml.data.schema import begins_with_header, fix_of_header, stands_for_nothing
from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
from airflow_provider_distkeras.ml.data.sources.base import Source

logger = logging.getLogger(__name__)

#: The value in the reason of a record with one that does not fit, and whether a number was expected.
_MISFIT = re.compile(r" is '(.*)', expected (a number$)?")

#: The share of lines that repeat the header, above which they are more likely rows, where rows hold nothing but texts.
_MOST_HEADERS = 0.01
#: What numbers that are one number in float32 mean in the columns that are used so, by their role, and what to do about them.
_FIXES_OF_TWINS = {
    None: "the network could not tell them apart. If they are identifiers, leave them out by excluded_columns, or embed them by "
    "categorical_encoding={column: 'index'}, or {'hash': 100000}. If they are quantities, set scaling='standard'",
    "label": "training takes them as one. If the difference counts, write the label from another zero; classes belong in "
    "categorical_columns",
    "weight": "training takes them as one. If the difference counts, write smaller weights",
}


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
        f"{_fix(spec, source, profile)}"
    )


def check_header(spec: InputSpec, source: Source, profile: DataProfile) -> None:
    """Raise DataError for a first line that was taken for the header and is more likely a row: its names are values, too."""
    if not source.header_fits:  # a name that is no number, in a column of numbers, shows that the line is no row
        return
    for name, kind in source.kinds.items():
        value = source.names_in_files[name]
        parts = (profile.profiles[name], profile.held_out[name])
        count = sum(part.counts[value] for part in parts if isinstance(part, TextProfile))
        if count:
            raise DataError(
                f"The first line names a column {value!r}, which holds {value!r} as a value, too, in {count:,} rows. "
                f"{WITHOUT_HEADER}"
            )
        if kind != "text" or value in spec.dialect.all_null_values:
            raise DataError(
                f"The first line was taken for the header and fits as a row, too: {value!r} is a value, or stands for a missing "
                f"one, in a column of kind {kind!r}. {WITHOUT_HEADER}"
            )
    lines = profile.rows + profile.bad + profile.headers
    if profile.headers > _MOST_HEADERS * lines:
        raise DataError(
            f"{profile.headers:,} of {lines:,} lines are the same as the first one, which was taken for the header. "
            f"{WITHOUT_HEADER}"
        )


def _fix(spec: InputSpec, source: Source, profile: DataProfile) -> str:
    """Return what to do about records that do not fit."""
    if "not in the encoding" in profile.examples[0][1]:
        return "Set encoding to what they are written in, such as 'cp1252' or 'utf-16'."
    value = _MISFIT.search(profile.examples[0][1])
    if value and value[1] in source.first_row.values() and begins_with_header(source):
        return fix_of_header(spec)
    if value and value[2] and stands_for_nothing(value[1]):
        return f"If {value[1]!r} stands for a missing value, set null_values=[{value[1]!r}]; if not, correct them."
    if not profile.rows:
        return "As no line fits, the options do not: check schema, timestamp_columns and the delimiter."
    return "Correct them, " + (
        "or set bad_lines='quarantine' or 'drop'." if spec.bad_lines == "fail" else "or raise max_bad_lines."
    )


def check_profile(plan: FeaturePlan, profile: DataProfile) -> None:
    """Raise DataError for values that the plan does not say how to use."""
    if not profile.rows:
        raise DataError("The files hold no row that fits.")
    if not profile.complete:
        raise DataError(
            f"No row is left: all {profile.rows} lack a value whose rows are dropped: {listed(profile.lacking)}. Set another "
            f"policy than 'drop' for some of these columns, such as missing={{{next(iter(profile.lacking))!r}: 'mean'}}, or fill "
            "them."
        )
    if not profile.profiles[plan.labels[0].name].rows:
        raise DataError(f"validation_col: all {profile.complete} rows are to validate on, none to train on. Mark fewer.")
    for name, column in profile.profiles.items():
        if not column.count:
            raise DataError(f"The column {name!r} has no value in any row. Add it to excluded_columns, or fill it.")
    _check_infinite(profile)
    _check_roles(plan.roles, profile)
    _check_missing(plan, profile)


def check_float32(plan: FeaturePlan, profile: DataProfile) -> None:
    """Raise DataError for features that are one number in float32, and warn of labels and weights that are in training."""
    for column in plan.columns:
        values = profile.profiles[column.name]
        are_numbers = column.kind == "number" or length_of(column.kind) is not None
        role = "label" if column.is_label else column.role
        if role not in _FIXES_OF_TWINS or not are_numbers or not isinstance(values, NumberProfile):
            continue
        twins = values.equal_in_float32()
        first, second = scaled(np.array(twins), column.name, column.scaling if role is None else None, profile.profiles)
        if np.isnan(twins).any() or np.float32(first) != np.float32(second):
            continue
        message = (
            f"{column.name!r} holds whole numbers that are one number in float32, such as {twins[0]:.0f} and {twins[1]:.0f}: "
            f"{_FIXES_OF_TWINS[role]}."
        )
        if role is None:
            raise DataError(message)
        logger.warning("%s", message)


def log_left_out(profile: DataProfile) -> None:
    """Warn of rows that are dropped, and of lines that repeat the header."""
    if profile.headers:
        logger.warning("%s lines repeat the header and are no rows.", f"{profile.headers:,}")
    dropped = profile.rows - profile.complete
    if dropped:
        logger.warning(
            "%s of %s rows are dropped, for they lack a value: %s.", f"{dropped:,}", f"{profile.rows:,}", listed(profile.lacking)
        )


def check_prepared_like(selected: SelectColumns, profile: DataProfile, roles: Mapping[str, str]) -> None:
    """Raise DataError for values that a pipeline that was fitted on other files cannot take.

    Args:
        selected: The pipeline's first stage.
        profile: The profile of its columns.
        roles: The columns that are no features, by what they are for, as far as the files have them.
    """
    if not profile.complete:
        raise DataError("The files hold no row that fits, or all lack a value whose rows are dropped.")
    _check_infinite(profile)
    _check_roles(roles, profile)
    required = [*selected.with_policy("fail"), *roles.values()]
    lacking = {name: count for name, count in profile.count("missing").items() if name in required}
    if lacking:
        raise DataError(
            f"Missing values in {listed(lacking)}, for which the preparation has no policy. Fill them, leave such rows out, or "
            "set missing for the training files."
        )


def warn_of_new_classes(classes: Sequence[str], profile: DataProfile, label: str) -> None:
    """Warn of labels that are none of a model's classes; without any, its labels are numbers."""
    parts = (profile.profiles[label], profile.held_out[label]) if classes else ()
    counts = sum((part.counts for part in parts if isinstance(part, TextProfile)), Counter[str]())
    new = {text: count for text, count in counts.most_common() if text not in classes}
    if new:
        logger.warning(
            "%d labels in %r are no class of the training files, so that no prediction of them is right: %s. Expected %s.",
            sum(new.values()), label, listed(dict(list(new.items())[:5])), ", ".join(map(repr, classes[:5])),
        )  # fmt: skip


def _check_infinite(profile: DataProfile) -> None:
    """Raise DataError for values that float32 cannot hold."""
    infinite = profile.count("infinite")
    if infinite:
        raise DataError(
            f"Infinite values in {listed(infinite)}, or such that float32 cannot hold them. Correct them, exclude those columns, "
            f"or take them for missing, such as null_values={_too_large(profile, infinite)}."
        )


def _too_large(profile: DataProfile, columns: Iterable[str]) -> list[str]:
    """Return a value of each of these columns that is infinite, or that float32 cannot hold, as text."""
    profiles = [part[name] for name in columns for part in (profile.profiles, profile.held_out)]
    values = [f"{each.too_large:g}" for each in profiles if isinstance(each, NumberProfile) and each.too_large == each.too_large]
    return list(dict.fromkeys(values))


def _check_missing(plan: FeaturePlan, profile: DataProfile) -> None:
    """Raise DataError for missing values in a column whose policy is to fail, with policies that would do."""
    missing, columns = profile.count("missing"), {column.name: column for column in plan.columns}
    lacking = {name: count for name, count in missing.items() if name in columns and columns[name].missing == "fail"}
    if not lacking:
        return
    label, *_ = lacking
    if len(lacking) == 1 and columns[label].is_label:
        what = f"The label {label!r} is missing in {lacking[label]} rows."
    else:
        no_features = ", which are no features" if lacking.keys() <= set(plan.roles.values()) else ""
        what = f"Missing values in {listed(lacking)}{no_features}."
    fixes = {name: "mean" if _can_be_filled(columns[name]) else "drop" for name in lacking}
    if plan.missing == "fail" and "drop" not in fixes.values():
        raise DataError(f"{what} Set missing='mean' to fill them with the mean, or fill them first.")
    named = plan.missing if isinstance(plan.missing, Mapping) else {**missing, **profile.lacking}
    policies = {name: fixes.get(name, column.missing) for name, column in columns.items() if name in (*fixes, *named)}
    meanings = {"mean": "fill them with the mean", "drop": "drop the rows without a value there"}
    meaning = " and ".join(meanings[policy] for policy in dict.fromkeys(fixes.values()))
    raise DataError(f"{what} Set missing={policies!r} to {meaning}, or fill them first.")


def _can_be_filled(column: PlannedColumn) -> bool:
    """Return whether a statistic may stand for a column's missing values."""
    return column.role is None and length_of(column.kind) is None


def _check_roles(roles: Mapping[str, str], profile: DataProfile) -> None:
    """Raise DataError for weights and folds below zero, and for marks of validation rows other than 0 and 1."""
    for role, name in roles.items():
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
