"""`CrossValidator` in a notebook, in place of Spark's, on real Spark."""

from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest
from pyspark.ml import evaluation, tuning
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.ml import CrossValidator, DistKeras, TrainValidationSplit
from airflow_provider_distkeras.ml.tuning.study import Study
from airflow_provider_distkeras.training.worker import local_folder

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


def split(maker, **said):
    grid = tuning.ParamGridBuilder().addGrid(maker.learning_rate, [1e-5, 0.05]).build()
    judge = evaluation.RegressionEvaluator(metricName="r2")
    return TrainValidationSplit(estimator=maker, estimatorParamMaps=grid, evaluator=judge, **said)


def test_one_split_measures_each_cell_once_and_can_be_saved(data, tmp_path):
    fitted = split(estimator(), trainRatio=0.7, collectSubModels=True).fit(data)
    assert isinstance(fitted, tuning.TrainValidationSplitModel)
    assert fitted.validationMetrics[1] > 0.9 > fitted.validationMetrics[0]
    assert len(fitted.subModels) == 2
    split(estimator(), trainRatio=0.7, timeCol="mine").write().save(f"{tmp_path}/unfitted")
    loaded = TrainValidationSplit.load(f"{tmp_path}/unfitted")
    assert type(loaded) is TrainValidationSplit
    assert (loaded.getTrainRatio(), loaded.getOrDefault("timeCol")) == (0.7, "mine")
    fitted.write().save(f"{tmp_path}/fitted")
    assert tuning.TrainValidationSplitModel.load(f"{tmp_path}/fitted").validationMetrics == fitted.validationMetrics


def rows_by_part(maker, data, **said):
    """What a split trains on and is measured on: the values of `mine` in each."""
    folds = split(maker, **said)._splitter()
    dealt, (only,) = folds.assign(data), folds.folds
    return [
        sorted(row["mine"] for row in rows.select("mine").collect())
        for rows in (only.training_rows(dealt), only.held_out_rows(dealt))
    ]


def test_one_split_by_share_by_time_and_by_group(data):
    trained, measured = rows_by_part(estimator(), data, trainRatio=0.75)
    assert len(trained) + len(measured) == 240
    assert 0.6 < len(trained) / 240 < 0.9
    assert rows_by_part(estimator(), data, trainRatio=0.66, timeCol="mine") == [[0] * 80 + [1] * 80, [2] * 80]
    trained, measured = rows_by_part(estimator(), data, trainRatio=0.5, groupCol="mine")
    assert not set(trained) & set(measured)
    assert trained
    assert measured


def test_folds_by_group_and_the_same_share_of_each_label(data):
    classes = data.withColumn("label", (F.col("label") > 4).cast("double"))
    maker = estimator()
    validator = CrossValidator(
        estimator=maker, estimatorParamMaps=[{}], evaluator=evaluation.RegressionEvaluator(), numFolds=4, stratified=True
    )
    dealt = validator._splitter().assign(classes).groupBy("__distkeras_part").agg(F.sum("label"), F.count(F.lit(1))).collect()
    assert max(row[1] for row in dealt) - min(row[1] for row in dealt) <= 1
    with pytest.raises(SpecError, match="expected one way to make them"):
        validator.copy().setParams(groupCol="mine").fit(classes)


def test_rows_that_tasks_share_go_with_the_last_fit(spark, data):
    def stored():
        count = lambda _: len(list(Path(local_folder()).glob("distkeras-rows-*")))  # noqa: E731 - sent to the worker by value
        return spark.sparkContext.parallelize([0], 1).map(count).first()

    before = stored()
    fits = estimator().fitMultiple(data, [{}, {}])
    next(fits)
    assert stored() == before + 1
    next(fits)
    assert stored() == before


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"estimatorParamMaps": []}, "estimatorParamMaps: expected at least one dict of Params"),
        (
            {"estimatorParamMaps": [{"learning_rate": 0.1}]},
            "expected Params, such as estimator.learning_rate, received 'learning_rate'",
        ),
        ({"numFolds": 1}, "numFolds: expected an integer of at least 2, received 1"),
        ({"parallelism": 0}, "parallelism: expected an integer of at least 1, received 0"),
    ],
)
def test_what_cannot_be_searched_is_told_at_once(data, said, error):
    asked = validator(CrossValidator, estimator())
    for name, value in said.items():
        asked._paramMap[asked.getParam(name)] = value
    with pytest.raises(SpecError, match=error):
        asked.fit(data)


def test_folds_that_cannot_be_end_a_search_of_fewer_fits_than_threads(data):
    maker = estimator()
    alike = TrainValidationSplit(
        estimator=maker, estimatorParamMaps=[{}], evaluator=evaluation.RegressionEvaluator(), groupCol="one"
    )
    with pytest.raises(DataError, match="split by 'one', which may have too few different values"):
        alike.fit(data.withColumn("one", F.lit(1)))


def test_an_interrupted_search_hands_out_no_more_fits(data, monkeypatch):
    stopped = []

    def interrupted(*said, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadPool, "map", interrupted)
    monkeypatch.setattr(Study, "stop", lambda self: stopped.append(self))
    with pytest.raises(KeyboardInterrupt):
        validator(CrossValidator, estimator()).fit(data)
    assert len(stopped) == 1


def test_a_metric_that_only_spark_knows_is_measured_by_spark(data):
    maker = estimator()
    judge = evaluation.RegressionEvaluator(metricName="r2", throughOrigin=True)
    ours, theirs = (
        kind(estimator=maker, estimatorParamMaps=[{}], evaluator=judge, foldCol="mine").fit(
            data.withColumn("label", F.col("label") + 5)
        )
        for kind in (CrossValidator, tuning.CrossValidator)
    )
    np.testing.assert_allclose(ours.avgMetrics, theirs.avgMetrics, atol=0.02)
