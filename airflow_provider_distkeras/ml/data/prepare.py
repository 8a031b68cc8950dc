"""Files to a DataFrame of features and labels, by Spark ML stages that are fitted on them, or were on other files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.ml import PipelineModel, Transformer
from pyspark.ml.feature import StringIndexerModel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.feature_layout import FeatureLayout
from airflow_provider_distkeras.contract.label_columns import is_label, label_roles
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.ml.data import feature_layout, pipeline
from airflow_provider_distkeras.ml.data.feature_layout import index_of
from airflow_provider_distkeras.ml.data.feature_plan import FeaturePlan
from airflow_provider_distkeras.ml.data.profile_checks import (
    check_bad_records,
    check_float32,
    check_header,
    check_prepared_like,
    check_profile,
    log_left_out,
    warn_of_new_classes,
)
from airflow_provider_distkeras.ml.data.profiling import DataProfile, ProfileRequest
from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
from airflow_provider_distkeras.ml.data.sources import open_source
from airflow_provider_distkeras.ml.data.sources.base import Source
from airflow_provider_distkeras.ml.data.sources.sql import as_number


@dataclass(frozen=True)
class PreparedData:
    """Files made ready for training.

    Attributes:
        data: The columns used, the stages' own, `features` (vector), and the columns with other roles, such as the labels.
        pipeline: The fitted stages, for new files.
        roles: Name per role of the columns that are no features.
        kinds: Kind per column.
        inputs: The columns assembled into `features`, in order; none where the stages were fitted on other files.
        source: The files.
        profile: The profile of their columns.
    """

    data: DataFrame
    pipeline: PipelineModel
    roles: dict[str, str]
    kinds: dict[str, str]
    inputs: list[feature_layout.FeatureInput]
    source: Source
    profile: DataProfile

    @property
    def feature_columns(self) -> list[str]:
        """The columns that became `features`, in order."""
        return [*selected_columns(self.pipeline).getOrDefault("kinds")]

    @property
    def kinds_in_files(self) -> dict[str, str]:
        """Kind per column, by its name in the files."""
        return {self.source.names_in_files[name]: kind for name, kind in self.kinds.items()}

    @property
    def layout(self) -> FeatureLayout:
        """What fills which positions of `features`."""
        return FeatureLayout.of(selected_columns(self.pipeline).getOrDefault("layout"))


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
    check_float32(plan, profile)
    log_left_out(profile)
    inputs = feature_layout.inputs_of(plan, profile.profiles)
    indexers = [_label_indexer(label.name, profile) for label in plan.labels if label.kind == "text"]
    fitted = [*indexers, *pipeline.fit(spark, inputs, plan.calendar, plan.scaling)]
    layout = feature_layout.layout_of(inputs)
    data = plan.select_columns({}, layout).transform(source.rows(spark))
    required = [name for name in plan.required if name in plan.roles.values()]
    data = PipelineModel(fitted).transform(data.dropna(subset=required) if required else data)
    renamed = {old: new for new, old in source.names_in_files.items() if old != new}
    stages = PipelineModel([plan.select_columns(renamed, layout), *fitted])
    return PreparedData(data, stages, plan.roles, plan.kinds, inputs, source, profile)


def prepare_like(spark: SparkSession, spec: PreprocessSpec, preparation: PipelineModel) -> PreparedData:
    """Read the files and prepare them as others were.

    Args:
        spark: the session.
        spec: the files and their format; what it does not say of their dialect is as it was of the others.
        preparation: the stages that were fitted on the others.

    Raises:
        SpecError: the spec has options by which stages would be fitted.
        DataError: the files or their columns are not those that the stages take.
    """
    spec.check_like()
    selected, stages = selected_columns(preparation), preparation.stages[1:]
    spec = spec.with_dialect(selected.getOrDefault("dialect"))
    source = open_source(spark, spec)
    selected.check(source.columns_in_files)
    source, roles = _named(source, selected, stages)
    required = [name for name in source.kinds if selected.getOrDefault("missing").get(name) == "drop"]
    profile = source.profile(spark, ProfileRequest(tuple(source.kinds), tuple(required), held_out=roles.get("validation")))
    check_bad_records(spark, spec, source, profile)
    check_header(spec, source, profile)
    check_prepared_like(selected, profile, roles)
    log_left_out(profile)
    for label in (name for role, name in roles.items() if is_label(role)):
        warn_of_new_classes(pipeline.label_classes(stages, label), profile, label)
    # The source has renamed the columns.
    typed = selected.copy({selected.renamed: {}, selected.dialect: spec.dialect.to_dict()})
    rows = source.rows(spark)
    data = PipelineModel([typed, *stages]).transform(rows.dropna(subset=required) if required else rows)
    return PreparedData(data, preparation, roles, dict(source.kinds), [], source, profile)


def selected_columns(preparation: PipelineModel) -> SelectColumns:
    """Return the first stage of a preparation."""
    selected = preparation.stages[0]
    assert isinstance(selected, SelectColumns)
    return selected


def _named(source: Source, selected: SelectColumns, stages: Sequence[Transformer]) -> tuple[Source, dict[str, str]]:
    """Return the source with the columns that a preparation uses, and those of them that are no features, by role."""
    names = source.columns_in_files
    kinds_of_labels = {label: "text" if pipeline.label_classes(stages, label) else "number" for label in selected.labels}
    labels = {role: [label, kinds_of_labels[label]] for role, label in label_roles(kinds_of_labels).items()}
    roles = {**labels, **selected.getOrDefault("roles")}
    kinds = {**selected.getOrDefault("kinds"), **dict(roles.values())}
    used = selected.used(names, kinds)
    source = source.with_names(used, [name for name in names if name not in used])
    in_files = {role: name for role, (name, _) in roles.items() if name in used.values()}
    return source.with_kinds({new: kinds[new] for new in used.values()}), in_files


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
