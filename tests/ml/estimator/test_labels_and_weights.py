"""Kinds of labels, weights of rows and of classes, on a real Spark session."""

import numpy as np
import pytest
from pyspark.sql import functions as F

from tests.ml.estimator.linear import estimator, r2

pytestmark = pytest.mark.spark


def recall(model, data, kind):
    predicted = model.transform(data.where(F.col("class") == kind))
    return predicted.select(F.avg((F.col("prediction") == kind).cast("double"))).first()[0]


def test_truth_values_are_labels_and_any_long_is_a_seed(data):
    booleans = data.withColumn("true", F.col("class") == 1)
    model = estimator("SingleTrainer", {"num_epoch": 20}, labelCol="true", loss="binary_crossentropy", seed=-(2**40)).fit(
        booleans
    )
    assert recall(model, booleans, 1.0) > 0.8
    assert str(model.summary).startswith("SingleTrainer: 301 rows, 20 epochs in ")


def test_metrics_take_one_hot_labels(data):
    one_hot = data.withColumn("hot", F.array(*[(F.col("kind") == k).cast("float") for k in range(3)]))
    model = estimator(
        "SingleTrainer",
        layer_dims=[None, 8, 3],
        loss="categorical_crossentropy",
        labelCol="hot",
        metrics=["accuracy", "categorical_accuracy"],
    ).fit(one_hot)
    history = model.summary.history
    assert history["accuracy"] == history["categorical_accuracy"]
    assert 0.2 < history["accuracy"][-1] <= 1


def test_several_numbers_are_predicted_at_once(data):
    both = data.withColumn("both", F.array(F.col("a"), F.col("label")))
    model = estimator("SingleTrainer", {"num_epoch": 40}, labelCol="both", layer_dims=[None, 2]).fit(both)
    rows = model.transform(both).select("both", "prediction").collect()
    np.testing.assert_allclose([r.prediction for r in rows], [r.both for r in rows], atol=0.3)


def test_rows_of_weight_zero_are_not_learned(data):
    spoilt = data.withColumn("weight", F.col("held_out").cast("int")).withColumn(
        "label", F.when(F.col("held_out"), F.col("label")).otherwise(100.0)
    )
    model = estimator("SingleTrainer", {"num_epoch": 60}, weightCol="weight").fit(spoilt)
    assert r2(model.transform(data)) > 0.9


def test_class_weights_move_the_decision(data):
    few = data.where((F.col("class") == 1) | (F.abs(F.col("a")) < 0.3))
    settings = {"labelCol": "class", "loss": "binary_crossentropy", "layer_dims": [None, 1], "learning_rate": 0.02}
    train = {"num_epoch": 10}
    plain = estimator("SingleTrainer", train, **settings).fit(few)
    balanced = estimator("SingleTrainer", train, **settings, class_weight="balanced").fit(few)
    given = estimator("SingleTrainer", train, **settings, class_weight={0: 50, 1: 1}).fit(few)
    assert recall(plain, few, 0.0) < recall(balanced, few, 0.0) <= recall(given, few, 0.0)
