"""The preprocess job: from files to a prepared dataset and the pipeline that prepared it."""

from __future__ import annotations

import logging
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt, require_claim
from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.label_columns import is_label
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.contract.specs.preprocess import PreprocessDetails
from airflow_provider_distkeras.jobs.runner import JobResult, main
from airflow_provider_distkeras.ml.data import drift, prepare
from airflow_provider_distkeras.ml.data.pipeline import FEATURES, scaling_of
from airflow_provider_distkeras.ml.data.profile import Profile
from airflow_provider_distkeras.ml.scoring.trained_model import TrainedModel
from airflow_provider_distkeras.spark.columns import as_floats, count_values, write_floats
from airflow_provider_distkeras.spark.progress import ProgressReporter, tasks
from airflow_provider_distkeras.spark.storage import literal, storage_for

logger = logging.getLogger("airflow_provider_distkeras.jobs")


def preprocess(spark: SparkSession, spec: PreprocessSpec, attempt: Attempt, reporter: ProgressReporter) -> JobResult:
    """Write `dataset`, `pipeline`, and perhaps `quarantine`, into the attempt.

    The dataset has `features` (float32 arrays) and `label`, or for each of several labels `label_` and its name; where the spec
    names such columns `weight`, `fold` and `validation`; and `filled`, the positions in the features where a statistic stands for
    a missing value, if that may be.
    """
    reporter.begin("reading", 0.5, tasks(spark.sparkContext))
    earlier = drift.profile_of(storage_for(spark, spec.compare_with), spec.compare_with) if spec.compare_with else None
    prepared = _prepared(spark, spec)
    profile, source = prepared.profile, prepared.source
    profiles = {name: profile.profiles[name] for name in prepared.kinds}
    drifted = _drift(spec, earlier, profiles) if earlier else {}
    logger.info("%s rows in %d files", f"{profile.rows:,}", len(source.sizes))
    data = _dataset(prepared)
    if spec.num_workers:
        data = data.repartition(spec.num_workers)
    dataset_path, pipeline_path = f"{attempt.path}/dataset", f"{attempt.path}/pipeline"
    reporter.begin("writing", 0.45, tasks(spark.sparkContext))
    require_claim(storage_for(spark, attempt.path), attempt)  # what Spark writes makes its folders anew
    write_floats(data, dataset_path)
    reporter.begin("checking", 0.05, tasks(spark.sparkContext))
    written = _check_written(spark.read.parquet(literal(dataset_path)), prepared.roles.get("fold"), profile.complete)
    prepared.pipeline.write().save(pipeline_path)
    if profile.bad and spec.bad_lines == "quarantine":
        source.bad_records(spark).write.json(f"{attempt.path}/quarantine")
    logger.info("%s rows prepared, %s dropped, %s bad lines", f"{written:,}", f"{profile.rows - written:,}", f"{profile.bad:,}")
    return JobResult(
        result={
            "dataset_path": dataset_path,
            "pipeline_path": pipeline_path,
            "rows": written,
            "rejected_rows": profile.rows - written + profile.bad,
            "feature_columns": prepared.feature_columns,
        },
        inputs=source.sizes,
        details=_details(spec, prepared, drifted),
    )


def _details(spec: PreprocessSpec, prepared: prepare.PreparedData, drifted: dict[str, Any]) -> PreprocessDetails:
    """Return what the manifest holds beside the result."""
    profile = prepared.profile
    labels = [name for role, name in prepared.roles.items() if is_label(role)]
    return PreprocessDetails(
        features=count_values(prepared.data, FEATURES),
        label_col=labels[0] if len(labels) == 1 else labels,
        bad_lines=profile.bad,
        repeated_headers=profile.headers,
        lacking=profile.lacking,
        validation_rows=profile.held_out[labels[0]].rows,
        scaling=spec.scaling if spec.like is None else scaling_of(prepared.pipeline.stages),
        layout=prepared.layout.to_list(),
        like=spec.like,
        kinds=prepared.kinds_in_files,
        profile={name: profile.profiles[name].describe() for name in prepared.kinds},
        **drifted,
    )


def _prepared(spark: SparkSession, spec: PreprocessSpec) -> prepare.PreparedData:
    """Return the files prepared by stages that are fitted on them, or by those of a model."""
    if spec.like is None:
        return prepare.prepare(spark, spec)
    return prepare.prepare_like(spark, spec, PipelineModel(TrainedModel.load(spec.like).stages))


def _check_written(dataset: DataFrame, fold_col: str | None, expected: int) -> int:
    """Return the number of rows. Raises DataError if it is not the expected one, or if folds are no whole numbers."""
    odd = F.count_if(F.col("fold").isNull()) if fold_col else F.lit(0)
    written, odd_folds = dataset.agg(F.count(F.lit(1)), odd).collect()[0]
    if written != expected:
        raise DataError(f"{expected:,} rows were read at first, {written:,} the second time: have the files changed meanwhile?")
    if odd_folds:
        raise DataError(f"fold_col: expected whole numbers in {fold_col!r}; {odd_folds:,} rows have others. Correct them.")
    return int(written)


def _dataset(prepared: prepare.PreparedData) -> DataFrame:
    """Return the columns of the dataset, named by their roles."""
    data = prepared.data
    roles = {role: column.alias(role) for role, column in prepare.role_columns(data, prepared.roles).items()}
    filled = prepare.filled_positions(prepared.inputs)
    return data.select(
        as_floats(data, FEATURES).alias(FEATURES, metadata=prepared.layout.to_metadata()),
        *roles.values(),
        *([] if filled is None else [filled.alias("filled")]),
    )


def _drift(spec: PreprocessSpec, earlier: drift.Described, profiles: dict[str, Profile]) -> dict[str, Any]:
    """Return the drift of the columns for the manifest. Raises DataError if a column has drifted too far."""
    compared = drift.compare(earlier, profiles)
    logger.info("drift (PSI): %s", compared)
    if spec.max_drift is not None:
        compared.check(spec.max_drift, str(spec.compare_with))
    return compared.to_dict()


if __name__ == "__main__":
    main(preprocess)
