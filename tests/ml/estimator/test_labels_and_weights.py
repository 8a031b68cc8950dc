"""Kinds of labels, weights of rows and of classes, samples of classes, on a real Spark session."""

import numpy as np
import pytest
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.ml.estimator.sample_weights import ClassSampling, sample_classes
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


@pytest.fixture(scope="module")
def rare(spark):
    """1000 rows, of which 20 are of the class 1, whose features are a little larger; 100 rows to validate on, 5 of the class 1."""
    random = np.random.default_rng(0)
    labels = np.arange(1100) % 50 == 0
    labels[1000:] = np.arange(100) % 20 == 0
    features = random.normal(size=(1100, 2)) + 1.2 * labels[:, None]
    rows = [([*map(float, x)], float(y), i >= 1000) for i, (x, y) in enumerate(zip(features, labels, strict=True))]
    return spark.createDataFrame(rows, "features array<double>, class double, held_out boolean").cache()


def classifier(trainer, trainer_params=None, **params):
    settings = {"labelCol": "class", "loss": "binary_crossentropy", "layer_dims": [None, 1], "learning_rate": 0.02}
    return estimator(trainer, trainer_params, **{**settings, "validationIndicatorCol": "held_out", **params})


@pytest.mark.parametrize(("sampling", "counts"), [("over", (980, 980)), ("under", (20, 20)), ({"0": 0.25, "1": 2.5}, (245, 50))])
def test_classes_are_sampled_alike_where_spark_prepares_the_rows_and_where_a_task_does(rare, caplog, sampling, counts):
    fitted = classifier("SingleTrainer", {"num_epoch": 1}, class_sampling=sampling)
    with caplog.at_level("INFO", "airflow_provider_distkeras.ml.estimator.sample_weights"):
        models = [fitted.fit(rare), next(fitted.fitMultiple(rare, [{}]))[1]]
    for model in models:
        assert model.summary.rows == sum(counts)
        assert [worker["validation_rows"] for worker in model.summary.workers] == [100]
    assert f"class_sampling: 0: 980 -> {counts[0]}, 1: 20 -> {counts[1]}" in caplog.messages


def test_a_sample_of_classes_is_the_same_in_whatever_partitions_the_rows_lie_and_spreads_over_equal_rows(spark):
    data = spark.range(4000).selectExpr("array(float(id % 4)) AS features", "array(float(id % 40 = 0)) AS label", "id AS row")
    row_by_row, equal = data.withColumn("features", F.array(F.col("row").cast("float"))).drop("row"), data.drop("row")

    def sample(rows, partitions, seed):
        sampled = sample_classes(rows.repartition(partitions), ClassSampling({0.0: 0.25, 1.0: 1.5}, seed))
        return sorted((row.label[0], row.features[0]) for row in sampled.collect())

    assert sample(row_by_row, 2, 1) == sample(row_by_row, 5, 1) != sample(row_by_row, 2, 2)
    per_value = [sample(equal, 2, 1).count((0.0, float(value))) for value in range(4)]
    # Of 900 rows that are equal to it, or 1000, each value keeps a quarter, as near as whole rows allow.
    assert sum(per_value) == 975
    np.testing.assert_allclose(per_value, [225, 250, 250, 250], atol=1)


def test_a_rare_class_is_found_more_often_when_it_is_sampled(rare):
    settings = {"num_epoch": 20, "communication_window": 2, "num_workers": 2}
    samplings = [{}, {"class_sampling": "over"}, {"class_sampling": "under"}]
    plain, *sampled = (classifier("ADAG", settings, **params).fit(rare) for params in samplings)
    held_out = rare.where("held_out")
    assert recall(plain, held_out, 1.0) <= 0.2
    for model in sampled:
        assert recall(model, held_out, 1.0) >= 0.6
        assert model.summary.history["val_loss"][-1] > plain.summary.history["val_loss"][-1]  # measured on rows as they are


def test_balanced_class_weights_count_the_rows_after_sampling(rare):
    fits = (classifier("SingleTrainer", class_sampling="over", **more).fit(rare) for more in ({}, {"class_weight": "balanced"}))
    losses = [fit.summary.loss for fit in fits]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize("name", ["class_weight", "class_sampling"])
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"loss": "mse"}, "{} needs a classifier with one output; the loss is 'mse'"),
        ({"class": {"2": 2}}, "{}: expected class numbers 0 to 1 of this network, received 2"),
        (
            {"labelCol": "hot", "loss": "categorical_crossentropy", "layer_dims": [None, 2]},
            "{} needs class numbers as labels; labelCol holds arrays of 2 values",
        ),
    ],
)
def test_classes_that_are_none_are_neither_weighed_nor_sampled(rare, name, params, message):
    hot = rare.withColumn("hot", F.array(1 - F.col("class"), F.col("class")))
    settings = {name: params.get("class", {"1": 2}), **{key: value for key, value in params.items() if key != "class"}}
    with pytest.raises(SpecError, match=message.format(name)):
        classifier("SingleTrainer", **settings).fit(hot)
