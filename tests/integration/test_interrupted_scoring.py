"""Processes that are really killed while they score: every row is scored once, and no other file remains."""

import json
import os
import signal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.feature import VectorAssembler

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt, committed
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.artifacts.request import Request
from airflow_provider_distkeras.contract.files.storage import LocalStorage, local_path
from airflow_provider_distkeras.contract.specs import ScoreSpec, TrainSpec
from airflow_provider_distkeras.ml.data.select_columns import SelectColumns
from airflow_provider_distkeras.ml.estimator.model import DistKerasModel
from airflow_provider_distkeras.ml.network import serialization
from airflow_provider_distkeras.ml.network.builder import NetworkOutput

from .test_cluster import cluster  # noqa: F401 - a fixture

pytestmark = pytest.mark.spark

FILES, ROWS, BATCH = 4, 2000, 128
#: Every hundredth row has no feature to score.
BAD = set(range(0, FILES * ROWS, 100))

#: Imported by the workers as a module of the network's custom objects. Kills once in the whole job, and records which files there
#: were then: in the middle of a task, or when all its files are complete and it has yet to report that.
SABOTEUR = """
import json, os, signal
from pathlib import Path
import pyarrow.parquet as pq
from airflow_provider_distkeras.ml.network.scorer import Scorer
from airflow_provider_distkeras.ml.scoring import parquet_writer

parquet_writer._GROUP_BYTES = 1  # what is scored is in the file at once
calls = dict(score=0, close=0)

def striking(name, at, honest):
    def call(self, *args):
        done = honest(self, *args)
        calls[name] += 1
        if calls[name] == at:
            strike()
        return done
    return call

def strike():
    try:
        marker = os.open({marker!r}, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return
    os.write(marker, json.dumps([file.name for file in Path({out!r}).rglob("_staging/*/part-*")]).encode())
    os.close(marker)
    {victim}
    signal.pause()

if {moment!r} == "half-way":
    Scorer.__call__ = striking("score", 3, Scorer.__call__)
else:  # of predictions and quarantine
    pq.ParquetWriter.close = striking("close", 2, pq.ParquetWriter.close)
"""
ITSELF = "os.kill(os.getpid(), signal.SIGKILL)"
ITS_EXECUTOR = """
    daemon = os.getppid()
    os.kill(int(open(f"/proc/{daemon}/stat").read().rpartition(")")[2].split()[1]), signal.SIGKILL)
""".strip()
NOBODY = "print('half-way', flush=True)"


@pytest.fixture
def spec(spark, tmp_path):
    """The spec of a job that predicts 2a - 3b + 1 of prepared rows."""
    import keras

    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.set_weights([np.array([[2.0], [-3.0]], np.float32), np.array([1.0], np.float32)])
    model = DistKerasModel(serialization.to_bytes(network), ("saboteur",), [NetworkOutput("dense", "mse", 1, "regression")])
    model._set(loss="mse", backend="tensorflow")
    select = SelectColumns(kinds={"a": "number", "b": "number"})
    assembler = VectorAssembler(inputCols=["a", "b"], outputCol="features")
    PipelineModel([select, assembler, model]).write().save(f"file://{tmp_path}/model")
    trained = Attempt.at(f"file://{tmp_path}")  # its request allows the module
    training = TrainSpec.build(dataset_path="/d", hyperparameters={"layer_dims": [None, 1], "custom_objects": ["saboteur"]})
    LocalStorage().write_bytes(trained.spec_path, Request(training, trained).to_json().encode())
    (tmp_path / "rows").mkdir()
    for file in range(FILES):
        ids = range(file * ROWS, (file + 1) * ROWS)
        features = [None if row in BAD else [row, 1.0] for row in ids]
        table = pa.table({"id": pa.array(ids), "features": pa.array(features, pa.list_(pa.float32()))})
        pq.write_table(table, tmp_path / "rows" / f"{file}.parquet")
    fields = {"key_columns": ["id"], "batch_size": BATCH, "max_quarantined": 0.5}
    return ScoreSpec.build(model_path=f"file://{tmp_path}/model", input_path=f"file://{tmp_path}/rows", **fields)


@pytest.fixture
def sabotage(tmp_path, monkeypatch):
    """Plants the saboteur; returns the file to which it writes."""

    def plant(moment, victim):
        marker = tmp_path / "struck"
        text = SABOTEUR.format(marker=str(marker), out=str(tmp_path / "out"), moment=moment, victim=victim)
        (tmp_path / "saboteur.py").write_text(text)
        path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
        monkeypatch.setenv("PYTHONPATH", path)
        return marker

    return plant


def check(attempt, spark):
    """All rows are where they belong, each once, and the attempt's folder holds nothing more."""
    done = Manifest.read(LocalStorage(), attempt.manifest_path)
    assert (done.result["rows"], done.result["quarantined_rows"]) == (FILES * ROWS - len(BAD), len(BAD))
    scored = [tuple(row) for row in spark.read.parquet(done.result["predictions_path"]).orderBy("id").collect()]
    assert scored == [(row, 2.0 * row - 2) for row in range(FILES * ROWS) if row not in BAD]
    quarantined = [tuple(row) for row in spark.read.parquet(done.details.quarantine_path).orderBy("id").collect()]
    assert quarantined == [(row, "the features are missing") for row in sorted(BAD)]
    assert sorted(os.listdir(local_path(attempt.path))) == ["_MANIFEST.json", "_SPEC.json", "predictions", "quarantine"]


@pytest.mark.parametrize(("moment", "left"), [("half-way", 1), ("complete", 2)])
def test_a_worker_that_is_killed_is_replaced_and_no_row_is_written_twice(spark, submit, spec, sabotage, moment, left):
    marker = sabotage(moment, ITSELF)
    attempt, process = submit(spec, "local[1,4]")
    output = process.communicate()[0]
    assert process.returncode == 0, output[-3000:]
    assert len(json.loads(marker.read_text())) >= left  # what the killed worker had written
    check(attempt, spark)


def test_an_executor_that_is_killed_is_replaced_and_no_row_is_written_twice(spark, submit, spec, sabotage, cluster):  # noqa: F811
    marker = sabotage("complete", ITS_EXECUTOR)
    path = f"spark.executorEnv.PYTHONPATH={os.environ['PYTHONPATH']}"
    attempt, process = submit(spec, cluster, path, "spark.executor.memory=600m")
    output = process.communicate()[0]
    assert process.returncode == 0, output[-3000:]
    assert len(json.loads(marker.read_text())) >= 2
    check(attempt, spark)


def test_a_job_that_is_killed_leaves_nothing_to_be_seen_and_the_next_attempt_is_whole(spark, submit, spec, sabotage):
    marker = sabotage("half-way", NOBODY)
    killed, process = submit(spec, "local[1]")
    for line in process.stdout:
        if "half-way" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert marker.exists()
    assert committed(LocalStorage(), killed.period_path) is None
    assert not {"predictions", "quarantine"} & set(os.listdir(local_path(killed.path)))
    attempt, process = submit(spec, "local[1]")
    output = process.communicate()[0]
    assert process.returncode == 0, output[-3000:]
    check(attempt, spark)
    assert committed(LocalStorage(), attempt.period_path).result["predictions_path"] == f"{attempt.path}/predictions"
