"""A Spark session for a benchmark, and data in it."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np


def session(cores: int) -> Any:
    """Return a local Spark session that logs errors only."""
    from pyspark.sql import SparkSession

    from airflow_provider_distkeras.hooks.spark_environment import find_java_home

    os.environ["JAVA_HOME"], os.environ["PYSPARK_PYTHON"] = str(find_java_home()), sys.executable
    quiet = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
    builder = SparkSession.builder.master(f"local[{cores}]").config("spark.driver.memory", "4g")
    for key, value in quiet.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def random_rows(spark: Any, rows: int, features: int, partitions: int) -> Any:
    """Return a cached DataFrame of normal features, as arrays of float, and a label."""
    from pyspark.sql import functions as F

    columns = [F.randn(seed).cast("float") for seed in range(features)]
    data = spark.range(0, rows, 1, partitions).select(F.array(*columns).alias("features"))
    data = data.withColumn("label", F.col("features")[0] * 2 - F.col("features")[1]).cache()
    data.count()
    return data


def random_records(rows: int, features: int, seed: int = 0) -> Any:
    """Return such rows as the records of a worker."""
    from airflow_provider_distkeras.training.dataset import Rows

    values = np.random.default_rng(seed).standard_normal((rows, features), np.float32)
    return Rows(np.column_stack([values, values[:, 0] * 2 - values[:, 1], np.ones(rows, np.float32)]).astype(np.float32))


def arrow_batches(rows: int, features: int, rows_per_batch: int = 10_000) -> list[Any]:
    """Return such rows as Arrow batches, as Spark delivers them."""
    import pyarrow as pa

    def lists(matrix: Any) -> Any:
        ends = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
        return pa.ListArray.from_arrays(ends, np.ascontiguousarray(matrix).ravel())

    records = random_records(rows, features).records
    parts = [records[start : start + rows_per_batch] for start in range(0, rows, rows_per_batch)]
    return [pa.RecordBatch.from_arrays([lists(p[:, :-2]), lists(p[:, -2:-1])], ["features", "label"]) for p in parts]
