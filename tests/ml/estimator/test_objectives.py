"""Losses, metrics and tasks of fits, on a real Spark session."""

import sys

import numpy as np
import pytest
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.ml import DistKerasModel
from tests.ml.estimator.linear import ROWS, estimator

pytestmark = pytest.mark.spark

OWN = """
import keras
from keras import ops
def brier(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)
def bias(y_true, y_pred):
    return ops.mean(y_pred - y_true, axis=-1)
def of_all_rows(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred))
"""


@pytest.fixture
def own(module):
    """The name of a module."""
    module("ownobjectives", OWN)
    return "ownobjectives"


def test_a_quantile_is_exceeded_as_often_as_it_says(data):
    noise = F.pmod(F.xxhash64("a", "b"), F.lit(1000)) / 1000  # the same in every plan
    noisy = data.withColumn("label", F.col("a") + 2 * noise)
    fitted = estimator(
        "SingleTrainer", {"num_epoch": 60}, loss={"name": "quantile", "q": 0.9}, learning_rate=0.02, lr_schedule="cosine"
    )  # fmt: skip
    model = fitted.fit(noisy)
    below = model.transform(noisy).select(F.avg((F.col("label") <= F.col("prediction")).cast("double"))).first()[0]
    assert below == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("loss", ["poisson", {"name": "tweedie", "power": 1.3}])
def test_a_mean_above_zero_is_predicted_by_default(data, loss):
    amounts = data.withColumn("amount", F.exp(F.col("a") - 0.5) * (F.col("class") + 0.2))
    fitted = estimator("SingleTrainer", {"num_epoch": 40}, loss=loss, labelCol="amount", learning_rate=0.02)
    rows = fitted.fit(amounts).transform(amounts).select("amount", "prediction").collect()
    predictions, truth = (np.array([row[name] for row in rows]) for name in ("prediction", "amount"))
    assert predictions.min() > 0
    assert np.corrcoef(np.log(predictions), np.log(truth))[0, 1] > 0.9
    with pytest.raises(DataError, match=r"the loss .* expects labels of at least 0, received -"):
        fitted.fit(amounts.withColumn("amount", F.col("amount") - 1))


def test_a_loss_and_a_metric_of_one_s_own_make_a_classifier_that_scores_without_them(data, own, tmp_path, monkeypatch):
    model = estimator(
        "ADAG",
        {"num_epoch": 15, "num_workers": 2},
        loss=f"{own}:brier",
        task="binary",
        labelCol="class",
        metrics=[f"{own}:bias", "accuracy"],
        validation_split=0.2,
        class_weight="balanced",
    ).fit(data)
    history = model.summary.history
    assert abs(history[f"val_{own}:bias"][-1]) < 0.1
    assert history["val_accuracy"][-1] > 0.8
    model.write().save(str(tmp_path / "model"))
    monkeypatch.setitem(sys.modules, own, None)  # it cannot be imported any more
    loaded = DistKerasModel.load(str(tmp_path / "model"))
    assert loaded.custom_modules == ()
    predicted = loaded.transform(data)
    assert predicted.first().probability.toArray().sum() == pytest.approx(1.0)
    right = predicted.select(F.avg((F.col("prediction") == F.col("class")).cast("double"))).first()[0]
    assert right > 0.85


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"loss": "ownobjectives:brier"}, "task: the loss 'ownobjectives:brier' is your own"),
        ({"loss": "ownobjectives:of_all_rows", "task": "regression"}, r"Reduce over axis=-1, not over the rows\."),
        ({"loss": "ownobjectives:brier", "task": "multiclass"}, "needs an output per class, the network has 1"),
        ({"metrics": ["ownobjectives:nothing"]}, "metrics: expected 'package.module:name'"),
        ({"metrics": ["acuracy"]}, r"metrics: Unknown metric 'acuracy'\. Did you mean 'accuracy'\?"),
    ],
)
def test_what_cannot_be_trained_is_an_error_before_spark_starts(data, own, params, message):
    with pytest.raises(SpecError, match=message):
        estimator("SingleTrainer", **params).fit(data)


def test_several_labels_are_each_predicted_or_not(data):
    several = data.withColumn("both", F.array(F.col("class"), (F.col("b") > 0).cast("double"), (F.col("a") > 0).cast("double")))
    model = estimator(
        "SingleTrainer",
        {"num_epoch": 30},
        labelCol="both",
        layer_dims=[None, 16, 3],
        loss="binary_focal_crossentropy",
        metrics=["accuracy"],
    ).fit(several)
    assert model.summary.history["accuracy"][-1] > 0.9
    predicted = model.transform(several).withColumn("values", vector_to_array("probability"))
    rows = predicted.select("both", "prediction", "values").collect()
    assert len(rows) == ROWS
    np.testing.assert_array_equal([row.prediction for row in rows], np.array([row["values"] for row in rows]) > 0.5)
    assert np.mean(np.array([row.prediction for row in rows]) == np.array([row.both for row in rows])) > 0.9
