"""Several labels through all jobs: two numbers, marks that are not exclusive, and a class beside a number."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.specs import PreprocessSpec, PromoteSpec, TrainSpec
from airflow_provider_distkeras.ml.scoring.trained_model import TrainedModel

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
FIELDS = {
    "trainer": "SingleTrainer",
    "trainer_params": {"batch_size": 16, "num_epoch": 2},
    "num_folds": 1,
    "refit": False,
}
ADAM = {"optimizer": "adam", "learning_rate": 0.05}
OWN_NETWORK = {"network": "severallabels:build", "loss": ["categorical_crossentropy", "mse"], **ADAM}
COST = {"metric": "severallabels:cost", "metric_direction": "min"}
COLUMNS = ["id", "a", "b", "price", "size", "kind", "wet", "cold", "held"]


@pytest.fixture
def own(module):
    module("severallabels", OWN)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """120 rows: `price` and `size` are numbers, `kind` is a class, `wet` and `cold` are marks, `held` every third row."""
    random, path = np.random.default_rng(5), tmp_path_factory.mktemp("rows") / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(120):
            a, b = random.normal(size=2).round(4)
            kind, cold = ("tin", "wood", "glass")[int(np.argmax([a, b, 0.3]))], "yes" if b > 0 else "no"
            writer.writerow([number, a, b, round(a + b, 4), round(3 * b - a, 4), kind, int(a > 0), cold, int(number % 3 == 0)])
    return str(path)


@pytest.fixture
def preparing(run_job, rows):
    """Prepares the rows with these labels; returns the manifest."""

    def run(*labels, **fields):
        excluded = [name for name in COLUMNS if name not in (*labels, "a", "b", "held")]
        spec = PreprocessSpec.build(
            input_path=rows, label_col=list(labels), excluded_columns=excluded, validation_col="held", num_workers=1, **fields
        )
        return run_job(spec)

    return run


@pytest.fixture
def training(run_job):
    """Trains one network on a dataset, and measures it on the rows to validate on; returns the manifest."""

    def run(prepared, **fields):
        return run_job(TrainSpec.build(dataset_path=prepared.result["dataset_path"], **{**FIELDS, **fields}))

    return run


@pytest.fixture
def predicted(spark):
    """Returns the outputs that Keras alone computes of a dataset, its labels, and which rows to validate on."""

    def run(done, prepared, *labels):
        data = spark.read.parquet(prepared.result["dataset_path"]).collect()
        network = TrainedModel.load(done.result["model_path"]).network.keras_network()
        outputs = network.predict(np.array([row.features for row in data], np.float32), verbose=0)
        outputs = np.hstack(outputs) if isinstance(outputs, list) else outputs
        return (
            outputs,
            np.array([[row[f"label_{name}"] for name in labels] for row in data]),
            np.array([r.validation for r in data]),
        )

    return run


def scores(spark, done):
    """Return the written rows in the order of their ids."""
    return sorted(spark.read.parquet(done.result["predictions_path"]).collect(), key=lambda row: int(row.id))


def r2(labels, outputs):
    return np.mean(1 - ((labels - outputs) ** 2).mean(axis=0) / labels.var(axis=0))


def test_numbers_are_judged_by_the_mean_of_each_metric(spark, run_job, preparing, training, scoring, predicted, rows):
    prepared = preparing("price", "size")
    assert spark.read.parquet(prepared.result["dataset_path"]).columns == ["features", "label_price", "label_size", "validation"]
    assert prepared.details.label_col == ["price", "size"]
    done = training(prepared, hyperparameters={"layer_dims": [None, 2], **ADAM}, metrics=["mae"])
    outputs, labels, held = predicted(done, prepared, "price", "size")
    metrics = {name: values["mean"] for name, values in done.result["metrics"].items()}
    mae = np.abs(labels - outputs)[held].mean()
    assert metrics == pytest.approx({"r2": r2(labels[held], outputs[held]), "mae": mae}, rel=1e-4)
    assert "price, size" in Path(done.result["report_path"][7:]).read_text()

    scored = scoring(done.result["model_path"], rows, key_columns=["id", "price"])
    written = scores(spark, scored)
    assert list(written[0].asDict()) == ["id", "price", "prediction_price", "prediction_size"]
    np.testing.assert_allclose([row[2:] for row in written], outputs, rtol=1e-4, atol=1e-5)
    assert scored.result["metrics"]["r2"] == pytest.approx(r2(labels, outputs), rel=1e-4)
    again = scoring(done.result["model_path"], prepared.result["dataset_path"], output_format="csv")
    assert again.result["metrics"] == pytest.approx(scored.result["metrics"], rel=1e-4)
    challenge = {"champion": "c", "period": "2026-03", "input_path": rows, "model_path": done.result["model_path"]}
    promoted = run_job(PromoteSpec.build(**challenge)).result
    assert promoted["metrics"]["challenger"]["r2"] == pytest.approx(scored.result["metrics"]["r2"])
    with pytest.raises(SpecError, match="evaluator: the loss of the challenger needs 'regression', received 'binary'"):
        run_job(PromoteSpec.build(**challenge, evaluator="binary"))


def test_marks_have_a_probability_each(spark, preparing, training, scoring, predicted, rows):
    prepared = preparing("wet", "cold", categorical_columns=["cold"])
    marks = {"layer_dims": [None, 2], "loss": "binary_crossentropy", "task": "multilabel", **ADAM}
    done = training(prepared, hyperparameters=marks, evaluator="binary", metrics=["accuracy"])
    outputs, labels, held = predicted(done, prepared, "wet", "cold")
    accuracy = ((outputs > 0.5) == labels)[held].mean()
    assert done.result["metrics"]["accuracy"]["mean"] == pytest.approx(accuracy, abs=1e-6)
    assert 0 < done.result["metrics"]["areaUnderROC"]["mean"] <= 1

    scored = scoring(done.result["model_path"], rows, key_columns=["id"], output_columns=["prediction", "probability", "label"])
    assert scored.result["metrics"] == {}
    row = scores(spark, scored)[0].asDict()
    assert (row.pop("id"), row.pop("prediction_label_cold")) == ("0", "yes" if outputs[0, 1] > 0.5 else "no")
    expected = {"wet": outputs[0, 0], "cold": outputs[0, 1]}
    decided = {f"prediction_{name}": float(value > 0.5) for name, value in expected.items()}
    assert row == pytest.approx({**decided, **{f"probability_{name}": value for name, value in expected.items()}}, rel=1e-4)


def test_a_class_and_a_number_are_judged_by_a_metric_of_ones_own(
    spark, own, run_job, preparing, training, scoring, predicted, rows
):
    prepared = preparing("price", "kind", categorical_columns=["kind"])
    done = training(prepared, hyperparameters=OWN_NETWORK, **COST)
    outputs, labels, held = predicted(done, prepared, "kind", "price")
    cost = sys.modules["severallabels"].cost
    expected = cost(labels[held], outputs[held], np.ones(held.sum()))
    assert done.result["metrics"]["severallabels:cost"]["mean"] == pytest.approx(expected, rel=1e-4)

    scored = scores(spark, scoring(done.result["model_path"], rows, key_columns=["id"]))
    assert list(scored[0].asDict()) == ["id", "prediction_kind", "probability_kind", "prediction_price"]
    assert [row.prediction_kind for row in scored] == outputs[:, :3].argmax(axis=1).tolist()
    np.testing.assert_allclose([row.probability_kind for row in scored], outputs[:, :3], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose([row.prediction_price for row in scored], outputs[:, 3], rtol=1e-4, atol=1e-5)
    challenge = {"champion": "c", "period": "2026-03", "input_path": rows, "model_path": done.result["model_path"]}
    promoted = run_job(PromoteSpec.build(**challenge, **COST)).result
    assert promoted["metrics"]["challenger"]["severallabels:cost"] == pytest.approx(cost(labels, outputs, np.ones(120)), rel=1e-4)

    with pytest.raises(SpecError, match=r"\['one', 'two'\], received {'price': 1, 'kind': 1}.* name the output layers after"):
        training(prepared, hyperparameters={"network": "severallabels:misnamed"}, **COST)
    with pytest.raises(SpecError, match="A row has 2 labels, the network 3 outputs"):
        training(prepared, hyperparameters={"layer_dims": [None, 3]})
    with pytest.raises(SpecError, match="stratified: the dataset has 2 labels"):
        training(prepared, hyperparameters={"layer_dims": [None, 2]}, num_folds=2, refit=True, stratified=True)
