"""CSV files to a prepared dataset and the pipeline that prepared it."""

from __future__ import annotations

import logging

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.jobs.runner import Outcome, main
from airflow_provider_distkeras.ml import csv
from airflow_provider_distkeras.ml.features import as_floats, count_values

logger = logging.getLogger("airflow_provider_distkeras.jobs")


def preprocess(spark: SparkSession, spec: PreprocessSpec, folder: str) -> Outcome:
    """Write `dataset` (features as float32 arrays, and the label) and `pipeline` into the folder."""
    prepared = csv.prepare(spark, spec)
    logger.info("%s rows in %d files", f"{prepared.rows:,}", len(prepared.files.sizes))
    data = prepared.data.select(
        as_floats(prepared.data, csv.FEATURES).alias(csv.FEATURES), csv.label_of(prepared.data, spec.label_col).alias("label")
    )
    if spec.num_workers:
        data = data.repartition(spec.num_workers)
    dataset_path, pipeline_path = f"{folder}/dataset", f"{folder}/pipeline"
    data.write.parquet(dataset_path)
    written = spark.read.parquet(dataset_path).agg(F.count(F.lit(1))).collect()[0][0]
    if not written:
        raise DataError(f"No row is left: all {prepared.rows} have a missing value (missing='drop'). Set missing='mean'.")
    prepared.pipeline.write().save(pipeline_path)
    logger.info("%s rows prepared, %s dropped", f"{written:,}", f"{prepared.rows - written:,}")
    return Outcome(
        result={
            "dataset_path": dataset_path,
            "pipeline_path": pipeline_path,
            "rows": written,
            "rejected_rows": prepared.rows - written,
            "feature_columns": prepared.feature_columns,
        },
        inputs=prepared.files.sizes,
        details={"features": count_values(prepared.data, csv.FEATURES), "label_col": spec.label_col},
    )


if __name__ == "__main__":
    main(preprocess)
