"""Scoring Parquet into Parquet: against two bare processes, against Spark's `predict_batch_udf`, and the memory of it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from airflow_provider_distkeras.spark.environment import worker_environment
from benchmarks.lib import cluster, report
from benchmarks.lib.bare_scoring import two_processes

ROWS, FEATURES, BATCH = report.sized(2_000_000, quick=20_000), 28, 4096
REPEATS, TIMES = report.sized(5, quick=1), report.sized(10, quick=2)
FILES = 4
#: The columns of the input that are written beside the predictions.
KEYS = ("id",)


def main(name: str) -> None:
    """Measure and write."""
    from airflow_provider_distkeras.ml.scoring.trained_model import TrainedModel

    backend = os.environ["KERAS_BACKEND"]
    spark = cluster.session(2)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows, network = _write_rows(spark, folder), folder / "network.keras"
        network.write_bytes(_write_model(folder / "model", backend))
        load = lambda: TrainedModel.load(f"file://{folder}/model")  # noqa: E731 - it is used twice
        model = load()
        imported = _worker_peaks(spark, backend)
        job = lambda given=rows, keys=KEYS: _job(spark, model, given, folder, keys)  # noqa: E731 - its variants are used below
        job()
        used = {ROWS: _above(imported)}
        by_spark = lambda: _speed(lambda: _predict_batch_udf(spark, rows, network, folder, backend))  # noqa: E731
        by_spark()
        with two_processes(network, rows, folder, KEYS, BATCH) as bare:
            bare()
            share, reference = report.median_ratio(lambda: _speed(job), lambda: ROWS / bare(), REPEATS)
        times, udf = report.median_ratio(lambda: _speed(job), by_spark, min(3, REPEATS))
        everything, loading = _speed(lambda: job(keys=None)), report.seconds(load)
        job(_copies(rows, folder / "more"))
        used[TIMES * ROWS] = _above(imported)
    spark.stop()
    title = f"{backend}, {ROWS / 1e6:g} M rows, 28-64-32-1"
    figures = [
        report.Figure(f"{title}, scored", share, "of two processes", f"{reference:,.0f} rows/s by bare code", 0.4),
        report.Figure(f"{title}, scored", times, "x predict_batch_udf", f"{udf:,.0f} rows/s by it", 4.0),
        report.Figure(f"{title}, scored, features written too", everything / 1e6, "M rows/s", "without a target"),
        report.Figure(f"{backend}, a trained model loaded", loading, "s", "before the figures above begin"),
        *(
            report.Figure(f"{backend}, {rows / 1e6:g} M rows scored", peak, "MB", "peak of a worker above its imports", 400, True)
            for rows, peak in used.items()
        ),
    ]
    report.write(name, figures)


def _write_rows(spark: Any, folder: Path) -> Path:
    from pyspark.sql import functions as F

    data = cluster.random_rows(spark, ROWS, FEATURES, FILES).select("features", F.monotonically_increasing_id().alias("id"))
    data.write.option("parquet.enable.dictionary", "false").parquet(str(folder / "rows"))
    spark.catalog.clearCache()
    return folder / "rows"


def _write_model(path: Path, backend: str) -> bytes:
    """Write a model as a train task does, and return its network."""
    import keras
    from pyspark.ml import PipelineModel
    from pyspark.ml.feature import VectorAssembler

    from airflow_provider_distkeras.ml import DistKerasModel
    from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
    from airflow_provider_distkeras.ml.network import serialization
    from airflow_provider_distkeras.ml.network.builder import NetworkOutput

    dense = keras.layers.Dense
    network = keras.Sequential([keras.Input((FEATURES,)), dense(64, "relu"), dense(32, "relu"), dense(1)])
    content = serialization.to_bytes(network)
    names = [f"x{i}" for i in range(FEATURES)]
    trained = DistKerasModel(content, (), [NetworkOutput("dense", "mse", 1, "regression")])
    trained._set(loss="mse", backend=backend)
    stages = [
        SelectColumns(kinds=dict.fromkeys(names, "number")),
        VectorAssembler(inputCols=names, outputCol="features"),
        trained,
    ]
    PipelineModel(stages).write().save(str(path))
    return content


def _job(spark: Any, model: Any, rows: Path, folder: Path, keys: Iterable[str] | None) -> None:
    """Do what a score job does between loading its model and writing its manifest: read, score, write, count, check."""
    from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
    from airflow_provider_distkeras.contract.specs import ScoreSpec
    from airflow_provider_distkeras.jobs.score import score_with
    from airflow_provider_distkeras.spark.progress import ProgressReporter

    fields = {"model_path": "loaded", "input_path": f"file://{rows}", "batch_size": BATCH, "key_columns": keys and list(keys)}
    with tempfile.TemporaryDirectory(dir=folder) as out:
        score_with(model, spark, ScoreSpec.build(**fields), Attempt.at(f"file://{out}"), ProgressReporter())


def _predict_batch_udf(spark: Any, rows: Path, network: Path, folder: Path, backend: str) -> None:
    """Spark's own way, as its documentation shows it."""
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import FloatType

    path = str(network)

    def make() -> Callable[[Any], Any]:
        import keras

        model = keras.saving.load_model(path)
        return lambda inputs: model.predict_on_batch(inputs)

    with tempfile.TemporaryDirectory(dir=folder) as out, worker_environment(spark.sparkContext, backend):
        predict = predict_batch_udf(make, return_type=FloatType(), batch_size=BATCH, input_tensor_shapes=[[FEATURES]])
        scored = spark.read.parquet(str(rows)).select(*KEYS, predict("features").alias("prediction"))
        scored.write.parquet(f"{out}/predictions")


def _speed(work: Callable[[], object]) -> float:
    return ROWS / report.seconds(work)


def _copies(rows: Path, more: Path) -> Path:
    """Return a folder with the rows several times over, as links to the same files."""
    more.mkdir()
    for file in rows.glob("*.parquet"):
        for number in range(TIMES):
            os.link(file, more / f"{number}-{file.name}")
    return more


def _worker_peaks(spark: Any, backend: str) -> dict[int, int]:
    """Import the backend in each Python worker, and return the peak memory in KB by process."""

    def peak(batches: Iterable[Any]) -> Iterator[Any]:
        import time

        import pyarrow as pa

        from airflow_provider_distkeras.training.backends import _backend

        _backend()
        time.sleep(1)  # so that no worker takes both tasks
        for _ in batches:
            yield pa.RecordBatch.from_pydict({"process": [os.getpid()]})

    with worker_environment(spark.sparkContext, backend):
        rows = spark.range(0, 2, 1, 2).mapInArrow(peak, "process long").collect()
    return {row.process: _peak(row.process) for row in rows}


def _above(imported: dict[int, int]) -> float:
    """Return the largest peak of a worker above its peak after the imports, in MB."""
    return max(_peak(process) - before for process, before in imported.items()) / 1000


def _peak(process: int) -> int:
    line = next(line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


if __name__ == "__main__":
    main(sys.argv[1])
