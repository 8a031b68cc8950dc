"""Fits on transformed labels, whose every number is in the labels' own units, on a real Spark session."""

import numpy as np
import pytest
from pyspark.ml import evaluation
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.ml import CrossValidator, DistKerasModel
from airflow_provider_distkeras.spark.columns import mark_standardized
from tests.ml.estimator.linear import estimator, r2

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def prices(data):
    """The line in other units, with features that are known to be standardized."""
    return mark_standardized(data.withColumn("label", F.col("label") * 1e5 + 3e6), "features").cache()


@pytest.mark.parametrize(
    ("trainer", "params", "transform"), [("ADAG", {}, None), ("EnsembleTrainer", {"num_ensembles": 2}, "log1p")]
)
def test_raw_prices_are_learned_at_a_usual_rate(prices, tmp_path, trainer, params, transform):
    fit = estimator(trainer, {"num_epoch": 20, **params}, label_transform=transform, metrics=["mae"], validation_split=0.2)
    model = fit.fit(prices)
    assert model.summary.label_transform["kinds"] == [transform or "standardize"]
    assert r2(model.transform(prices)) > 0.95
    mae = evaluation.RegressionEvaluator(metricName="mae").evaluate(model.transform(prices))
    assert 0.2 < model.summary.history["val_mae"][-1] / mae < 5  # of the labels as they are
    assert model.summary.history["loss"][-1] < 1  # of the transformed ones
    model.write().save(str(tmp_path / "model"))
    assert r2(DistKerasModel.load(str(tmp_path / "model")).transform(prices)) > 0.95


def test_a_plain_task_and_the_driver_fit_the_same_transform_and_network(prices):
    weighted = prices.withColumn("w", F.when(F.col("held_out"), 0.5).otherwise(2.0))
    fit = estimator("SingleTrainer", {"num_epoch": 3}, label_transform="log1p", weightCol="w", validation_split=0.2)
    by_driver = fit.fit(weighted)
    (_, by_task), *_ = fit.fitMultiple(weighted, [{}])
    assert by_task.summary.label_transform == by_driver.summary.label_transform
    predicted = [[row.prediction for row in model.transform(prices).collect()] for model in (by_task, by_driver)]
    np.testing.assert_allclose(*predicted, rtol=1e-5)


@pytest.mark.parametrize("trainer", ["SingleTrainer", "LocalSGD"])
def test_folds_are_measured_in_the_labels_units_by_statistics_of_their_training_rows(prices, trainer):
    # All rows of the second fold are a constant higher, which only shows if statistics leak or metrics are of other units.
    shifted = prices.withColumn("label", F.col("label") + F.when(F.col("held_out"), 1e7).otherwise(0.0))
    fit = estimator(trainer, {"num_epoch": 10})
    rmse = evaluation.RegressionEvaluator(metricName="rmse")
    validator = CrossValidator(estimator=fit, estimatorParamMaps=[{}], evaluator=rmse, foldCol="fold", collectSubModels=True)
    validated = validator.setNumFolds(2).fit(shifted.withColumn("fold", F.col("held_out").cast("int")))
    means = [model.summary.label_transform["mean"][0] for (model,) in validated.subModels]
    expected = [
        shifted.where(~F.col("held_out") if fold else F.col("held_out")).agg(F.avg("label")).first()[0] for fold in (1, 0)
    ]
    assert sorted(means) == pytest.approx(sorted(expected), rel=1e-6)
    assert validated.avgMetrics[0] == pytest.approx(1e7, rel=0.1)


def test_labels_without_a_logarithm_are_counted(prices):
    bad = prices.withColumn("label", F.when(F.col("held_out"), -5.0).otherwise(F.col("label")))
    with pytest.raises(DataError, match=r"log1p needs labels above -1, received 61 others, the least of them -5"):
        estimator(label_transform="log1p").fit(bad)


def test_a_network_that_cannot_give_such_outputs_is_refused(prices):
    with pytest.raises(SpecError, match="the activation of the output is 'relu'"):
        estimator(activations=["relu", "relu"], label_transform="standardize").fit(prices)


@pytest.mark.parametrize("label", [None, float("nan")])
def test_a_bad_label_is_the_same_error_as_without_a_transform(prices, label):
    bad = prices.withColumn("label", F.when(F.col("held_out"), F.lit(label)).otherwise(F.col("label")))
    with pytest.raises(DataError, match=r"rows without a label|Labels hold NaN"):
        estimator("SingleTrainer").fit(bad)
