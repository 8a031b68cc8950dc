"""CSV files to a prepared dataset and the pipeline that prepared it."""

from __future__ import annotations

import logging

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.jobs.runner import Outcome, main
from airflow_provider_distkeras.ml import csv, layout
from airflow_provider_distkeras.ml.features import as_floats, count_values, write_floats

logger = logging.getLogger("airflow_provider_distkeras.jobs")


def preprocess(spark: SparkSession, spec: PreprocessSpec, folder: str) -> Outcome:
    """Write `dataset`, `pipeline`, and perhaps `quarantine`, into the folder.

    The dataset has `features` (float32 arrays) and `label`; where the spec names such columns `weight`, `fold` and `validation`;
    and `filled`, the positions in the features where a statistic stands for a missing value, if that may be.
    """
    prepared = csv.prepare(spark, spec)
    found = prepared.found
    logger.info("%s rows in %d files", f"{found.rows:,}", len(prepared.files.sizes))
    data = _dataset(prepared, spec)
    if spec.num_workers:
        data = data.repartition(spec.num_workers)
    dataset_path, pipeline_path = f"{folder}/dataset", f"{folder}/pipeline"
    write_floats(data, dataset_path)
    written = _check_written(spark.read.parquet(dataset_path), spec, found.kept)
    held_out = found.held_out[spec.label_col].rows
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
            "validation_rows": held_out,
            "scaling": spec.scaling,
            "layout": layout.describe(prepared.inputs),
            "kinds": dict(prepared.reader.kinds),
            "profile": {name: profile.describe() for name, profile in found.profiles.items()},
        },
    )


def _check_written(dataset: DataFrame, spec: PreprocessSpec, expected: int) -> int:
    """How many rows there are. Raises DataError if they are others than were surveyed, or folds are no whole numbers."""
    odd = F.count_if(F.col("fold").isNull()) if spec.fold_col else F.lit(0)
    written, odd_folds = dataset.agg(F.count(F.lit(1)), odd).collect()[0]
    if written != expected:
        raise DataError(f"{expected:,} rows were read at first, {written:,} the second time: have the files changed meanwhile?")
    if odd_folds:
        raise DataError(f"fold_col: expected whole numbers in {spec.fold_col!r}; {odd_folds:,} rows have others. Correct them.")
    return int(written)


def _dataset(prepared: csv.Prepared, spec: PreprocessSpec) -> DataFrame:
    """What is written, by the roles of the columns."""
    data = prepared.data
    roles = {role: column.alias(role) for role, column in csv.role_columns(data, spec).items()}
    filled = csv.filled_positions(prepared.inputs)
    return data.select(
        as_floats(data, csv.FEATURES).alias(csv.FEATURES), *roles.values(), *([] if filled is None else [filled.alias("filled")])
    )


if __name__ == "__main__":
    main(preprocess)
