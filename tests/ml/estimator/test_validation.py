"""Validation rows, metrics and early stopping, on a real Spark session."""

import numpy as np
import pytest
from pyspark.ml import evaluation
from pyspark.sql import functions as F

from tests.ml.estimator.linear import ROWS, estimator

pytestmark = pytest.mark.spark


def test_validation_rows_are_measured_on_and_not_trained_on(data):
    model = estimator(trainer_params={"num_epoch": 3}, validationIndicatorCol="held_out", metrics=["mae"]).fit(data)
    held_out = data.where("held_out")
    assert model.summary.rows == ROWS - held_out.count()
    assert {len(values) for values in model.summary.history.values()} == {3}
    assert set(model.summary.history) == {"loss", "val_loss", "val_mae"}
    single = estimator("SingleTrainer", validationIndicatorCol="held_out", metrics=["mae"]).fit(data)
    mae = evaluation.RegressionEvaluator(metricName="mae").evaluate(single.transform(held_out))
    assert single.summary.history["val_mae"][-1] == pytest.approx(mae, rel=1e-4)


def test_validation_rows_in_partitions_of_their_own_are_measured_on(data, spark):
    """Two partitions, as many as workers: one has no validation row, one has nothing else."""
    far = data.withColumn("label", F.when(F.col("held_out"), F.col("label") + 100).otherwise(F.col("label")))
    parts = [far.where(f"held_out = {held_out}").coalesce(1) for held_out in ("true", "false")]
    model = estimator(trainer_params={"num_workers": 2}, validationIndicatorCol="held_out", metrics=["mae"], patience=5).fit(
        parts[0].union(parts[1])
    )
    assert sum(worker["validation_rows"] for worker in model.summary.workers) == data.where("held_out").count()
    assert set(model.summary.history) == {"loss", "val_loss", "val_mae"}
    assert min(model.summary.history["val_mae"]) > 50 > max(model.summary.loss) ** 0.5


def test_class_weights_do_not_count_on_validation_rows(data):
    model = estimator(
        "SingleTrainer",
        layer_dims=[None, 8, 3],
        loss="categorical_crossentropy",
        labelCol="kind",
        metrics=["accuracy"],
        class_weight={"0": 10, "1": 1, "2": 0.1},
        validationIndicatorCol="held_out",
    ).fit(data)
    held_out = model.transform(data.where("held_out"))
    accuracy = held_out.where("prediction = kind").count() / held_out.count()
    assert model.summary.history["val_accuracy"][-1] == pytest.approx(accuracy, abs=1e-6)


def test_a_split_for_validation_takes_about_its_share_and_the_same_rows_every_time(data):
    one, other = (estimator("SingleTrainer", validation_split=0.3).fit(data.repartition(parts)).summary for parts in (1, 4))
    assert 0.6 * ROWS < one.rows < 0.8 * ROWS
    assert one.history["loss"] == other.history["loss"]
    # The rows are the same, their sums are taken partition by partition.
    assert one.history["val_loss"] == pytest.approx(other.history["val_loss"], rel=1e-5)


def test_metrics_without_validation_rows_are_measured_on_the_training_rows(data):
    model = estimator("SingleTrainer", metrics=["mae"]).fit(data)
    mae = evaluation.RegressionEvaluator(metricName="mae").evaluate(model.transform(data))
    assert model.summary.history["mae"][-1] == pytest.approx(mae, rel=1e-4)


@pytest.mark.parametrize("trainer", ["SingleTrainer", "ADAG", "LocalSGD"])
def test_training_stops_early_and_keeps_the_best_weights(data, trainer):
    noisy = data.withColumn("label", F.when(F.col("held_out"), F.col("label")).otherwise(F.randn(3) * 3))
    params = {"validationIndicatorCol": "held_out", "patience": 2, "layer_dims": [None, 64, 64, 1], "learning_rate": 0.02}
    model = estimator(trainer, {"num_epoch": 60}, **params).fit(noisy)
    summary, losses = model.summary, model.summary.history["val_loss"]
    assert summary.rows_trained < 60 * summary.rows
    assert summary.best_epoch == np.argmin(losses) + 1
    if trainer != "ADAG":  # there, the server weights have moved on while an epoch was evaluated
        mse = evaluation.RegressionEvaluator(metricName="mse").evaluate(model.transform(noisy.where("held_out")))
        assert mse == pytest.approx(min(losses), rel=1e-3)
