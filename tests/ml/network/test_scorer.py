"""Features to scores, without a job."""

import numpy as np
import pyarrow as pa
import pytest
from pyspark.ml import evaluation
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.ml import DistKeras
from airflow_provider_distkeras.ml.estimator.evaluation import evaluate_predictions
from airflow_provider_distkeras.ml.network import inference
from airflow_provider_distkeras.ml.network.scorer import REASON, scorable_rows
from airflow_provider_distkeras.ml.scoring.stream import add_scores


def lists(rows):
    return pa.array(rows, pa.list_(pa.float32()))


@pytest.mark.parametrize("rows", [[[1, 2]], [[1, 2], [3, 4], [5, 6]]])
def test_good_rows_are_taken_as_they_lie(rows):
    matrix, reasons = scorable_rows(lists(rows), 2)
    assert reasons == {}
    np.testing.assert_array_equal(matrix, rows)
    assert not matrix.flags.writeable  # a view of Arrow's memory


def test_a_part_of_an_array_is_that_part():
    matrix, reasons = scorable_rows(lists([[0, 0], None, [1, 2], [3, None], [5, 6]])[2:], 2)
    np.testing.assert_array_equal(matrix, [[1, 2], [0, 0], [5, 6]])
    assert reasons == {1: "feature 1 is missing"}


def test_infinite_values_that_cancel_out_are_detected():
    _, reasons = scorable_rows(lists([[np.inf, -np.inf], [1, 1], [-np.inf, 0]]), 2)
    assert reasons == {0: "feature 0 is infinite", 2: "feature 0 is infinite"}


def test_the_largest_numbers_are_finite():
    most = float(np.finfo(np.float32).max)
    assert scorable_rows(lists([[most, most]] * 100), 2)[1] == {}


@pytest.mark.parametrize("rows", [[None, None], [[], [1]], [[None, None]]])
def test_no_good_row_at_all(rows):
    matrix, reasons = scorable_rows(lists(rows), 2)
    assert matrix.shape == (len(rows), 2)
    assert sorted(reasons) == list(range(len(rows)))


@pytest.fixture(scope="module")
def data(spark):
    random = np.random.default_rng(0).normal(size=(200, 2))
    rows = [([float(a), float(b)], float(2 * a - 3 * b + 1)) for a, b in random]
    return spark.createDataFrame(rows, "features array<float>, label double").cache()


@pytest.fixture(scope="module")
def ensemble(data):
    params = {"batch_size": 16, "num_epoch": 2, "num_ensembles": 3}
    return DistKeras("EnsembleTrainer", params, layer_dims=[None, 8, 1], optimizer="adam", learning_rate=0.05, seed=1).fit(data)


@pytest.mark.spark
def test_an_ensemble_returns_the_spread_of_its_networks(ensemble, data):
    scorer = ensemble.scorer()
    assert scorer.names == ["prediction", "prediction_std"]
    scored = add_scores(data, F.col("features"), scorer, "tensorflow").collect()
    rows = np.array([row.features for row in scored], np.float32)
    members = [layer for layer in ensemble.keras_network().layers if layer.name.startswith("member_")]
    outputs = np.hstack([member.predict(rows, verbose=0) for member in members])
    assert outputs.shape == (200, 3)
    np.testing.assert_allclose([row.prediction for row in scored], outputs.mean(axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose([row.prediction_std for row in scored], outputs.std(axis=1, ddof=1), rtol=1e-3, atol=1e-5)
    assert ensemble.scorer(["prediction"]).names == ["prediction"]


@pytest.mark.spark
def test_one_network_has_no_spread(data):
    one = DistKeras("SingleTrainer", layer_dims=[None, 1]).fit(data)
    assert one.scorer().names == ["prediction"]
    with pytest.raises(SpecError, match="'std' is not available, as the model is no regression by an EnsembleTrainer"):
        one.scorer(["std"])


@pytest.mark.spark
def test_the_scorer_and_the_model_predict_the_same(ensemble, data):
    scored = add_scores(
        ensemble.transform(data).withColumnRenamed("prediction", "p"), F.col("features"), ensemble.scorer(), "tensorflow"
    )
    assert scored.where(f"{REASON} is not null or abs(p - prediction) > 1e-5").count() == 0


def test_no_rows_have_the_type_that_rows_would_have(ensemble):
    scorer = ensemble.scorer()
    assert scorer(lists([])).type == scorer(lists([[0, 0]])).type


def test_a_network_is_loaded_once_per_process(ensemble, monkeypatch):
    scorer = ensemble.scorer()
    loaded = scorer.forward
    monkeypatch.setattr(inference.serialization, "from_bytes", None)
    assert ensemble.scorer().forward is loaded


@pytest.mark.spark
def test_metrics_are_those_of_sparks_evaluators(spark):
    random = np.random.default_rng(1)
    numbers = spark.createDataFrame(random.normal(size=(100, 2)).tolist(), ["label", "prediction"])
    for name, value in evaluate_predictions(numbers, classifies=False).items():
        assert value == pytest.approx(evaluation.RegressionEvaluator(metricName=name).evaluate(numbers))
    classes = spark.createDataFrame(random.integers(0, 4, size=(100, 2)).astype(float).tolist(), ["label", "prediction"])
    for name, value in evaluate_predictions(classes.where("prediction <> 3"), classifies=True).items():
        evaluator = evaluation.MulticlassClassificationEvaluator(metricName=name)
        assert value == pytest.approx(evaluator.evaluate(classes.where("prediction <> 3")))
    for data in (numbers, classes):
        for classifies in (False, True):
            assert evaluate_predictions(data.withColumn("label", F.lit(None).cast("double")), classifies) == {}
            assert evaluate_predictions(data.limit(0), classifies) == {}
