"""Several labels through all jobs: two numbers, marks that are not exclusive, and a class beside a number."""

import csv
import sys

import numpy as np
import pytest

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.specs import PreprocessSpec, PromoteSpec, TrainSpec

pytestmark = pytest.mark.spark

OWN = """
import keras
import numpy as np

def build(features):
    inputs = keras.Input((features,))
    hidden = keras.layers.Dense(8, "relu")(inputs)
    kind = keras.layers.Dense(3, "softmax", name="kind")(hidden)
    return keras.Model(inputs, [kind, keras.layers.Dense(1, name="price")(hidden)])

def misnamed(features):
    inputs = keras.Input((features,))
    return keras.Model(inputs, [keras.layers.Dense(1, name=name)(inputs) for name in ("one", "two")])

def cost(labels, outputs, weights):
    assert labels.shape == (len(weights), 2) and outputs.shape == (len(weights), 4)
    wrong = outputs[:, :3].argmax(axis=1) != labels[:, 0]
    return float(np.average(wrong + np.abs(outputs[:, 3] - labels[:, 1]), weights=weights))
"""
FIELDS = {"trainer_params": {"batch_size": 16, "num_epoch": 2}, "trainer": "SingleTrainer"}
DENSE = {"layer_dims": [None, 2], "optimizer": "adam", "learning_rate": 0.05}
OWN_NETWORK = {"network": "severallabels:build", "loss": ["categorical_crossentropy", "mse"], "optimizer": "adam"}
COST = {"metric": "severallabels:cost", "metric_direction": "min"}


@pytest.fixture
def own(tmp_path, monkeypatch, spark):
    """As `py_files` makes it."""
    (tmp_path / "severallabels.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    spark.sparkContext.addPyFile(str(tmp_path / "severallabels.py"))
    yield
    sys.modules.pop("severallabels", None)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """160 rows: `price` and `size` are numbers, `kind` a class, `wet` and `cold` marks."""
    random, path = np.random.default_rng(5), tmp_path_factory.mktemp("rows") / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "a", "b", "price", "size", "kind", "wet", "cold"])
        for number in range(160):
            a, b = random.normal(size=2).round(4)
            kind = ("tin", "wood", "glass")[int(np.argmax([a, b, 0.3]))]
            writer.writerow([number, a, b, round(a + b, 4), round(3 * b - a, 4), kind, int(a > 0), "yes" if b > 0 else "no"])
    return str(path)


@pytest.fixture
def preparing(run_job, rows):
    """Prepares the rows with these labels; returns the manifest."""
    columns = ["id", "price", "size", "kind", "wet", "cold"]

    def run(*labels, categorical=()):
        excluded = [name for name in columns if name not in labels]
        return run_job(
            PreprocessSpec.build(
                input_path=rows, label_col=list(labels), excluded_columns=excluded, categorical_columns=list(categorical)
            )
        )

    return run


@pytest.fixture
def training(run_job, preparing):
    """Trains on these labels; returns the manifest and the prepared dataset."""

    def run(*labels, categorical=(), **fields):
        dataset = preparing(*labels, categorical=categorical).result["dataset_path"]
        return run_job(TrainSpec.build(dataset_path=dataset, **{**FIELDS, "num_folds": 2, **fields})), dataset

    return run


def test_a_dataset_has_a_column_per_label(spark, preparing):
    done = preparing("kind", "price", categorical=["kind"])
    data = spark.read.parquet(done.result["dataset_path"])
    assert data.columns == ["features", "label_kind", "label_price"]
    assert {row.label_kind for row in data.collect()} == {0.0, 1.0, 2.0}
    assert (done.details.label_col, done.result["feature_columns"]) == (["kind", "price"], ["a", "b"])
    one = preparing("price")
    assert spark.read.parquet(one.result["dataset_path"]).columns == ["features", "label"]
    assert one.details.label_col == "price"


def networks_outputs(spark, model_path, dataset):
    """Return the prepared rows' features, and what Keras alone predicts of them."""
    from airflow_provider_distkeras.ml.scoring.trained_model import TrainedModel

    features = np.array([list(row.features) for row in spark.read.parquet(dataset).collect()], np.float32)
    return TrainedModel.load(model_path).network.keras_network().predict(features, verbose=0)


def r2(labels, predictions):
    return np.mean(1 - ((labels - predictions) ** 2).mean(axis=0) / labels.var(axis=0))


@pytest.mark.parametrize("workers", [1, 2], ids=["in a task", "on the cluster"])
def test_numbers_are_judged_by_the_mean_of_their_metrics(spark, run_job, training, scoring, rows, workers):
    params = {"trainer": "ADAG", "trainer_params": {**FIELDS["trainer_params"], "num_workers": workers}}
    done, dataset = training(
        "price", "size", hyperparameters=DENSE, num_folds=1, test_share=0.3, refit=False, metrics=["mae"], **params
    )
    outputs = networks_outputs(spark, done.result["model_path"], dataset)
    labels = np.array([[row.label_price, row.label_size] for row in spark.read.parquet(dataset).collect()])
    scored = scoring(done.result["model_path"], rows, key_columns=["id"])

    assert scored.result["metrics"]["r2"] == pytest.approx(r2(labels, outputs), rel=1e-4)
    predictions = spark.read.parquet(scored.result["predictions_path"])
    assert predictions.columns == ["id", "prediction_price", "prediction_size"]
    received = np.array([tuple(row)[1:] for row in sorted(predictions.collect(), key=lambda row: int(row.id))])
    np.testing.assert_allclose(received, outputs, rtol=1e-4, atol=1e-5)
    assert set(done.result["metrics"]) == {"r2", "mae"}
    assert done.result["metrics"]["mae"]["test"] == pytest.approx(np.abs(labels - outputs).mean(), rel=0.3)

    champion, _ = training("size", "price", hyperparameters=DENSE, num_folds=1, trainer_params={"num_epoch": 1})
    challenge = {"champion": "c", "period": "2026-03", "input_path": rows, "model_path": done.result["model_path"]}
    promoted = run_job(PromoteSpec.build(champion_path=champion.result["model_path"], **challenge)).result
    assert promoted["promoted"]
    assert promoted["metrics"]["challenger"]["r2"] == pytest.approx(scored.result["metrics"]["r2"])
