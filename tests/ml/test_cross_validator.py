"""`CrossValidator` in a notebook, in place of Spark's, on real Spark."""

import numpy as np
import pytest
from pyspark.ml import evaluation, tuning
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import functions as F

from airflow_provider_distkeras.ml import CrossValidator, DistKeras

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def data(spark):
    """240 rows of y = 2a - 3b + 1, in three chosen folds."""
    random = np.random.default_rng(0).normal(size=(240, 2))
    rows = [(float(a), float(b), float(2 * a - 3 * b + 1), number % 3) for number, (a, b) in enumerate(random)]
    frame = spark.createDataFrame(rows, "a double, b double, label double, mine int")
    return VectorAssembler(inputCols=["a", "b"], outputCol="features").transform(frame).cache()


def estimator():
    return DistKeras("SingleTrainer", {"batch_size": 16, "num_epoch": 8}, layer_dims=[None, 1], learning_rate=0.05)


def validator(kind, maker, **said):
    grid = tuning.ParamGridBuilder().addGrid(maker.learning_rate, [1e-5, 0.05]).build()
    judge = evaluation.RegressionEvaluator(metricName="r2")
    return kind(estimator=maker, estimatorParamMaps=grid, evaluator=judge, foldCol="mine", **said)


@pytest.fixture(scope="module")
def fitted(data):
    return validator(CrossValidator, estimator(), parallelism=2, collectSubModels=True).fit(data)


def test_it_gives_what_spark_s_gives(data, fitted):
    theirs = validator(tuning.CrossValidator, estimator()).fit(data)
    assert isinstance(fitted, tuning.CrossValidatorModel)
    np.testing.assert_allclose(fitted.avgMetrics, theirs.avgMetrics, rtol=1e-5)
    np.testing.assert_allclose(fitted.stdMetrics, theirs.stdMetrics, rtol=1e-4)
    difference = F.abs(F.col("prediction") - F.col("theirs"))
    both = theirs.transform(fitted.transform(data).withColumnRenamed("prediction", "ours"))
    assert both.withColumn("theirs", F.col("ours")).where(difference > 1e-5).count() == 0


def test_models_of_the_folds_are_kept_if_asked_for(data, fitted):
    assert [len(models) for models in fitted.subModels] == [2, 2, 2]
    judge = fitted.getEvaluator()
    metrics = [judge.evaluate(models[1].transform(data.where(f"mine = {i}"))) for i, models in enumerate(fitted.subModels)]
    assert np.mean(metrics) == pytest.approx(fitted.avgMetrics[1])


def test_it_and_its_model_can_be_saved(data, fitted, tmp_path):
    unfitted = validator(CrossValidator, estimator(), seed=3, preparation={"scaling": None, "layout": None})
    unfitted.write().save(f"{tmp_path}/unfitted")
    loaded = CrossValidator.load(f"{tmp_path}/unfitted")
    assert type(loaded) is CrossValidator
    assert (loaded.getSeed(), loaded.getFoldCol(), len(loaded.getEstimatorParamMaps())) == (3, "mine", 2)
    assert loaded.getOrDefault("preparation") == {"scaling": None, "layout": None}
    fitted.write().save(f"{tmp_path}/fitted")
    again = tuning.CrossValidatorModel.load(f"{tmp_path}/fitted")
    assert again.avgMetrics == fitted.avgMetrics
    assert again.transform(data).select("prediction").collect() == fitted.transform(data).select("prediction").collect()
