"""Fits of several labels in a task, and by Spark: one measurement for both."""

from dataclasses import replace

import numpy as np
import pytest
from pyspark.ml import evaluation
from pyspark.ml.tuning import ParamGridBuilder

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.ml import CrossValidator, DistKeras, TrainValidationSplit
from airflow_provider_distkeras.ml.estimator.evaluation import MetricEvaluator
from airflow_provider_distkeras.ml.network.metrics import Measurement
from airflow_provider_distkeras.ml.tuning.fold_data import FoldData
from airflow_provider_distkeras.ml.tuning.fold_fitter import FoldFitter
from airflow_provider_distkeras.ml.tuning.splitters import Splitter
from airflow_provider_distkeras.ml.tuning.trial import FoldFit


@pytest.fixture(scope="module")
def data(spark):
    random = np.random.default_rng(2).normal(size=(90, 2))
    rows = [([a, b], a - b, 2 * b + 1, float(a > 0), float(b > 0), 1.0 + (a > 0)) for a, b in random.tolist()]
    columns = "features array<double>, y double, z double, m double, n double, w double"
    return spark.createDataFrame(rows, columns).cache()


def estimator(**params):
    labels = {"layer_dims": [None, 2], "labelCols": {"y": "y", "other": "z"}, "optimizer": "adam", "learning_rate": 0.05}
    return DistKeras("SingleTrainer", {"batch_size": 16, "num_epoch": 2}, **{**labels, **params})


@pytest.mark.spark
@pytest.mark.parametrize("weights", [{}, {"weightCol": "w"}], ids=["alike", "weighted"])
def test_a_task_and_the_driver_measure_alike(data, weights):
    splitter, names = Splitter(num_folds=2), ["r2", "wape"]
    evaluator = MetricEvaluator("regression", **weights)
    with (
        FoldData(data, splitter, splitter.folds, "features", None) as rows,
        FoldFitter(estimator(**weights), evaluator, names, rows) as fitter,
    ):
        planned = fitter.plan(FoldFit(0, 0), {})
        fitter.summarize([planned])
        assert planned.in_task
        in_task, by_spark = fitter.fit(planned), fitter.fit(replace(planned, in_task=False))
    assert in_task.metrics == pytest.approx(by_spark.metrics, rel=1e-5)
    assert (in_task.error, in_task.sample, by_spark.sample) == (None, [], [])


@pytest.mark.spark
def test_a_notebook_s_search_by_the_mean_of_the_labels(data):
    made = estimator(labelCols=["m", "n"], loss="binary_crossentropy")  # several labels: each of its own
    grid = ParamGridBuilder().addGrid(made.learning_rate, [0.001, 0.1]).build()
    fields = {"estimator": made, "estimatorParamMaps": grid}
    found = TrainValidationSplit(evaluator=MetricEvaluator("binary", "accuracy"), **fields).fit(data)
    assert found.validationMetrics[1] > found.validationMetrics[0]
    with pytest.raises(SpecError, match="evaluator: the loss of this network needs 'binary', received 'regression'"):
        TrainValidationSplit(evaluator=MetricEvaluator("regression"), **fields).fit(data)
    with pytest.raises(SpecError, match="stratified: with labelCols no single label decides"):
        CrossValidator(evaluator=MetricEvaluator("binary"), stratified=True, **fields).fit(data)


@pytest.mark.spark
def test_an_evaluator_of_one_output_stays_that(data, module):
    """By the columns that it reads."""
    module(
        "twooutputs",
        "import keras\n"
        "def build(features):\n"
        "    inputs = keras.Input((features,))\n"
        "    return keras.Model(inputs, [keras.layers.Dense(1, name=name)(inputs) for name in 'yz'])\n",
    )
    made = estimator(layer_dims=None, network="twooutputs:build", labelCols={"z": "z", "y": "y"})
    one = evaluation.RegressionEvaluator(labelCol="y", predictionCol="prediction_y", metricName="mae")
    split = TrainValidationSplit(estimator=made, estimatorParamMaps=[{}], evaluator=one)
    assert split.fit(data).validationMetrics[0] > 0


def test_the_mean_over_labels_is_that_of_each_alone():
    random = np.random.default_rng(1)
    labels, outputs, weights = random.integers(0, 2, (50, 3)).astype(float), random.uniform(size=(50, 3)), random.uniform(size=50)
    for evaluator, names in (("regression", ("r2", "rmse", "mape")), ("binary", ("areaUnderROC", "logLoss", "f1"))):
        alone = Measurement(evaluator, names, evaluator == "binary", weighted=True)
        each = [alone(label, outputs[:, [position]], weights) for position, label in enumerate(labels.T)]
        together = replace(alone, classifies=False)(labels, outputs, weights)
        assert together == pytest.approx({name: np.mean([metrics[name] for metrics in each]) for name in names})
