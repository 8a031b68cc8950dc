"""Files to DataFrames in a notebook: `process_csv`, and `preparation_of` what it returned."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from pyspark.ml import PipelineModel, Transformer
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.feature_layout import FeatureLayout
from airflow_provider_distkeras.contract.label_columns import is_label, label_roles
from airflow_provider_distkeras.contract.specs import InputSpec, PreprocessSpec
from airflow_provider_distkeras.ml.data.pipeline import FEATURES, label_classes, standardizes
from airflow_provider_distkeras.ml.data.prepare import PreparedData, prepare, role_columns
from airflow_provider_distkeras.ml.data.profile import TextProfile
from airflow_provider_distkeras.ml.data.profile_checks import (
    check_bad_records,
    check_header,
    check_prepared_like,
    listed,
    log_left_out,
)
from airflow_provider_distkeras.ml.data.profiling import DataProfile, ProfileRequest
from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
from airflow_provider_distkeras.ml.data.sources import open_source
from airflow_provider_distkeras.ml.data.sources.base import Source
from airflow_provider_distkeras.spark.columns import mark_standardized

logger = logging.getLogger(__name__)

#: Where the metadata of a DataFrame's features name the preparation that made them; filters, splits and caches keep it.
_PREPARATION = "distkeras_preparation"
#: The preparations of this process, by that name, and the files that each was fitted on.
_preparations: dict[str, tuple[PipelineModel, Mapping[str, int]]] = {}


def process_csv(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    columns_renamed: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    excluded_columns: Sequence[str] = (),
    num_workers: int | None = None,
    *,
    like: DataFrame | PipelineModel | None = None,
    **options: Any,
) -> DataFrame:
    """Read CSV files, or of another `input_format`, into a DataFrame with `features` (vector) and `label`, ready for `DistKeras`.

    Args:
        path: a path, a glob, a directory, or a list of them.
        columns_renamed: (old, new) names, such as [("cnt", "label")].
        excluded_columns: columns to leave out.
        num_workers: partitions of the result.
        like: what this function returned for the training files, or its `preparation_of`, to prepare these files as those were:
            by the same columns, categories, fillings and scales, and in the same dialect. Takes options about files only.
        **options: the other fields of `PreprocessSpec`, such as label_col, categorical_columns, missing, scaling, delimiter.

    Returns:
        The features' columns, `features`, and the columns that were named for labels, weights, folds and the like; with `like`
        the same ones, as far as the files have them.

    Raises:
        SpecError: an option that does not exist or has a wrong value.
        DataError: the files or their columns do not fit the options.
    """
    paths = [os.fspath(path)] if isinstance(path, (str, os.PathLike)) else _paths(path)
    if like is not None:
        fitting = {"columns_renamed": columns_renamed, "excluded_columns": excluded_columns, **options}
        given = {name: value for name, value in fitting.items() if name in options or value}
        return _prepared_like(_session(), preparation_of(like), paths, num_workers, given)
    spec = PreprocessSpec.build(
        input_path=paths,
        columns_renamed=_as_dict(columns_renamed),
        excluded_columns=excluded_columns if isinstance(excluded_columns, str) else list(excluded_columns),
        num_workers=num_workers,
        **options,
    )
    if spec.compare_with:
        raise SpecError("compare_with: process_csv writes no manifest to report the drift in; use DistKerasPreprocessOperator.")
    prepared = prepare(_session(), spec)
    _warn_of_second_fit(prepared)
    _preparations[prepared.pipeline.uid] = prepared.pipeline, prepared.source.sizes
    roles = role_columns(prepared.data, prepared.plan.roles).values()
    data = prepared.data.select(*prepared.feature_columns, _named_features(prepared.data, prepared.pipeline), *roles)
    return data.repartition(spec.num_workers) if spec.num_workers else data


def preparation_of(data: DataFrame | PipelineModel) -> PipelineModel:
    """Return the fitted stages from raw columns to features that made a DataFrame of `process_csv`, or a DataFrame made of that.

    Save them, alone or before a model: `PipelineModel([*preparation_of(df_train).stages, model])` takes raw columns.

    Args:
        data: the DataFrame. A PipelineModel that begins with such stages stands for itself, as one that was loaded.

    Raises:
        SpecError: it is nothing of the kind, or was made in another process.
    """
    if isinstance(data, PipelineModel):
        stages = [stage for stage in data.stages if not stage.hasParam("predictionCol")]
        if stages and isinstance(stages[0], SelectColumns):
            return PipelineModel(stages)
    elif isinstance(data, DataFrame) and FEATURES in data.columns:
        name = data.schema[FEATURES].metadata.get(_PREPARATION)
        if name in _preparations:
            return _preparations[name][0]
    raise SpecError(
        f"like: expected a DataFrame that process_csv returned in this process, or its preparation, received {data!r}. In "
        "another process, use the PipelineModel that preparation_of(df_train).save(path) has saved."
    )


def _named_features(data: DataFrame, preparation: PipelineModel) -> Column:
    """Return the features with metadata that hold their layout, name their preparation, and say whether it standardizes them."""
    data = mark_standardized(data, FEATURES) if standardizes(preparation.stages) else data
    layout = FeatureLayout.of(_selected(preparation).getOrDefault("layout"))
    metadata = {**data.schema[FEATURES].metadata, **(layout.to_metadata() if layout.size else {}), _PREPARATION: preparation.uid}
    return F.col(FEATURES).alias(FEATURES, metadata=metadata)


def _warn_of_second_fit(prepared: PreparedData) -> None:
    """Warn if other files with these columns were prepared before, whose features would have other meanings."""
    is_fitted = any(each.is_fitted for each in prepared.inputs)
    if not (is_fitted or any(label.kind == "text" for label in prepared.plan.labels)):
        return
    kinds = _selected(prepared.pipeline).getOrDefault("kinds")
    earlier = [files for pipeline, files in _preparations.values() if _selected(pipeline).getOrDefault("kinds") == kinds]
    if earlier and prepared.source.sizes not in earlier:
        warnings.warn(
            "Files with the same columns were prepared before, by categories, fillings and scales of their own. If a model of "
            "those is to predict these, use process_csv(path, like=df_train).",
            stacklevel=3,
        )


def _prepared_like(
    spark: SparkSession, preparation: PipelineModel, paths: Any, num_workers: int | None, options: Mapping[str, Any]
) -> DataFrame:
    """Return files prepared as others were.

    Args:
        spark: the session.
        preparation: the stages that were fitted on the others.
        paths: the files.
        num_workers: partitions of the result.
        options: fields of `InputSpec`; the others have the values of the others' dialect.
    """
    reading = {field.name for field in fields(InputSpec)}
    useless = [name for name in options if name not in reading]
    if useless:
        raise SpecError(
            f"{useless[0]}: with like, files are prepared as those before; expected only options about how they are written. "
            "Leave it out."
        )
    selected, stages = _selected(preparation), preparation.stages[1:]
    spec = _FilesLike.build(input_path=paths, num_workers=num_workers, **{**selected.getOrDefault("dialect"), **options})
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
        _warn_of_new_classes(stages, profile, label)
    # The source has renamed the columns.
    typed = selected.copy({selected.renamed: {}, selected.dialect: spec.dialect.to_dict()})
    rows = source.rows(spark)
    data = PipelineModel([typed, *stages]).transform(rows.dropna(subset=required) if required else rows)
    data = data.select(*selected.getOrDefault("kinds"), _named_features(data, preparation), *role_columns(data, roles).values())
    return data.repartition(spec.num_workers) if spec.num_workers else data


class _FilesLike(PreprocessSpec):
    """Files that are prepared as others were."""

    @property
    def left_out(self) -> None:
        """None, as the preparation alone knows which columns are not used."""
        return


def _named(source: Source, selected: SelectColumns, stages: Sequence[Transformer]) -> tuple[Source, dict[str, str]]:
    """Return the source with the columns that a preparation uses, and those of them that are no features, by role."""
    names = source.columns_in_files
    kinds_of_labels = {label: "text" if label_classes(stages, label) else "number" for label in selected.labels}
    labels = {role: [label, kinds_of_labels[label]] for role, label in label_roles(kinds_of_labels).items()}
    roles = {**labels, **selected.getOrDefault("roles")}
    kinds = {**selected.getOrDefault("kinds"), **dict(roles.values())}
    used = selected.used(names, kinds)
    source = source.with_names(used, [name for name in names if name not in used])
    in_files = {role: name for role, (name, _) in roles.items() if name in used.values()}
    return source.with_kinds({new: kinds[new] for new in used.values()}), in_files


def _warn_of_new_classes(stages: Sequence[Transformer], profile: DataProfile, label: str) -> None:
    """Warn of labels that are no class of the training files."""
    classes = label_classes(stages, label)
    if classes:
        parts = (profile.profiles[label], profile.held_out[label])
        counts = sum((part.counts for part in parts if isinstance(part, TextProfile)), Counter[str]())
        new = {text: count for text, count in counts.most_common() if text not in classes}
        if new:
            logger.warning(
                "%d labels in %r are no class of the training files, so that no prediction of them is right: %s. Expected %s.",
                sum(new.values()), label, listed(dict(list(new.items())[:5])), ", ".join(map(repr, classes[:5])),
            )  # fmt: skip


def _selected(preparation: PipelineModel) -> SelectColumns:
    """Return the first stage of a preparation."""
    selected = preparation.stages[0]
    assert isinstance(selected, SelectColumns)
    return selected


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
