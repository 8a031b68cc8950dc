"""From CSV files to a DataFrame of features and label, by Spark ML stages that are kept with the model."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.header import ColumnPlan, InputFiles, inspect, refuse_reserved
from airflow_provider_distkeras.contract.specs import CsvSpec, PreprocessSpec
from airflow_provider_distkeras.ml import stages
from airflow_provider_distkeras.ml.columns import SelectColumns, as_number
from airflow_provider_distkeras.ml.parsing import infer_kind
from airflow_provider_distkeras.ml.reading import Reader, Survey
from airflow_provider_distkeras.ml.schema import check_survey, kinds_of
from airflow_provider_distkeras.ml.stages import FEATURES, index_of
from airflow_provider_distkeras.ml.storage import storage_for


@dataclass(frozen=True)
class Prepared:
    """CSV files made ready for training.

    Attributes:
        data: the columns used, the stages' own, `features` (vector) and the label.
        pipeline: the fitted stages, for new files.
        feature_columns: the columns in `features`, in order, by their new names.
        reader: what reads the files.
        found: what is in them.
    """

    data: DataFrame
    pipeline: PipelineModel
    feature_columns: list[str]
    reader: Reader
    found: Survey

    @property
    def files(self) -> InputFiles:
        """The files that were read."""
        return self.reader.files


def process_csv(
    path: str | Sequence[str],
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
        **options: the other fields of `PreprocessSpec`: label_col, categorical_columns, missing, scaling, delimiter.

    Raises:
        SpecError: an option that does not exist or has a wrong value.
        DataError: the files or their columns are not what was asked for.
    """
    spec = PreprocessSpec.build(
        input_path=path if isinstance(path, str) else list(path),
        columns_renamed=_as_dict(columns_renamed),
        excluded_columns=excluded_columns if isinstance(excluded_columns, str) else list(excluded_columns),
        num_workers=num_workers,
        **options,
    )
    if spec.compare_with:
        raise SpecError("compare_with: process_csv writes no manifest to tell the drift in; use DistKerasPreprocessOperator.")
    prepared = prepare(_session(), spec)
    data = prepared.data.select(*prepared.feature_columns, FEATURES, label_of(prepared.data, spec.label_col))
    return data.repartition(num_workers) if num_workers else data


def prepare(spark: SparkSession, spec: PreprocessSpec) -> Prepared:
    """Read the files, fit the stages and apply them. Raises DataError as `process_csv`."""
    files = inspect(storage_for(spark, spec.input_path[0]), spec.input_path, spec.dialect)
    plan = ColumnPlan(spec.columns_renamed, spec.excluded_columns, spec.label_col, spec.categorical_columns)
    features = plan.check(files.columns)
    kinds = kinds_of(spec, files, (*features, spec.label_col))
    old = {new: old for old, new in spec.columns_renamed.items()}
    reader = Reader(files, {old.get(name, name): kind for name, kind in kinds.items()}, spec.dialect)
    required = [name for name in kinds if spec.missing_policy(name) == "drop"]
    found = reader.survey(spark, [old.get(name, name) for name in required]).renamed(spec.columns_renamed)
    check_bad_lines(spark, spec, reader, found)
    check_survey(spec, found)
    constants = {name: spec.missing_policy(name) for name in features}
    selected = SelectColumns(
        renamed={old: new for old, new in spec.columns_renamed.items() if old not in spec.excluded_columns},
        kinds={name: kinds[name] for name in features},
        labelCol=spec.label_col,
        required=[name for name in required if name != spec.label_col],
        filled={name: value for name, value in constants.items() if isinstance(value, float)},
    )
    data = selected.transform(reader.read(spark))
    if spec.label_col in required:
        data = data.dropna(subset=[spec.label_col])
    fitted = stages.fit(spark, spec, features, found)
    return Prepared(PipelineModel(fitted).transform(data), PipelineModel([selected, *fitted]), features, reader, found)


def check_bad_lines(spark: SparkSession, spec: CsvSpec, reader: Reader, found: Survey) -> None:
    """Raise DataError for lines that do not fit, unless the policy bears them."""
    if not found.bad:
        return
    everything = found.rows + found.bad
    if spec.bad_lines != "fail" and found.bad <= spec.max_bad_lines * everything:
        return
    text, reason = found.examples[0]
    where = reader.whereabouts(spark, text)
    fix = "or set bad_lines='quarantine' or 'drop'" if spec.bad_lines == "fail" else "or raise max_bad_lines"
    raise DataError(
        f"{found.bad:,} of {everything:,} lines do not fit, such as {where}, {text[:200]!r}: {reason}. Correct them, {fix}."
    )


def apply(spark: SparkSession, selected: SelectColumns, spec: CsvSpec) -> tuple[DataFrame, Reader, Survey]:
    """Read new files as a fitted pipeline, whose first stage is `selected`, expects them.

    Returns:
        The raw rows (every column of the files, those that are no features as text, but a label that is a number), what reads
        them, and what is in them.

    Raises:
        DataError: a column is missing, or lines do not fit.
    """
    files = inspect(storage_for(spark, spec.input_path[0]), spec.input_path, spec.dialect)
    selected.check(files.columns)
    refuse_reserved(files.columns)
    kinds = selected.kinds_of(files.columns)
    reader = Reader(files, {name: kinds.get(name, "text") for name in files.columns}, spec.dialect)
    label = next((name for name in files.columns if selected.new_name(name) == selected.getOrDefault("labelCol")), None)
    found = reader.survey(spark, columns=[label] if label is not None else [])
    check_bad_lines(spark, spec, reader, found)
    data = reader.read(spark)
    if label is not None and infer_kind(found.profiles[label].texts) in ("number", "boolean"):
        data = data.withColumn(label, F.expr(as_number(label)))
    return data, reader, found


def label_of(data: DataFrame, label_col: str) -> Column:
    """The label as a number, under its own name: its class number where it was declared categorical."""
    indexed = index_of(label_col)
    return F.expr(as_number(indexed if indexed in data.columns else label_col)).alias(label_col)


def _as_dict(renamed: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
    try:
        return dict(renamed)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"columns_renamed: expected pairs such as [('cnt', 'label')], or a dict, received {renamed!r}."
        ) from error


def _session() -> SparkSession:
    """The active session; a new one runs its workers on this very Python, which has what they need."""
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return SparkSession.builder.getOrCreate()
