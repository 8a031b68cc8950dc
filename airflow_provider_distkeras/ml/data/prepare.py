"""Files to a DataFrame of features and labels, by Spark ML stages that are saved with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.ml import PipelineModel
from pyspark.ml.feature import StringIndexerModel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.feature_layout import FeatureLayout
from airflow_provider_distkeras.contract.label_columns import is_label
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.ml.data import feature_layout, pipeline
from airflow_provider_distkeras.ml.data.feature_layout import index_of
from airflow_provider_distkeras.ml.data.feature_plan import FeaturePlan
from airflow_provider_distkeras.ml.data.profile_checks import check_bad_records, check_header, check_profile, log_losses
from airflow_provider_distkeras.ml.data.profiling import DataProfile
from airflow_provider_distkeras.ml.data.sources import open_source
from airflow_provider_distkeras.ml.data.sources.base import Source
from airflow_provider_distkeras.ml.data.sources.sql import as_number


@dataclass(frozen=True)
class PreparedData:
    """Files made ready for training.

    Attributes:
        data: The columns used, the stages' own, `features` (vector), and the columns with other roles, such as the labels.
        pipeline: The fitted stages, for new files.
        plan: What becomes of each column.
        inputs: The columns assembled into `features`, in order.
        layout: What fills which positions of `features`.
        source: The files.
        profile: The profile of their columns.
    """

    data: DataFrame
    pipeline: PipelineModel
    plan: FeaturePlan
    inputs: list[feature_layout.FeatureInput]
    layout: FeatureLayout
    source: Source
    profile: DataProfile

    @property
    def feature_columns(self) -> list[str]:
        """The columns that became `features`, in order."""
        return [column.name for column in self.plan.features]


def prepare(spark: SparkSession, spec: PreprocessSpec) -> PreparedData:
    """Read the files, fit the stages and apply them.

    Raises:
        DataError: the files or their columns do not fit the spec.
    """
    source = open_source(spark, spec).with_names(spec.columns_renamed, spec.excluded_columns)
    plan = FeaturePlan.of(spec, source)
    source = source.with_kinds(plan.kinds)
    profile = source.profile(spark, plan.profile_request)
    check_bad_records(spark, spec, source, profile)
    check_header(spec, source, profile)
    check_profile(plan, profile)
    log_losses(plan, profile)
    inputs = feature_layout.inputs_of(plan, profile.profiles)
    indexers = [_label_indexer(label.name, profile) for label in plan.labels if label.kind == "text"]
    fitted = [*indexers, *pipeline.fit(spark, inputs, plan.calendar, plan.scaling)]
    layout = feature_layout.layout_of(inputs)
    data = plan.select_columns({}, layout).transform(source.rows(spark))
    required = [name for name in plan.required if name in plan.roles.values()]
    data = PipelineModel(fitted).transform(data.dropna(subset=required) if required else data)
    renamed = {old: new for new, old in source.names_in_files.items() if old != new}
    return PreparedData(
        data, PipelineModel([plan.select_columns(renamed, layout), *fitted]), plan, inputs, layout, source, profile
    )


def role_columns(data: DataFrame, roles: Mapping[str, str]) -> dict[str, Column]:
    """Return the columns that are no features, under their own names, by role. A fold that is no whole number is null."""
    columns = {role: label_of(data, name) if is_label(role) else F.col(name) for role, name in roles.items()}
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


def _label_indexer(name: str, profile: DataProfile) -> StringIndexerModel:
    """Return the stage that numbers the classes of a label."""
    classes = {*profile.profiles[name].texts.to_pylist(), *profile.held_out[name].texts.to_pylist()}
    return pipeline.label_indexer(name, list(classes))


def label_of(data: DataFrame, label_col: str) -> Column:
    """Return the label as a number under its own name: its class number where it was declared categorical."""
    indexed = index_of(label_col)
    return F.expr(as_number(indexed if indexed in data.columns else label_col)).alias(label_col)
