"""Jobs, run inside the test's own Spark session."""

import csv
import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.ml import PipelineModel

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.request import Request
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.specs import PreprocessSpec, ScoreSpec
from airflow_provider_distkeras.jobs import preprocess, promote, runner, score, train
from airflow_provider_distkeras.ml.data.prepare import prepare
from airflow_provider_distkeras.ml.estimator.model import DistKerasModel
from airflow_provider_distkeras.ml.network import serialization
from airflow_provider_distkeras.ml.network.builder import NetworkOutput

BODIES = {"preprocess": preprocess.preprocess, "train": train.train, "score": score.score, "promote": promote.promote}
STORAGE = LocalStorage()
_ticks = itertools.count()


def claim(root, spec, period="2026-03"):
    """A new attempt, newer than all before it."""
    claimed_at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=next(_ticks))
    attempt = Attempt.claim(
        f"file://{root}", "dag", spec.kind, -1, period, claimed_at=claimed_at, generation=0, try_number=1, spec_sha256=spec.sha256
    )
    STORAGE.write_bytes(attempt.spec_path, Request(spec, attempt).to_json().encode())
    return attempt


@pytest.fixture
def run_job(spark, tmp_path):
    """Runs the job of a spec; returns its manifest."""

    def run(spec, attempt=None):
        attempt = attempt or claim(tmp_path / "out", spec)
        return runner.run(spark, attempt.spec_path, BODIES[spec.kind])

    return run


@pytest.fixture
def bikes(tmp_path):
    """240 rows with an id, a category, a number with gaps, and a count and a class that follow from them."""

    def write(name="bikes.csv", *, gaps=True, columns=("id", "season", "temp", "hum", "cnt", "busy"), delimiter=","):
        random = np.random.default_rng(7)
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", delimiter=delimiter)
            writer.writeheader()
            for number in range(240):
                season, temp, hum = random.choice(["winter", "summer"]), random.uniform(), random.uniform()
                count = 10 + 5 * temp + (3 if season == "summer" else 0)
                row = {
                    "id": number,
                    "season": season,
                    "temp": round(temp, 6),
                    "hum": "" if gaps and number % 20 == 0 else round(hum, 6),
                    "cnt": round(count, 4),
                    "busy": "yes" if count > 14 else "no",
                }
                writer.writerow(row)
        return str(path)

    return write


#: What models that take a and b were trained on.
TRAINING = "a,b,label,kind\n0,0,0,sour\n1,0,0,sweet\n0,1,0,salty\n1,2,0,sour\n"


@pytest.fixture(scope="module")
def network(spark):
    """Makes a trained model of two features from the weights of its one layer."""

    def make(weights, bias, loss="mse"):
        import keras

        activation = "softmax" if len(bias) > 1 else "linear"
        network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(len(bias), activation)])
        network.set_weights([np.array(weights, np.float32), np.array(bias, np.float32)])
        model = DistKerasModel(serialization.to_bytes(network), (), [NetworkOutput("dense", loss, len(bias))])
        model._set(loss=loss, backend="tensorflow")
        return model

    return make


@pytest.fixture(scope="module")
def save(spark, network, tmp_path_factory):
    """Saves a model that takes the features a and b; returns its path."""

    def save(model, **fields):
        folder = tmp_path_factory.mktemp("model")
        (folder / "training.csv").write_text(TRAINING)
        spec = PreprocessSpec.build(input_path=str(folder / "training.csv"), **fields)
        pipeline = prepare(spark, spec).pipeline
        PipelineModel([*pipeline.stages, model]).write().save(f"file://{folder}/model")
        return f"file://{folder}/model"

    return save


@pytest.fixture(scope="module")
def regression(save, network):
    """Predicts 2a - 3b + 1."""
    return save(network([[2.0], [-3.0]], [1.0]), excluded_columns=["kind"])


@pytest.fixture(scope="module")
def classes(save, network):
    """Tells salty, sour and sweet by which of 0, a and b is the largest."""
    model = network([[0.0, 9.0, 0.0], [0.0, 0.0, 9.0]], [1.0, 0.0, 0.0], "categorical_crossentropy")
    return save(model, label_col="kind", excluded_columns=["label"], categorical_columns=["kind"])


@pytest.fixture
def scoring(run_job, tmp_path):
    """Runs a score job on rows written as CSV, or on a path; returns its manifest."""

    def run(model_path, given, **fields):
        if "\n" in given:
            (tmp_path / "new.csv").write_text(given)
            given = str(tmp_path / "new.csv")
        return run_job(ScoreSpec.build(model_path=model_path, input_path=given, **fields))

    return run


@pytest.fixture
def prepared(tmp_path):
    """Writes prepared rows as Parquet; returns their folder."""

    def write(features, folder="prepared", row_group_size=None, **columns):
        path = tmp_path / folder
        path.mkdir(parents=True, exist_ok=True)
        table = pa.table({"features": pa.array(features, pa.list_(pa.float32())), **columns})
        pq.write_table(table, path / f"part-{len(list(path.iterdir()))}.parquet", row_group_size=row_group_size)
        return str(path)

    return write
