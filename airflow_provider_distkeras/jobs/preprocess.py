"""CSV files to a prepared dataset and the pipeline that prepared it."""

from __future__ import annotations

import logging
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.jobs.runner import Outcome, main
from airflow_provider_distkeras.ml import csv, drift
from airflow_provider_distkeras.ml.features import as_floats, count_values, write_floats
from airflow_provider_distkeras.ml.reading import Survey
from airflow_provider_distkeras.ml.storage import storage_for

logger = logging.getLogger("airflow_provider_distkeras.jobs")


def preprocess(spark: SparkSession, spec: PreprocessSpec, folder: str) -> Outcome:
    """Write `dataset` (features as float32 arrays, and the label), `pipeline`, and perhaps `quarantine`, into the folder."""
    earlier = drift.profile_of(storage_for(spark, spec.compare_with), spec.compare_with) if spec.compare_with else None
    prepared = csv.prepare(spark, spec)
    found = prepared.found
    moved = _drift(spec, earlier, found) if earlier else {}
    logger.info("%s rows in %d files", f"{found.rows:,}", len(prepared.files.sizes))
    data = prepared.data.select(
        as_floats(prepared.data, csv.FEATURES).alias(csv.FEATURES), csv.label_of(prepared.data, spec.label_col).alias("label")
    )
    if spec.num_workers:
        data = data.repartition(spec.num_workers)
    dataset_path, pipeline_path = f"{folder}/dataset", f"{folder}/pipeline"
    write_floats(data, dataset_path)
    written = spark.read.parquet(dataset_path).agg(F.count(F.lit(1))).collect()[0][0]
    if written != found.kept:
        raise DataError(f"{found.kept:,} rows were read at first, {written:,} the second time: have the files changed meanwhile?")
    prepared.pipeline.write().save(pipeline_path)
    if found.bad and spec.bad_lines == "quarantine":
        prepared.reader.bad_records(spark).write.json(f"{folder}/quarantine")
    logger.info("%s rows prepared, %s dropped, %s bad lines", f"{written:,}", f"{found.rows - written:,}", f"{found.bad:,}")
    return Outcome(
        result={
            "dataset_path": dataset_path,
            "pipeline_path": pipeline_path,
            "rows": written,
            "rejected_rows": found.rows - written + found.bad,
            "feature_columns": prepared.feature_columns,
        },
        inputs=prepared.files.sizes,
        details={
            "features": count_values(prepared.data, csv.FEATURES),
            "label_col": spec.label_col,
            "bad_lines": found.bad,
            "kinds": dict(prepared.reader.kinds),
            "profile": {name: profile.describe() for name, profile in found.profiles.items()},
            **moved,
        },
    )


def _drift(spec: PreprocessSpec, earlier: drift.Described, found: Survey) -> dict[str, Any]:
    """How far the columns have moved, for the manifest. Raises DataError if one has moved too far."""
    moved = drift.compare(earlier, found.profiles)
    logger.info("drift (PSI): %s", moved)
    if spec.max_drift is not None:
        moved.check(spec.max_drift, str(spec.compare_with))
    return moved.to_dict()


if __name__ == "__main__":
    main(preprocess)
