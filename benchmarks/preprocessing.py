"""CSV to a prepared dataset, against the shortest PySpark program that reads and writes the same."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib import cluster, report

ROWS, COLUMNS, FILES = report.sized(5_000_000, quick=8_000), 30, 4
WARM_UPS, REPEATS = report.sized(1, quick=0), report.sized(3, quick=1)
NAMES = [*(f"c{i}" for i in range(COLUMNS - 1)), "label"]
SCHEMA = ", ".join(f"{name} double" for name in NAMES)


def write_files(folder: Path) -> None:
    """Write numbers with five decimals."""
    import pyarrow as pa
    from pyarrow import csv

    random = np.random.default_rng(0)
    for number in range(FILES):
        values = np.round(random.standard_normal((COLUMNS, ROWS // FILES)), 5)
        table = pa.Table.from_arrays([pa.array(column) for column in values], NAMES)
        csv.write_csv(table, folder / f"{number}.csv", csv.WriteOptions(quoting_style="none"))


def bare(spark: Any, source: Path, target: Path, dictionary: bool = True, **options: Any) -> None:
    """Run the shortest program; without Parquet's dictionaries it has one option more and is faster."""
    from pyspark.sql import functions as F

    data = spark.read.csv(str(source), header=True, **options)
    features = F.array(*NAMES[:-1]).cast("array<float>").alias("features")
    writer = data.select(features, "label").write.mode("overwrite")
    (writer if dictionary else writer.option("parquet.enable.dictionary", "false")).parquet(str(target))


def ours(spark: Any, source: Path, target: Path, **options: Any) -> None:
    """Run the body of the preprocess job."""
    from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
    from airflow_provider_distkeras.contract.files.storage import LocalStorage
    from airflow_provider_distkeras.contract.specs import PreprocessSpec
    from airflow_provider_distkeras.jobs.preprocess import preprocess
    from airflow_provider_distkeras.spark.progress import ProgressReporter

    shutil.rmtree(target, ignore_errors=True)
    spec = PreprocessSpec.build(input_path=str(source), **options)
    attempt = Attempt.at(str(target))
    LocalStorage().write_bytes(attempt.spec_path, b"{}")  # claims it
    preprocess(spark, spec, attempt, ProgressReporter())


def main(name: str) -> None:
    """Measure and write."""
    spark = cluster.session(2)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "csv"), Path(folder, "out")
        source.mkdir()
        write_files(source)
        programs: dict[str, Callable[[], None]] = {
            "bare": lambda: bare(spark, source, target, schema=SCHEMA),
            "bare without dictionaries": lambda: bare(spark, source, target, False, schema=SCHEMA),
            "schema": lambda: ours(spark, source, target, schema=dict.fromkeys(NAMES, "number")),
            "inferred": lambda: ours(spark, source, target),
            "scaled": lambda: ours(spark, source, target, scaling="standard"),
        }
        rounds = [{what: report.seconds(run) for what, run in programs.items()} for _ in range(WARM_UPS + REPEATS)][WARM_UPS:]
    spark.stop()
    took = {what: statistics.median(each[what] for each in rounds) for what in programs}

    def times(what: str, target: float | None) -> report.Figure:
        reference = f"{took['bare']:.1f} s by bare PySpark, {took['bare without dictionaries']:.1f} s without dictionaries"
        return report.Figure(
            f"preprocessing, {what}", took[what] / took["bare"], "x bare PySpark", reference, target, at_most=True
        )

    report.write(name, [times("schema", 1.15), times("inferred", 1.4), times("scaled", None)])


if __name__ == "__main__":
    main(sys.argv[1])
