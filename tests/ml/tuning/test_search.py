"""The search of a train job."""

import pytest
from pyspark.ml.feature import VectorAssembler

from airflow_provider_distkeras.contract.errors import DivergenceError
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.ml.tuning.search import search, warn_of_label_unit

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def data(spark):
    frame = spark.range(60).selectExpr("double(id % 7) AS x", "double(id % 7) * 2 AS label")
    return VectorAssembler(inputCols=["x"], outputCol="features").transform(frame).cache()


def run(data, rates, metric="r2"):
    spec = TrainSpec.build(
        dataset_path="unused",
        trainer_params={"num_epoch": 5},
        hyperparameters={"layer_dims": [None, 4, 1]},
        param_grid={"learning_rate": rates},
        metric=metric,
        num_folds=2,
    )
    return search(data, spec)


@pytest.mark.parametrize("metric", ["r2", "rmse", "var"])
def test_a_trial_that_diverges_never_wins(data, metric):
    result = run(data, [1e30, 0.01], metric)
    assert result.best_params["learning_rate"] == 0.01
    assert result.trials[0].mean(metric) is None
    assert "diverged" in result.trials[0].to_dict()["error"]


def test_when_all_trials_diverge_the_error_names_the_fix(data):
    with pytest.raises(DivergenceError, match="Lower learning_rate"):
        run(data, [1e30, 1e31])


def test_a_trial_that_ends_its_task_s_process_fails_alone(data, module):
    module(
        "deadlynets",
        "import os, signal, keras\n"
        "from pyspark import TaskContext\n"
        "@keras.saving.register_keras_serializable('deadlynets')\n"
        "class Deadly(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        if TaskContext.get() is not None:\n            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return x\n"
        "def build(features):\n"
        "    return keras.Sequential([keras.Input((features,)), Deadly(), keras.layers.Dense(1)])\n"
        "def fine(features):\n"
        "    return keras.Sequential([keras.Input((features,)), keras.layers.Dense(1)])\n",
    )
    fine, deadly = "deadlynets:fine", "deadlynets:build"
    spec = TrainSpec.build(
        dataset_path="unused",
        trainer_params={"num_epoch": 2},
        param_grid={"network": [fine, fine, fine, deadly, fine, fine]},
        num_folds=2,
    )
    result = search(data, spec)
    assert [trial.error is None for trial in result.trials] == [True, True, True, False, True, True]
    assert "TrainingError: The Spark job that trains failed" in result.trials[3].error
    assert result.best_params["network"] == fine


@pytest.mark.parametrize(
    ("std", "fields", "warned"),
    [
        (95_000.0, {}, True),
        (2.0, {}, False),
        (95_000.0, {"hyperparameters": {"layer_dims": [None, 1], "label_transform": "none"}}, False),
        (95_000.0, {"param_grid": {"label_transform": ["none", "log1p"]}}, False),
    ],
)
def test_labels_that_are_hardly_learned_as_they_are_are_told(caplog, std, fields, warned):
    spec = TrainSpec.build(**{"dataset_path": "unused", "hyperparameters": {"layer_dims": [None, 1]}, **fields})
    warn_of_label_unit(spec, {"label_col": "price", "profile": {"price": {"kind": "number", "std": std}}})
    assert ("Labels have a standard deviation of 9.5e+04" in caplog.text) == warned
