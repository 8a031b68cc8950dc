"""`CrossValidator` and `TrainValidationSplit` in place of Spark's, on real Spark."""

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
from airflow_provider_distkeras.training.task import local_folder

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


def validator(kind, base, **options):
    grid = tuning.ParamGridBuilder().addGrid(base.learning_rate, [1e-5, 0.05]).build()
    evaluator = evaluation.RegressionEvaluator(metricName="r2")
    return kind(estimator=base, estimatorParamMaps=grid, evaluator=evaluator, foldCol="mine", **options)


@pytest.fixture(scope="module")
def fitted(data):
    return validator(CrossValidator, estimator(), parallelism=2, collectSubModels=True).fit(data)


def test_metrics_and_model_equal_those_of_spark_s_cross_validator(data, fitted):
    theirs = validator(tuning.CrossValidator, estimator()).fit(data)
    assert isinstance(fitted, tuning.CrossValidatorModel)
    np.testing.assert_allclose(fitted.avgMetrics, theirs.avgMetrics, rtol=1e-5)
    np.testing.assert_allclose(fitted.stdMetrics, theirs.stdMetrics, rtol=1e-4)
    difference = F.abs(F.col("prediction") - F.col("theirs"))
    both = theirs.transform(fitted.transform(data).withColumnRenamed("prediction", "ours"))
    assert both.withColumn("theirs", F.col("ours")).where(difference > 1e-5).count() == 0


def test_models_of_the_folds_are_collected(data, fitted):
    assert [len(models) for models in fitted.subModels] == [2, 2, 2]
    evaluator = fitted.getEvaluator()
    metrics = [evaluator.evaluate(models[1].transform(data.where(f"mine = {i}"))) for i, models in enumerate(fitted.subModels)]
    assert np.mean(metrics) == pytest.approx(fitted.avgMetrics[1])


def test_the_cross_validator_and_its_model_can_be_saved(data, fitted, tmp_path):
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


def split(base, **options):
    grid = tuning.ParamGridBuilder().addGrid(base.learning_rate, [1e-5, 0.05]).build()
    evaluator = evaluation.RegressionEvaluator(metricName="r2")
    return TrainValidationSplit(estimator=base, estimatorParamMaps=grid, evaluator=evaluator, **options)


def test_one_split_evaluates_each_trial_once_and_can_be_saved(data, tmp_path):
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


def rows_by_part(base, data, **options):
    """Return the values of `mine` in the rows that a split trains on, and in those that it is evaluated on."""
    splitter = split(base, **options)._splitter()
    assigned, (fold,) = splitter.assign(data), splitter.folds
    return [
        sorted(row["mine"] for row in rows.select("mine").collect())
        for rows in (fold.training_rows(assigned), fold.held_out_rows(assigned))
    ]


def test_one_split_by_share_by_time_and_by_group(data):
    trained, evaluated = rows_by_part(estimator(), data, trainRatio=0.75)
    assert len(trained) + len(evaluated) == 240
    assert 0.6 < len(trained) / 240 < 0.9
    assert rows_by_part(estimator(), data, trainRatio=0.66, timeCol="mine") == [[0] * 80 + [1] * 80, [2] * 80]
    trained, evaluated = rows_by_part(estimator(), data, trainRatio=0.5, groupCol="mine")
    assert not set(trained) & set(evaluated)
    assert trained
    assert evaluated


def test_folds_by_group_and_the_same_share_of_each_label(data):
    classes = data.withColumn("label", (F.col("label") > 4).cast("double"))
    base = estimator()
    validator = CrossValidator(
        estimator=base, estimatorParamMaps=[{}], evaluator=evaluation.RegressionEvaluator(), numFolds=4, stratified=True
    )
    parts = validator._splitter().assign(classes).groupBy("__distkeras_part").agg(F.sum("label"), F.count(F.lit(1))).collect()
    assert max(row[1] for row in parts) - min(row[1] for row in parts) <= 1
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
    ("params", "error"),
    [
        ({"estimatorParamMaps": []}, "estimatorParamMaps: expected at least one dict of Params"),
        (
            {"estimatorParamMaps": [{"learning_rate": 0.1}]},
            "expected Params, such as estimator.learning_rate, received 'learning_rate'",
        ),
        (
            {"numFolds": 1},
            "numFolds: expected at least 2, received 1. For one share of rows to measure on, use TrainValidationSplit",
        ),
        ({"parallelism": 0}, "parallelism: expected an integer of at least 1, received 0"),
    ],
)
def test_params_that_cannot_be_searched_are_refused_before_any_fit(data, params, error):
    refused = validator(CrossValidator, estimator())
    for name, value in params.items():
        refused._paramMap[refused.getParam(name)] = value
    with pytest.raises(SpecError, match=error):
        refused.fit(data)


def test_impossible_folds_end_a_search_of_fewer_fits_than_threads(data):
    base = estimator()
    split_by_constant = TrainValidationSplit(
        estimator=base, estimatorParamMaps=[{}], evaluator=evaluation.RegressionEvaluator(), groupCol="one"
    )
    with pytest.raises(DataError, match="split by 'one', which may have too few different values"):
        split_by_constant.fit(data.withColumn("one", F.lit(1)))


def test_an_interrupted_search_hands_out_no_more_fits(data, monkeypatch):
    stopped = []

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadPool, "map", interrupted)
    monkeypatch.setattr(Study, "stop", lambda self: stopped.append(self))
    with pytest.raises(KeyboardInterrupt):
        validator(CrossValidator, estimator()).fit(data)
    assert len(stopped) == 1


def test_a_metric_that_only_spark_has_is_evaluated_by_spark(data):
    base = estimator()
    evaluator = evaluation.RegressionEvaluator(metricName="r2", throughOrigin=True)
    ours, theirs = (
        kind(estimator=base, estimatorParamMaps=[{}], evaluator=evaluator, foldCol="mine").fit(
            data.withColumn("label", F.col("label") + 5)
        )
        for kind in (CrossValidator, tuning.CrossValidator)
    )
    np.testing.assert_allclose(ours.avgMetrics, theirs.avgMetrics, atol=0.02)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_classes_are_sampled_in_the_training_rows_of_a_fold_never_in_those_it_is_measured_on(data, num_workers):
    classes = data.withColumn("label", (F.col("label") > 4).cast("double"))
    base = DistKeras(
        "LocalSGD" if num_workers > 1 else "SingleTrainer",
        {"batch_size": 16, "num_epoch": 4, **({"num_workers": 2} if num_workers > 1 else {})},
        layer_dims=[None, 1], loss="binary_crossentropy", learning_rate=0.05, class_sampling="under",
    )  # fmt: skip
    evaluator = evaluation.MulticlassClassificationEvaluator(metricName="accuracy")
    fitted = CrossValidator(
        estimator=base, estimatorParamMaps=[{}], evaluator=evaluator, foldCol="mine", collectSubModels=True
    ).fit(classes)
    accuracies = []
    for fold, (model,) in enumerate(fitted.subModels):
        positives = classes.where(f"mine != {fold} AND label = 1").count()
        assert 0 < positives < 40  # of 160 rows
        assert model.summary.rows == 2 * positives
        accuracies.append(evaluator.evaluate(model.transform(classes.where(f"mine = {fold}"))))
    assert fitted.avgMetrics[0] == pytest.approx(np.mean(accuracies))
