"""Files to DataFrames in a notebook: `process_csv`, and `preparation_of` what it returned."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.feature_layout import FeatureLayout
from airflow_provider_distkeras.contract.label_columns import is_label
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.ml.data.pipeline import FEATURES, standardizes
from airflow_provider_distkeras.ml.data.prepare import PreparedData, prepare, prepare_like, role_columns, selected_columns
from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
from airflow_provider_distkeras.spark.columns import mark_standardized

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
        preparation = preparation_of(like)
        spec = PreprocessSpec.build(input_path=paths, num_workers=num_workers, like=preparation.uid, **given)
        return _prepared_data(prepare_like(_session(), spec, preparation), spec)
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
    return _prepared_data(prepared, spec)


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


def _prepared_data(prepared: PreparedData, spec: PreprocessSpec) -> DataFrame:
    """Return the columns that `process_csv` does."""
    roles = role_columns(prepared.data, prepared.roles).values()
    data = prepared.data.select(*prepared.feature_columns, _named_features(prepared.data, prepared.pipeline), *roles)
    return data.repartition(spec.num_workers) if spec.num_workers else data


def _named_features(data: DataFrame, preparation: PipelineModel) -> Column:
    """Return the features with metadata that hold their layout, name their preparation, and say whether it standardizes them."""
    data = mark_standardized(data, FEATURES) if standardizes(preparation.stages) else data
    layout = FeatureLayout.of(selected_columns(preparation).getOrDefault("layout"))
    metadata = {**data.schema[FEATURES].metadata, **(layout.to_metadata() if layout.size else {}), _PREPARATION: preparation.uid}
    return F.col(FEATURES).alias(FEATURES, metadata=metadata)


def _warn_of_second_fit(prepared: PreparedData) -> None:
    """Warn if other files with these columns were prepared before, whose features would have other meanings."""
    is_fitted = any(each.is_fitted for each in prepared.inputs)
    if not (is_fitted or any(prepared.kinds[name] == "text" for role, name in prepared.roles.items() if is_label(role))):
        return
    kinds = selected_columns(prepared.pipeline).getOrDefault("kinds")
    earlier = [files for pipeline, files in _preparations.values() if selected_columns(pipeline).getOrDefault("kinds") == kinds]
    if earlier and prepared.source.sizes not in earlier:
        warnings.warn(
            "Files with the same columns were prepared before, by categories, fillings and scales of their own. If a model of "
            "those is to predict these, use process_csv(path, like=df_train).",
            stacklevel=3,
        )


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
