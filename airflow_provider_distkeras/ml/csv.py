"""From CSV files to a DataFrame of features and label, by Spark ML stages that are kept with the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import Imputer, MinMaxScaler, OneHotEncoder, StandardScaler, StringIndexer, VectorAssembler
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.header import ColumnPlan, InputFiles, inspect, refuse_reserved
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.ml import reading
from airflow_provider_distkeras.ml.columns import SelectColumns
from airflow_provider_distkeras.ml.storage import storage_for

FEATURES = "features"


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
        columns_renamed=dict(columns_renamed),
        excluded_columns=list(excluded_columns),
        num_workers=num_workers,
        **options,
    )
    prepared = prepare(SparkSession.builder.getOrCreate(), spec)
    data = prepared.data.select(*prepared.feature_columns, FEATURES, label_of(prepared.data, spec.label_col))
    return data.repartition(num_workers) if num_workers else data


def prepare(spark: SparkSession, spec: PreprocessSpec) -> Prepared:
    """Read the files, fit the stages and apply them. Raises DataError as `process_csv`."""
    storage = storage_for(spark, spec.input_path[0])
    files = inspect(storage, spec.input_path, spec.delimiter)
    plan = ColumnPlan(spec.columns_renamed, spec.excluded_columns, spec.label_col, spec.categorical_columns)
    features = plan.check(files.columns)
    selected = _select(spark, spec, files, features)
    types = _types(spec, selected, files.columns)
    raw = reading.read_csv(spark, files, types, spec.delimiter).persist()
    rows = _check_values(raw, spec, types)
    data = selected.transform(reading.without_corrupt(raw))
    if spec.missing == "drop":
        data = data.dropna(subset=[spec.label_col])
    stages = Pipeline(stages=_stages(spec, features)).fit(data)
    raw.unpersist()
    pipeline = PipelineModel([selected, *stages.stages])
    return Prepared(stages.transform(data), pipeline, features, files, rows)


def apply(spark: SparkSession, pipeline: PipelineModel, paths: list[str], delimiter: str) -> tuple[DataFrame, InputFiles, int]:
    """Read new files as a fitted pipeline expects them.

    Returns:
        The raw rows (every column of the files), the files, and how many rows they hold.

    Raises:
        DataError: a column is missing, values do not fit its type, or values are missing that the pipeline cannot fill.
    """
    selected = next(stage for stage in pipeline.stages if isinstance(stage, SelectColumns))
    files = inspect(storage_for(spark, paths[0]), paths, delimiter)
    selected.check(files.columns)
    refuse_reserved(files.columns)
    types = selected.types_of(files.columns)
    data = reading.read_csv(spark, files, types, delimiter)
    fills = any(stage.__class__.__name__ == "ImputerModel" for stage in pipeline.stages)
    numeric = [] if fills or selected.getOrDefault("dropMissing") else [name for name, kind in types.items() if kind == "double"]
    found = reading.survey(data, {f"missing {name}": reading.count_missing(name, numeric=True) for name in numeric})
    lacking = {name: found[f"missing {name}"] for name in numeric if found[f"missing {name}"]}
    if lacking:
        raise DataError(f"Missing values in {_listed(lacking)}; the model was prepared with missing='fail'. Fill them first.")
    return reading.without_corrupt(data), files, found["rows"]


def label_of(data: DataFrame, label_col: str) -> Column:
    """The label as a number, under its own name: its class number where it was declared categorical."""
    indexed = index_of(label_col)
    return F.col(indexed if indexed in data.columns else label_col).try_cast("double").alias(label_col)


def index_of(name: str) -> str:
    """The column that holds a category's number."""
    return f"{name}__index"


def _select(spark: SparkSession, spec: PreprocessSpec, files: InputFiles, features: list[str]) -> SelectColumns:
    """Decide each feature's type. Raises DataError for one that holds neither numbers nor declared categories."""
    types = {
        spec.columns_renamed.get(name, name): kind for name, kind in reading.infer_types(spark, files, spec.delimiter).items()
    }
    for name in features:
        if name not in spec.categorical_columns and not reading.is_number(types[name]):
            raise DataError(_not_a_number(spark, spec, files, name, types[name].simpleString()))
    if spec.label_col not in spec.categorical_columns and not reading.is_number(types[spec.label_col]):
        raise DataError(_not_a_number(spark, spec, files, spec.label_col, types[spec.label_col].simpleString(), label=True))
    return SelectColumns(
        renamed={old: new for old, new in spec.columns_renamed.items() if old not in spec.excluded_columns},
        types={name: "string" if name in spec.categorical_columns else "double" for name in features},
        labelCol=spec.label_col,
        dropMissing=spec.missing == "drop",
    )


def _not_a_number(spark: SparkSession, spec: PreprocessSpec, files: InputFiles, name: str, kind: str, label: bool = False) -> str:
    raw = _raw_name(spec, name)
    texts = reading.read_csv(spark, files, {}, spec.delimiter).select(F.col(f"`{raw}`").alias("value"))
    odd = texts.where(F.col("value").isNotNull() & F.col("value").try_cast("double").isNull()).first()
    holds = (
        f"holds {'dates' if kind in ('date', 'timestamp', 'timestamp_ntz') else 'text'} such as {odd['value']!r}"
        if odd
        else "is empty"
    )
    if label:
        fix = f"For classes, add {name!r} to categorical_columns; for a regression, the label must be numbers."
    else:
        fix = f"Add it to categorical_columns=[{name!r}] to one-hot encode it, or to excluded_columns=[{raw!r}] to leave it out."
    return f"The {'label ' if label else ''}column {name!r} {holds}; expected numbers. {fix}"


def _types(spec: PreprocessSpec, selected: SelectColumns, columns: list[str]) -> dict[str, str]:
    """Spark type per raw column that is used, the label included."""
    label_type = "string" if spec.label_col in spec.categorical_columns else "double"
    return {**selected.types_of(columns), _raw_name(spec, spec.label_col): label_type}


def _raw_name(spec: PreprocessSpec, name: str) -> str:
    return next((old for old, new in spec.columns_renamed.items() if new == name), name)


def _check_values(raw: DataFrame, spec: PreprocessSpec, types: dict[str, str]) -> int:
    """One pass over the rows. Raises DataError for missing values that the policy does not cover; returns the number of rows."""
    label = _raw_name(spec, spec.label_col)
    counts = {f"missing {name}": reading.count_missing(name, numeric=kind == "double") for name, kind in types.items()}
    infinite = {
        f"infinite {name}": F.count(F.when(F.abs(F.col(f"`{name}`")) == float("inf"), 1))
        for name, kind in types.items()
        if kind == "double"
    }
    found = reading.survey(raw, {**counts, **infinite})
    boundless = {
        name: found[f"infinite {name}"] for name, kind in types.items() if kind == "double" and found[f"infinite {name}"]
    }
    if boundless:
        raise DataError(f"Infinite values in {_listed(boundless, 'infinite ')}. Correct them, or exclude those columns.")
    lacking = {name: found[f"missing {name}"] for name in types if found[f"missing {name}"]}
    empty = [name for name, count in lacking.items() if count == found["rows"]]
    if empty:
        raise DataError(f"The column {empty[0]!r} has no value in any row. Add it to excluded_columns, or fill it.")
    if spec.missing == "fail" and lacking:
        raise DataError(
            f"Missing values in {_listed(lacking)}. Set missing='mean' to fill numbers with the mean, missing='drop' to drop "
            "such rows, or fill them first."
        )
    if label in lacking and spec.missing != "drop":
        raise DataError(
            f"The label {spec.label_col!r} is missing in {lacking[label]} rows. Set missing='drop', or fill it first."
        )
    return int(found["rows"])


def _listed(counts: dict[str, int], prefix: str = "") -> str:
    return ", ".join(f"{name.removeprefix(prefix)!r} ({count} rows)" for name, count in counts.items())


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
