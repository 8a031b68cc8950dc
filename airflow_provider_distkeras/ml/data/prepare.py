"""Files to a DataFrame of features and label, by Spark ML stages that are saved with the model."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.ml.data import feature_layout, pipeline
from airflow_provider_distkeras.ml.data.feature_layout import index_of
from airflow_provider_distkeras.ml.data.feature_plan import FeaturePlan
from airflow_provider_distkeras.ml.data.pipeline import FEATURES
from airflow_provider_distkeras.ml.data.profile_checks import check_bad_records, check_profile, log_losses
from airflow_provider_distkeras.ml.data.profiling import DataProfile
from airflow_provider_distkeras.ml.data.sources import open_source
from airflow_provider_distkeras.ml.data.sources.base import Source
from airflow_provider_distkeras.ml.data.sql import as_number


@dataclass(frozen=True)
class PreparedData:
    """Files made ready for training.

    Attributes:
        data: The columns used, the stages' own, `features` (vector), and the columns with other roles, such as the label.
        pipeline: The fitted stages, for new files.
        plan: What becomes of each column.
        inputs: The columns assembled into `features`, in order.
        source: The files.
        profile: The profile of their columns.
    """

    data: DataFrame
    pipeline: PipelineModel
    plan: FeaturePlan
    inputs: list[feature_layout.FeatureInput]
    source: Source
    profile: DataProfile

    @property
    def feature_columns(self) -> list[str]:
        """The columns that became `features`, in order."""
        return [column.name for column in self.plan.features]


def process_csv(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    columns_renamed: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    excluded_columns: Sequence[str] = (),
    num_workers: int | None = None,
    **options: Any,
) -> DataFrame:
    """Read CSV files, or of another `input_format`, into a DataFrame with `features` (vector) and `label`, ready for `DistKeras`.

    Args:
        path: a path, a glob, a directory, or a list of them.
        columns_renamed: (old, new) names, such as [("cnt", "label")].
        excluded_columns: columns to leave out.
        num_workers: partitions of the result.
        **options: the other fields of `PreprocessSpec`, such as label_col, categorical_columns, missing, scaling, delimiter.

    Returns:
        The features' columns, `features`, the label, and the columns of weights, folds and validation rows that were named.

    Raises:
        SpecError: an option that does not exist or has a wrong value.
        DataError: the files or their columns do not fit the options.
    """
    spec = PreprocessSpec.build(
        input_path=[os.fspath(path)] if isinstance(path, (str, os.PathLike)) else _paths(path),
        columns_renamed=_as_dict(columns_renamed),
        excluded_columns=excluded_columns if isinstance(excluded_columns, str) else list(excluded_columns),
        num_workers=num_workers,
        **options,
    )
    if spec.compare_with:
        raise SpecError("compare_with: process_csv writes no manifest to report the drift in; use DistKerasPreprocessOperator.")
    prepared = prepare(_session(), spec)
    data = prepared.data.select(*prepared.feature_columns, FEATURES, *role_columns(prepared.data, prepared.plan.roles).values())
    return data.repartition(spec.num_workers) if spec.num_workers else data


def prepare(spark: SparkSession, spec: PreprocessSpec) -> PreparedData:
    """Read the files, fit the stages and apply them. Raise DataError as `process_csv` does."""
    source = open_source(spark, spec).with_names(spec.columns_renamed, spec.excluded_columns)
    plan = FeaturePlan.of(spec, source)
    source = source.with_kinds(plan.kinds)
    profile = source.profile(spark, plan.profile_request)
    check_bad_records(spark, spec, source, profile)
    check_profile(plan, profile)
    log_losses(plan, profile)
    inputs = feature_layout.inputs_of(plan, profile.profiles)
    fitted = pipeline.fit(spark, inputs, plan.calendar, plan.scaling)
    label = plan.label
    if label.kind == "text":
        classes = {*profile.profiles[label.name].texts.to_pylist(), *profile.held_out[label.name].texts.to_pylist()}
        fitted.insert(0, pipeline.label_indexer(label.name, list(classes)))
    data = plan.select_columns({}).transform(source.rows(spark))
    required = [name for name in plan.required if name in plan.roles.values()]
    data = PipelineModel(fitted).transform(data.dropna(subset=required) if required else data)
    renamed = {old: new for new, old in source.names_in_files.items() if old != new}
    return PreparedData(data, PipelineModel([plan.select_columns(renamed), *fitted]), plan, inputs, source, profile)


def role_columns(data: DataFrame, roles: Mapping[str, str]) -> dict[str, Column]:
    """Return the columns that are no features, under their own names, by role. A fold that is no whole number is null."""
    columns = {role: F.col(name) for role, name in roles.items()}
    columns["label"] = label_of(data, roles["label"])
    if "fold" in columns:
        fold = columns["fold"]
        columns["fold"] = F.when(fold == F.floor(fold), fold.cast("int"))
    if "validation" in columns:
        columns["validation"] = columns["validation"] != 0
    return {role: column.alias(roles[role]) for role, column in columns.items()}


def filled_positions(inputs: Sequence[feature_layout.FeatureInput]) -> Column | None:
    """Return the positions in a row's features where a statistic stands for a missing value; None if there are none."""
    positions, start = [], 0
    for each in inputs:
        value = F.col(each.column)
        if each.fill:
            positions.append(F.when(value.isNull() | F.isnan(value), F.lit(start)))
        start += len(each.spreads)
    return F.array_compact(F.array(*positions)) if positions else None


def label_of(data: DataFrame, label_col: str) -> Column:
    """Return the label as a number under its own name: its class number where it was declared categorical."""
    indexed = index_of(label_col)
    return F.expr(as_number(indexed if indexed in data.columns else label_col)).alias(label_col)


def _as_dict(renamed: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the new names as a dict. Raise SpecError if they are no pairs, or a column has two."""
    try:
        pairs = list(renamed.items() if isinstance(renamed, Mapping) else renamed)
        names = dict(pairs)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"columns_renamed: expected pairs such as [('cnt', 'label')], or a dict, received {renamed!r}."
        ) from error
    if len(names) < len(pairs):
        raise SpecError(f"columns_renamed: a column has two new names in {pairs!r}; leave one of them out.")
    return names


def _paths(paths: Any) -> Any:
    """Return paths of any kind as texts; the spec refuses what are none."""
    if not isinstance(paths, Iterable):
        return paths
    return [os.fspath(path) if isinstance(path, os.PathLike) else path for path in paths]


def _session() -> SparkSession:
    """Return the active session, or a new one whose workers run on this Python, which has the packages they need."""
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return SparkSession.builder.getOrCreate()
