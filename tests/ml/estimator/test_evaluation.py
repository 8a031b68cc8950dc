"""Metrics of outputs in memory, against Spark's evaluators of the same rows."""

import sys

import numpy as np
import pytest
from pyspark.ml.evaluation import BinaryClassificationEvaluator, RegressionEvaluator
from pyspark.ml.linalg import Vectors

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.params.metrics import EVALUATORS
from airflow_provider_distkeras.ml import DistKeras, MetricEvaluator
from airflow_provider_distkeras.ml.estimator.evaluation import measurement_of
from airflow_provider_distkeras.ml.network.inference import OutputKind, class_probabilities
from airflow_provider_distkeras.ml.network.metrics import Measurement

ROWS = 400
BINARY = [*(name for name in EVALUATORS["binary"] if name != "precisionAtRecall"), "precisionAtRecall:0.8"]


def measure(evaluator, names, labels, outputs, weights=None):
    measurement = Measurement(evaluator, tuple(names), evaluator != "regression", weights is not None)
    return measurement(np.asarray(labels), outputs, np.ones(len(labels)) if weights is None else weights)


def evaluate(evaluator, names, rows, **columns):
    return {name: pytest.approx(MetricEvaluator(evaluator, name, **columns).evaluate(rows), rel=1e-6) for name in names}


@pytest.mark.spark
@pytest.mark.parametrize(("labels", "weighted"), [("spread", False), ("spread", True), ("constant", False)])
def test_numbers(spark, labels, weighted):
    random = np.random.default_rng(1)
    truth = random.normal(3, 2, ROWS) if labels == "spread" else np.full(ROWS, 2.5)
    outputs = (truth + random.normal(0, 1, ROWS)).astype(np.float32)[:, None]
    weights = random.integers(0, 4, ROWS).astype(float)
    columns = [column.tolist() for column in (truth, outputs[:, 0], weights)]
    rows = spark.createDataFrame(list(zip(*columns, strict=True)), "label double, prediction double, weight double")
    names = [name for name in EVALUATORS["regression"] if labels == "spread" or name != "r2"]  # Spark divides by 0
    measured = measure("regression", names, truth, outputs, weights if weighted else None)
    assert measured == evaluate("regression", names, rows, **{"weightCol": "weight"} if weighted else {})
    if weighted:
        assert all(measured[name] != measure("regression", names, truth, outputs)[name] for name in names)
        assert measured == pytest.approx(measure("regression", names, truth, outputs, weights / weights.sum()))
        repeated = [np.repeat(values, weights.astype(int), axis=0) for values in (truth, outputs)]
        assert measured == pytest.approx(measure("regression", names, *repeated))


@pytest.mark.spark
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("evaluator", "classes"), [("binary", 1), ("binary", 2), ("multiclass", 1), ("multiclass", 4)])
def test_classes(spark, evaluator, classes, weighted):
    random = np.random.default_rng(classes)
    outputs = random.random((ROWS, classes)).round(2).astype(np.float32)  # rounded, so that some are equal
    if classes > 1:
        outputs /= outputs.sum(axis=1, keepdims=True)
    truth = random.integers(0, max(classes, 2), ROWS).astype(float)
    weights = random.integers(0, 4, ROWS).astype(float)
    predictions = [
        (float(label), float(row.argmax()), Vectors.dense(row), Vectors.dense(row), float(weight))
        for label, row, weight in zip(truth, class_probabilities(outputs), weights, strict=True)
    ]
    rows = spark.createDataFrame(predictions, ["label", "prediction", "probability", "rawPrediction", "weight"])
    names = BINARY if evaluator == "binary" else EVALUATORS[evaluator]
    measured = measure(evaluator, names, truth, outputs, weights if weighted else None)
    assert measured == evaluate(evaluator, names, rows, **{"weightCol": "weight"} if weighted else {})
    if weighted:
        assert all(measured[name] != measure(evaluator, names, truth, outputs)[name] for name in names)


def test_metrics_of_the_positive_class_by_hand():
    labels, outputs = np.array([1, 1, 1, 0, 0, 0.0]), np.array([[0.9], [0.8], [0.3], [0.7], [0.2], [0.1]], np.float32)
    weights = np.array([1, 1, 2, 3, 1, 1.0])
    measured = measure("binary", BINARY, labels, outputs, weights)
    assert measured["accuracy"] == pytest.approx(4 / 9)
    assert measured["precision"] == pytest.approx(2 / 5)
    assert measured["recall"] == pytest.approx(2 / 4)
    assert measured["f1"] == pytest.approx(2 * 2 / (5 + 4))
    assert measured["precisionAtRecall:0.8"] == pytest.approx(4 / 7)  # down to 0.3
    right = np.where(labels == 1, outputs[:, 0], 1 - outputs[:, 0])
    assert measured["logLoss"] == pytest.approx(-(weights * np.log(right)).sum() / 9, rel=1e-6)
    assert measure("binary", ["precisionAtRecall:0.5"], labels, outputs)["precisionAtRecall:0.5"] == 1.0
    none = measure("binary", BINARY, np.zeros(6), outputs)
    assert {none[name] for name in ("precision", "recall", "f1", "precisionAtRecall:0.8")} == {0.0}


def test_shares_of_the_label_by_hand():
    labels, outputs, weights = np.array([2.0, -4.0, 0.0]), np.array([[1.0], [-5.0], [3.0]], np.float32), np.array([1, 2, 1.0])
    assert measure("regression", ["wape"], labels, outputs) == {"wape": pytest.approx(5 / 6)}
    assert measure("regression", ["wape", "mape"], labels[:2], outputs[:2], weights[:2]) == {
        "wape": pytest.approx(3 / 10),
        "mape": pytest.approx((1 / 2 + 2 * 1 / 4) / 3),
    }


def test_constant_labels_that_are_met_have_an_r2_of_one():
    assert measure("regression", ["r2"], np.ones(3), np.ones((3, 1), np.float32)) == {"r2": 1.0}


@pytest.mark.spark
@pytest.mark.parametrize(
    ("evaluator", "kind", "measurement"),
    [
        (lambda: MetricEvaluator("regression", "mape"), OutputKind.NUMBER, ("regression", False, False)),
        (lambda: MetricEvaluator("regression", "r2", weightCol="w"), OutputKind.NUMBER, ("regression", False, True)),
        (lambda: RegressionEvaluator(weightCol="w", metricName="mae"), OutputKind.NUMBER, ("regression", False, True)),
        (BinaryClassificationEvaluator, OutputKind.CLASSES, ("binary", True, False)),
        (lambda: RegressionEvaluator(weightCol="other", metricName="mae"), OutputKind.NUMBER, None),
        (lambda: RegressionEvaluator(weightCol="w", metricName="r2"), OutputKind.NUMBER, None),
        (lambda: RegressionEvaluator(labelCol="other"), OutputKind.NUMBER, None),
        (lambda: RegressionEvaluator(throughOrigin=True), OutputKind.NUMBER, None),
        (lambda: MetricEvaluator("regression", "r2"), OutputKind.CLASSES, None),
        (lambda: MetricEvaluator("regression", "r2"), OutputKind.ARRAYS, None),
    ],
)
def test_what_a_task_can_measure_as_an_evaluator_would(spark, evaluator, kind, measurement):
    made = evaluator()
    name = made.getOrDefault("metricName")
    result = measurement_of(made, [name], DistKeras(weightCol="w"), kind)
    assert result == (measurement and Measurement(measurement[0], (name,), *measurement[1:]))


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "ownmetrics.py").write_text(
        "import numpy as np\n"
        "def cost(labels, outputs, weights):\n    return np.sum(weights * np.abs(labels - outputs))\n"
        "def shapes(labels, outputs, weights):\n    return float(f'{labels.ndim}{outputs.ndim}{weights.ndim}')\n"
        "def fails(labels, outputs, weights):\n    raise KeyError('x')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("ownmetrics", None)


def test_a_metric_of_one_s_own_in_memory(own):
    labels, outputs, weights = np.array([1.0, 2.0]), np.array([[2.0], [4.0]], np.float32), np.array([1.0, 3.0])
    assert measure("regression", ["ownmetrics:cost"], labels, outputs, weights) == {"ownmetrics:cost": 7.0}
    assert measure("binary", ["ownmetrics:shapes"], labels, outputs) == {"ownmetrics:shapes": 121.0}
    with pytest.raises(SpecError, match=r"metric: 'ownmetrics:fails' raised KeyError for labels of shape \(2,\)"):
        measure("regression", ["ownmetrics:fails"], labels, outputs)


@pytest.mark.spark
def test_a_metric_of_one_s_own_by_spark(spark, own, tmp_path):
    rows = spark.createDataFrame(
        [(1.0, 2.0, 1.0, [0.5, 0.5]), (2.0, 4.0, 3.0, [0.1, 0.9])],
        "y double, prediction double, w double, probability array<double>",
    )
    evaluator = MetricEvaluator("regression", "ownmetrics:cost", "min", labelCol="y", weightCol="w")
    numbers = rows.drop("probability")
    assert evaluator.evaluate(numbers) == 7.0
    assert evaluator.evaluate(numbers, {evaluator.metricName: "mae"}) == pytest.approx(7 / 4)
    assert evaluator.evaluate(rows, {evaluator.metricName: "ownmetrics:shapes"}) == 121.0
    assert not evaluator.isLargerBetter()
    evaluator.save(str(tmp_path / "evaluator"))
    assert MetricEvaluator.load(str(tmp_path / "evaluator")).evaluate(numbers) == 7.0
    with pytest.raises(SpecError, match="set direction to 'min' or 'max'"):
        MetricEvaluator("regression", "ownmetrics:cost").isLargerBetter()
    with pytest.raises(SpecError, match="direction: it is known of r2; leave direction out"):
        MetricEvaluator("regression", "r2", "min")
    for metric, message in (
        ("f1", "Unknown metric of the regression"),
        ("ownmetrics:nothing", "metric: expected 'package.module"),
    ):
        with pytest.raises(SpecError, match=message):
            MetricEvaluator("regression", metric)
