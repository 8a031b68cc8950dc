"""Metrics of outputs in memory, against Spark's evaluators of the same rows."""

import numpy as np
import pytest
from pyspark.ml.linalg import Vectors

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.params.objectives import EVALUATORS
from airflow_provider_distkeras.ml.estimator.evaluation import MetricEvaluator, evaluate_outputs
from airflow_provider_distkeras.ml.network.inference import class_probabilities

ROWS = 400


@pytest.mark.spark
@pytest.mark.parametrize("labels", ["spread", "constant"])
def test_numbers(spark, labels):
    random = np.random.default_rng(1)
    truth = random.normal(3, 2, ROWS) if labels == "spread" else np.full(ROWS, 2.5)
    outputs = (truth + random.normal(0, 1, ROWS)).astype(np.float32)[:, None]
    rows = spark.createDataFrame(
        [(float(a), float(b)) for a, b in zip(truth, outputs[:, 0], strict=True)], "label double, prediction double"
    )
    names = [name for name in EVALUATORS["regression"] if labels == "spread" or name != "r2"]  # Spark divides by 0
    metrics = evaluate_outputs(names, truth, outputs, classifies=False)
    assert metrics == {name: pytest.approx(MetricEvaluator("regression", name).evaluate(rows), rel=1e-9) for name in names}


@pytest.mark.spark
@pytest.mark.parametrize(("evaluator", "classes"), [("binary", 1), ("binary", 2), ("multiclass", 1), ("multiclass", 4)])
def test_classes(spark, evaluator, classes):
    random = np.random.default_rng(classes)
    outputs = random.random((ROWS, classes)).round(2).astype(np.float32)  # rounded, so that some are equal
    if classes > 1:
        outputs /= outputs.sum(axis=1, keepdims=True)
    truth = random.integers(0, max(classes, 2), ROWS).astype(float)
    probability = class_probabilities(outputs)
    predictions = [
        (float(label), float(row.argmax()), Vectors.dense(row), Vectors.dense(row))
        for label, row in zip(truth, probability, strict=True)
    ]
    rows = spark.createDataFrame(predictions, ["label", "prediction", "probability", "rawPrediction"])
    names = EVALUATORS[evaluator]
    metrics = evaluate_outputs(names, truth, outputs, classifies=True)
    assert metrics == {name: pytest.approx(MetricEvaluator(evaluator, name).evaluate(rows), rel=1e-6) for name in names}


def test_a_metric_of_the_other_kind_is_refused():
    with pytest.raises(SpecError, match=r"expected one of r2, .* received 'f1'"):
        evaluate_outputs(["f1"], np.zeros(2), np.zeros((2, 1), np.float32), classifies=False)


def test_constant_labels_that_are_met_have_an_r2_of_one():
    assert evaluate_outputs(["r2"], np.ones(3), np.ones((3, 1), np.float32), classifies=False) == {"r2": 1.0}


@pytest.mark.spark
def test_a_metric_that_spark_lacks(spark):
    rows = spark.createDataFrame([(2.0, 1.0), (-4.0, -5.0)], "label double, prediction double")
    evaluator = MetricEvaluator("regression", "mape")

    assert evaluator.evaluate(rows) == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert evaluator.evaluate(rows, {evaluator.metricName: "mae"}) == 1.0
    assert not evaluator.isLargerBetter()
    assert MetricEvaluator("regression", "r2").isLargerBetter()
