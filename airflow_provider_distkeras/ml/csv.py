"""From CSV files to a DataFrame of features and label, by Spark ML stages that are kept with the model."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import Imputer, ImputerModel, MinMaxScaler, OneHotEncoder, StandardScaler, StringIndexer, VectorAssembler
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.header import ColumnPlan, InputFiles, inspect, refuse_reserved
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.ml import reading
from airflow_provider_distkeras.ml.columns import SelectColumns
from airflow_provider_distkeras.ml.storage import storage_for

FEATURES = "features"

#: Bytes of CSV below which another task costs more, importing Keras, than it helps.
_WORTH_A_TASK = 4 * 1024 * 1024


@dataclass(frozen=True)
class Prepared:
    """CSV files made ready for training.

    Attributes:
        data: the columns used, the stages' own, `features` (vector) and the label.
        pipeline: the fitted stages, for new files.
        feature_columns: the columns in `features`, in order, by their new names.
        files: the files that were read.
        rows: rows in the files.
    """

    data: DataFrame
    pipeline: PipelineModel
    feature_columns: list[str]
    files: InputFiles
    rows: int


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
    prepared = prepare(_session(), spec)
    data = prepared.data.select(*prepared.feature_columns, FEATURES, label_of(prepared.data, spec.label_col))
    return data.repartition(num_workers) if num_workers else data


def prepare(spark: SparkSession, spec: PreprocessSpec) -> Prepared:
    """Read the files, fit the stages and apply them. Raises DataError as `process_csv`."""
    files = inspect(storage_for(spark, spec.input_path[0]), spec.input_path, spec.delimiter)
    plan = ColumnPlan(spec.columns_renamed, spec.excluded_columns, spec.label_col, spec.categorical_columns)
    features = plan.check(files.columns)
    raw = reading.read_csv(spark, files, spec.delimiter).persist()
    found = reading.survey(raw)
    _check_values(spec, features, found)
    selected = SelectColumns(
        renamed={old: new for old, new in spec.columns_renamed.items() if old not in spec.excluded_columns},
        types={name: "string" if name in spec.categorical_columns else "double" for name in features},
        labelCol=spec.label_col,
        dropMissing=spec.missing == "drop",
    )
    data = selected.transform(reading.visible(raw))
    if spec.missing == "drop":
        data = data.dropna(subset=[spec.label_col])
    stages = Pipeline(stages=_stages(spec, features)).fit(data)
    raw.unpersist()
    return Prepared(stages.transform(data), PipelineModel([selected, *stages.stages]), features, files, found.rows)


def apply(spark: SparkSession, pipeline: PipelineModel, paths: list[str], delimiter: str) -> tuple[DataFrame, InputFiles, int]:
    """Read new files as a fitted pipeline expects them.

    Returns:
        The raw rows (every column of the files, those that are no features as text, but a label that is a number), the files,
        and how many rows they hold.

    Raises:
        DataError: a column is missing, is not a number where it was one, or has missing values that the pipeline cannot fill.
    """
    selected = next(stage for stage in pipeline.stages if isinstance(stage, SelectColumns))
    files = inspect(storage_for(spark, paths[0]), paths, delimiter)
    selected.check(files.columns)
    refuse_reserved(files.columns)
    data = reading.read_csv(spark, files, delimiter).coalesce(1 + sum(files.sizes.values()) // _WORTH_A_TASK)
    found = reading.survey(data)
    numeric = {name: found.columns[name] for name, kind in selected.types_of(files.columns).items() if kind == "double"}
    for name, facts in numeric.items():
        if facts.texts:
            raise DataError(
                f"The column {name!r} holds text such as {facts.text!r} in {facts.texts} of {found.rows} rows; the model was "
                "trained with numbers there. Correct those rows."
            )
    fills = selected.getOrDefault("dropMissing") or any(isinstance(stage, ImputerModel) for stage in pipeline.stages)
    lacking = {name: facts.missing for name, facts in numeric.items() if facts.missing and not fills}
    if lacking:
        raise DataError(f"Missing values in {_listed(lacking)}; the model was prepared with missing='fail'. Fill them first.")
    data = reading.visible(data)
    label = next((name for name in files.columns if selected.new_name(name) == selected.getOrDefault("labelCol")), None)
    if label is not None and not found.columns[label].texts:
        data = data.withColumn(label, F.expr(reading.as_number(label)))
    return data, files, found.rows


def label_of(data: DataFrame, label_col: str) -> Column:
    """The label as a number, under its own name: its class number where it was declared categorical."""
    indexed = index_of(label_col)
    return F.expr(reading.as_number(indexed if indexed in data.columns else label_col)).alias(label_col)


def index_of(name: str) -> str:
    """The column that holds a category's number."""
    return f"{name}__index"


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


def _check_values(spec: PreprocessSpec, features: list[str], found: reading.Survey) -> None:
    """Raise DataError for text where numbers are expected, and for missing values that the policy does not cover."""
    raw = {new: old for old, new in spec.columns_renamed.items()}
    used = {name: found.columns[raw.get(name, name)] for name in (*features, spec.label_col)}
    numeric = {name: facts for name, facts in used.items() if name not in spec.categorical_columns}
    for name, facts in used.items():
        if facts.missing == found.rows:
            raise DataError(f"The column {name!r} has no value in any row. Add it to excluded_columns, or fill it.")
    for name, facts in numeric.items():
        if facts.texts:
            raise DataError(_not_a_number(name, raw.get(name, name), facts, name == spec.label_col))
    infinite = {name: facts.infinite for name, facts in numeric.items() if facts.infinite}
    if infinite:
        raise DataError(f"Infinite values in {_listed(infinite)}. Correct them, or exclude those columns.")
    lacking = {name: facts.missing for name, facts in used.items() if facts.missing}
    if spec.missing == "fail" and lacking:
        raise DataError(
            f"Missing values in {_listed(lacking)}. Set missing='mean' to fill numbers with the mean, missing='drop' to drop "
            "such rows, or fill them first."
        )
    if spec.label_col in lacking and spec.missing != "drop":
        raise DataError(
            f"The label {spec.label_col!r} is missing in {lacking[spec.label_col]} rows. Set missing='drop', or fill it."
        )


def _not_a_number(name: str, raw: str, facts: reading.ColumnFacts, is_label: bool) -> str:
    if is_label:
        fix = f"For classes, add {name!r} to categorical_columns; for a regression, the label must be numbers."
    else:
        fix = f"Add it to categorical_columns=[{name!r}] to one-hot encode it, or to excluded_columns=[{raw!r}] to leave it out."
    role = "label column" if is_label else "column"
    return f"The {role} {name!r} holds text such as {facts.text!r} in {facts.texts} rows; expected numbers. {fix}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name!r} ({count} rows)" for name, count in counts.items())


def _stages(spec: PreprocessSpec, features: list[str]) -> list[Any]:
    """Spark ML's own stages, from typed columns to `features`; a temporary column is named after what made it."""
    categorical = [name for name in features if name in spec.categorical_columns]
    numeric = [name for name in features if name not in spec.categorical_columns]
    stages: list[Any] = []
    inputs = {name: name for name in numeric}
    if spec.label_col in spec.categorical_columns:
        stages.append(
            StringIndexer(
                inputCol=spec.label_col,
                outputCol=index_of(spec.label_col),
                handleInvalid="keep",
                stringOrderType="alphabetAsc",
            )
        )
    if spec.missing == "mean" and numeric:
        inputs = {name: f"{name}__filled" for name in numeric}
        stages.append(Imputer(strategy="mean", inputCols=numeric, outputCols=list(inputs.values())))
    if categorical:
        indexed, encoded = [index_of(name) for name in categorical], [f"{name}__onehot" for name in categorical]
        # "keep" gives missing and unseen categories an index of their own, the last, which the encoder then drops: all zeros.
        stages.append(
            StringIndexer(inputCols=categorical, outputCols=indexed, handleInvalid="keep", stringOrderType="alphabetAsc")
        )
        stages.append(OneHotEncoder(inputCols=indexed, outputCols=encoded, dropLast=True))
        inputs.update(zip(categorical, encoded, strict=True))
    assembled = f"{FEATURES}__unscaled" if spec.scaling else FEATURES
    stages.append(VectorAssembler(inputCols=[inputs[name] for name in features], outputCol=assembled, handleInvalid="error"))
    if spec.scaling == "standard":
        stages.append(StandardScaler(inputCol=assembled, outputCol=FEATURES, withMean=True, withStd=True))
    elif spec.scaling == "minmax":
        stages.append(MinMaxScaler(inputCol=assembled, outputCol=FEATURES))
    return stages
