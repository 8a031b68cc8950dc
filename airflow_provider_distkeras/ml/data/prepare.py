"""From CSV files to a DataFrame of features and label, by Spark ML stages that are kept with the model."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.files.csv_header import InputFiles, inspect, is_usable
from airflow_provider_distkeras.contract.specs import CsvSpec, PreprocessSpec
from airflow_provider_distkeras.contract.specs.feature_columns import feature_columns
from airflow_provider_distkeras.ml.data import feature_layout, pipeline
from airflow_provider_distkeras.ml.data.feature_layout import index_of
from airflow_provider_distkeras.ml.data.pipeline import FEATURES
from airflow_provider_distkeras.ml.data.profiling import CsvReader, DataProfile, ProfileRequest
from airflow_provider_distkeras.ml.data.schema import check_survey, kinds_of
from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
from airflow_provider_distkeras.ml.data.sources.csv_parser import infer_kind
from airflow_provider_distkeras.ml.data.sql import as_number
from airflow_provider_distkeras.spark import zstd
from airflow_provider_distkeras.spark.storage import storage_for

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedData:
    """CSV files made ready for training.

    Attributes:
        data: the columns used, the stages' own, `features` (vector), and the columns with other roles, such as the label.
        pipeline: the fitted stages, for new files.
        inputs: what lies where in `features`.
        reader: what reads the files.
        found: what is in them.
    """

    data: DataFrame
    pipeline: PipelineModel
    inputs: list[feature_layout.FeatureInput]
    reader: CsvReader
    found: DataProfile

    @property
    def files(self) -> InputFiles:
        """The files that were read."""
        return self.reader.files

    @property
    def feature_columns(self) -> list[str]:
        """The columns in `features`, in order, by their new names."""
        return list(self.pipeline.stages[0].getOrDefault("kinds"))


def process_csv(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    columns_renamed: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    excluded_columns: Sequence[str] = (),
    num_workers: int | None = None,
    **options: Any,
) -> DataFrame:
    """Read CSV files into a DataFrame with `features` (vector) and `label`, ready for `DistKeras`.

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
        DataError: the files or their columns are not what was asked for.
    """
    spec = PreprocessSpec.build(
        input_path=[os.fspath(path)] if isinstance(path, (str, os.PathLike)) else _paths(path),
        columns_renamed=_as_dict(columns_renamed),
        excluded_columns=excluded_columns if isinstance(excluded_columns, str) else list(excluded_columns),
        num_workers=num_workers,
        **options,
    )
    if spec.compare_with:
        raise SpecError("compare_with: process_csv writes no manifest to tell the drift in; use DistKerasPreprocessOperator.")
    prepared = prepare(_session(), spec)
    data = prepared.data.select(*prepared.feature_columns, FEATURES, *role_columns(prepared.data, spec).values())
    return data.repartition(spec.num_workers) if spec.num_workers else data


def prepare(spark: SparkSession, spec: PreprocessSpec) -> PreparedData:
    """Read the files, fit the stages and apply them. Raises DataError as `process_csv`."""
    files = inspect(storage_for(spark, spec.input_path[0]), spec.input_path, spec.dialect, zstd.decompress_head)
    features = feature_columns(spec, files.columns)
    kinds = kinds_of(spec, files, (*features, *spec.roles.values()))
    old = {new: old for old, new in spec.columns_renamed.items()}
    reader = CsvReader(files, {old.get(name, name): kind for name, kind in kinds.items()}, spec.dialect)
    found = _survey(spark, spec, reader, features, kinds)
    check_bad_lines(spark, spec, reader, found)
    check_survey(spec, found, kinds)
    inputs = feature_layout.inputs_of(spec, features, kinds, found.profiles)
    selected = SelectColumns(
        renamed={old: new for old, new in spec.columns_renamed.items() if old not in spec.excluded_columns},
        kinds={name: kinds[name] for name in features},
        labelCol=spec.label_col,
        missing={name: spec.missing_policy(name) for name in features},
        unseen=spec.unseen_categories,
    )
    fitted = pipeline.fit(spark, inputs, feature_layout.calendar_features(spec, features), spec.scaling)
    if kinds[spec.label_col] == "text":
        classes = {*found.profiles[spec.label_col].texts.to_pylist(), *found.held_out[spec.label_col].texts.to_pylist()}
        fitted.insert(0, pipeline.label_indexer(spec.label_col, list(classes)))
    data = selected.transform(reader.read(spark))
    needed = [name for name in spec.roles.values() if spec.missing_policy(name) == "drop"]
    prepared = PipelineModel(fitted).transform(data.dropna(subset=needed) if needed else data)
    return PreparedData(prepared, PipelineModel([selected, *fitted]), inputs, reader, found)


def _survey(
    spark: SparkSession, spec: PreprocessSpec, reader: CsvReader, features: Sequence[str], kinds: Mapping[str, str]
) -> DataProfile:
    """What is in the files, by new names; only rows to train on tell what features are like."""
    old = {new: old for old, new in spec.columns_renamed.items()}
    times = feature_layout.calendar_features(spec, features)
    times_of_files = [replace(each, column=old.get(each.column, each.column)) for each in times]
    question = ProfileRequest(
        columns=tuple(reader.kinds),
        required=tuple(old.get(name, name) for name in kinds if spec.missing_policy(name) == "drop"),
        calendar=tuple(times_of_files),
        held_out=None if spec.validation_col is None else old.get(spec.validation_col, spec.validation_col),
    )
    names = {before.name: after.name for before, after in zip(times_of_files, times, strict=True)}
    return reader.survey(spark, question).renamed({**spec.columns_renamed, **names})


def check_bad_lines(spark: SparkSession, spec: CsvSpec, reader: CsvReader, found: DataProfile) -> None:
    """Raise DataError for lines that do not fit, unless the policy bears them."""
    if not found.bad:
        return
    everything = found.rows + found.bad
    if spec.bad_lines != "fail" and found.bad <= spec.max_bad_lines * everything:
        return
    text, reason = found.examples[0]
    where = reader.whereabouts(spark, text)
    raise DataError(
        f"{found.bad:,} of {everything:,} lines do not fit, such as {where}, {text[:200]!r}: {reason}. {_fix(spec, found)}"
    )


def _fix(spec: CsvSpec, found: DataProfile) -> str:
    """What to do about lines that do not fit."""
    if "not in the encoding" in found.examples[0][1]:
        return "Set encoding to what they are written in, such as 'cp1252' or 'utf-16'."
    if not found.rows:
        return "As no line fits, what was said of the files does not: check schema, timestamp_columns and the delimiter."
    return "Correct them, " + (
        "or set bad_lines='quarantine' or 'drop'." if spec.bad_lines == "fail" else "or raise max_bad_lines."
    )


def apply(spark: SparkSession, selected: SelectColumns, spec: CsvSpec) -> tuple[DataFrame, CsvReader, DataProfile]:
    """Read new files as a fitted pipeline, whose first stage is `selected`, expects them.

    Returns:
        The raw rows (every column of the files that is `passing_through`, those that are no features as text, but a label that is
        a number), what reads them, and what is in them.

    Raises:
        DataError: a column is missing, or lines do not fit.
    """
    files = inspect(storage_for(spark, spec.input_path[0]), spec.input_path, spec.dialect, zstd.decompress_head)
    selected.check(files.columns)
    kinds, columns = selected.kinds_of(files.columns), passing_through(files.columns)
    reader = CsvReader(files, {name: kinds.get(name, "text") for name in columns}, spec.dialect)
    label = next((name for name in columns if selected.new_name(name) == selected.getOrDefault("labelCol")), None)
    found = reader.survey(spark, ProfileRequest(columns=(label,) if label is not None else ()))
    check_bad_lines(spark, spec, reader, found)
    data = reader.read(spark)
    if label is not None and infer_kind(found.profiles[label].texts) in ("number", "boolean"):
        data = data.withColumn(label, F.expr(as_number(label)))
    return data, reader, found


def passing_through(columns: Sequence[str]) -> list[str]:
    """The columns of rows to score that can stand beside what the model adds; predictions of before, for one, cannot."""
    left_out = [name for name in columns if not is_usable(name)]
    if left_out:
        logger.info("left out, for the model adds columns of these names or Spark ML cannot take them: %s", ", ".join(left_out))
    return [name for name in columns if name not in left_out]


def role_columns(data: DataFrame, spec: PreprocessSpec) -> dict[str, Column]:
    """The columns that are no features, under their own names, by what they are for; null where a fold is no whole number."""
    found = {role: F.col(name) for role, name in spec.roles.items()}
    found["label"] = label_of(data, spec.label_col)
    if "fold" in found:
        fold = found["fold"]
        found["fold"] = F.when(fold == F.floor(fold), fold.cast("int"))
    if "validation" in found:
        found["validation"] = found["validation"] != 0
    return {role: column.alias(spec.roles[role]) for role, column in found.items()}


def filled_positions(inputs: Sequence[feature_layout.FeatureInput]) -> Column | None:
    """Where in a row's features a statistic stands for a missing value; None if that is never so."""
    found, start = [], 0
    for each in inputs:
        value = F.col(each.column)
        if each.fill:
            found.append(F.when(value.isNull() | F.isnan(value), F.lit(start)))
        start += len(each.spreads)
    return F.array_compact(F.array(*found)) if found else None


def label_of(data: DataFrame, label_col: str) -> Column:
    """The label as a number, under its own name: its class number where it was declared categorical."""
    indexed = index_of(label_col)
    return F.expr(as_number(indexed if indexed in data.columns else label_col)).alias(label_col)


def _as_dict(renamed: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
    try:
        pairs = list(renamed.items() if isinstance(renamed, Mapping) else renamed)
        found = dict(pairs)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"columns_renamed: expected pairs such as [('cnt', 'label')], or a dict, received {renamed!r}."
        ) from error
    if len(found) < len(pairs):
        raise SpecError(f"columns_renamed: a column has two new names in {pairs!r}; leave one of them out.")
    return found


def _paths(paths: Any) -> Any:
    """Paths of any kind as texts; what are none is left for the spec to refuse."""
    if not isinstance(paths, Iterable):
        return paths
    return [os.fspath(path) if isinstance(path, os.PathLike) else path for path in paths]


def _session() -> SparkSession:
    """The active session; a new one runs its workers on this very Python, which has what they need."""
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return SparkSession.builder.getOrCreate()
