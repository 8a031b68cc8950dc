"""How a fit runs - trainers, weights, validation, stopping, callbacks, several inputs - on a real Spark session."""

import json

import numpy as np
import pytest
from matplotlib import pyplot
from pyspark.ml import evaluation
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.params import TRAINERS
from airflow_provider_distkeras.ml import DistKeras, DistKerasModel
from airflow_provider_distkeras.training import trainers

pytestmark = pytest.mark.spark

ROWS = 301


@pytest.fixture(scope="module")
def data(spark):
    """Rows of y = 2a - 3b + 1, two classes, and three kinds."""
    random = np.random.default_rng(0).normal(size=(ROWS, 2))
    rows = [
        (float(a), float(b), float(2 * a - 3 * b + 1), float(a > b), float((a > 0) + (b > 0)), i % 5 == 0)
        for i, (a, b) in enumerate(random)
    ]
    frame = spark.createDataFrame(rows, ["a", "b", "label", "class", "kind", "held_out"])
    return VectorAssembler(inputCols=["a", "b"], outputCol="features").transform(frame).cache()


def estimator(trainer="ADAG", trainer_params=None, **params):
    options = {"layer_dims": [None, 8, 1], "optimizer": "adam", "learning_rate": 0.05, "seed": 1, "backend": "jax", **params}
    fast = {"batch_size": 16, "num_epoch": 2, **(trainer_params or {})}
    return DistKeras(trainer, fast, **options)


def r2(predicted):
    return evaluation.RegressionEvaluator(metricName="r2").evaluate(predicted)


#: Per trainer, settings by which it learns the line within 20 epochs.
LEARNS = {
    "SingleTrainer": {},
    "ADAG": {"communication_window": 3},
    "DOWNPOUR": {"communication_window": 2},
    "AEASGD": {"communication_window": 4},
    "EAMSGD": {"communication_window": 4},
    "DynSGD": {"communication_window": 2},
    "Experimental": {"communication_window": 2},
    "AveragingTrainer": {},
    "LocalSGD": {"communication_window": 2, "outer_momentum": 0.3},
    "EnsembleTrainer": {},
}


@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_trainer_learns_and_trains_every_row_exactly_num_epoch_times(data, trainer):
    params = {"optimizer": "sgd", "learning_rate": 0.01} if trainer == "EAMSGD" else {}
    model = estimator(trainer, {"num_epoch": 20, **LEARNS[trainer]}, **params).fit(data)
    assert model.summary.rows_trained == 20 * ROWS
    assert r2(model.transform(data)) > 0.95
    assert model.summary.loss[-1] < model.summary.loss[0]


def test_an_ensemble_predicts_the_mean_of_its_members(data):
    model = estimator("EnsembleTrainer", {"num_ensembles": 3}).fit(data)
    network = model.keras_network()
    members = [layer for layer in network.layers if layer.name.startswith("member_")]
    rows = np.array(data.select("a", "b").collect(), np.float32)
    outputs = [np.asarray(member(rows)) for member in members]
    assert len(members) == 3
    assert not np.allclose(outputs[0], outputs[1])
    ours = np.array([row.prediction for row in model.transform(data).select("prediction").collect()])
    np.testing.assert_allclose(ours, np.mean(outputs, axis=0)[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trainer", ["SingleTrainer", "LocalSGD", "AveragingTrainer"])
def test_a_seed_repeats_a_fit_bit_by_bit(data, trainer):
    one, other = (estimator(trainer, dropout_rate=0.3).fit(data.repartition(parts)) for parts in (2, 2))
    for ours, theirs in zip(one.keras_network().get_weights(), other.keras_network().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert one.summary.history == other.summary.history


@pytest.mark.parametrize("trainer", ["ADAG", "DynSGD", "AEASGD"])
def test_workers_that_take_turns_repeat_a_fit_bit_by_bit(data, trainer):
    settings = {"deterministic": True, "communication_window": 2}
    one, other = (estimator(trainer, settings, server_shards=shards).fit(data) for shards in (1, 2))
    for ours, theirs in zip(one.keras_network().get_weights(), other.keras_network().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_local_sgd_with_a_window_of_one_is_large_batch_training(data):
    even = data.limit(256).cache()
    settings = {"num_workers": 2, "batch_size": 128, "communication_window": 1, "num_epoch": 5}
    params = {"optimizer": "sgd", "learning_rate": 0.1, "activations": ["tanh"]}
    ours = estimator("LocalSGD", settings, **params).fit(even).keras_network().get_weights()
    large = estimator("SingleTrainer", {"batch_size": 256, "num_epoch": 5}, **params).fit(even).keras_network().get_weights()
    for one, other in zip(ours, large, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_synchronous_workers_need_their_slots_and_the_error_says_what_to_set(data):
    with pytest.raises(SpecError) as error:
        estimator("LocalSGD", {"num_workers": 3}).fit(data)
    assert "LocalSGD needs 3 workers at the same time, this cluster runs 2 tasks" in str(error.value)
    assert "Set num_workers to at most 2, or start Spark with local[3]" in str(error.value)


def test_asynchronous_workers_do_with_fewer_slots_than_workers(data):
    assert estimator("ADAG", {"num_workers": 5}).fit(data).summary.rows_trained == 2 * ROWS


def test_truth_values_are_labels_and_any_long_is_a_seed(data):
    booleans = data.withColumn("true", F.col("class") == 1)
    model = estimator("SingleTrainer", {"num_epoch": 20}, labelCol="true", loss="binary_crossentropy", seed=-(2**40)).fit(
        booleans
    )
    assert recall(model, booleans, 1.0) > 0.8
    assert str(model.summary).startswith("SingleTrainer: 301 rows, 20 epochs in ")


def test_rows_of_weight_zero_are_not_learned(data):
    spoilt = data.withColumn("weight", F.col("held_out").cast("int")).withColumn(
        "label", F.when(F.col("held_out"), F.col("label")).otherwise(100.0)
    )
    model = estimator("SingleTrainer", {"num_epoch": 60}, weightCol="weight").fit(spoilt)
    assert r2(model.transform(data)) > 0.9


def recall(model, data, kind):
    predicted = model.transform(data.where(F.col("class") == kind))
    return predicted.select(F.avg((F.col("prediction") == kind).cast("double"))).first()[0]


def test_class_weights_move_the_decision(data):
    few = data.where((F.col("class") == 1) | (F.abs(F.col("a")) < 0.3))
    settings = {"labelCol": "class", "loss": "binary_crossentropy", "layer_dims": [None, 1], "learning_rate": 0.02}
    train = {"num_epoch": 10}
    plain = estimator("SingleTrainer", train, **settings).fit(few)
    balanced = estimator("SingleTrainer", train, **settings, class_weight="balanced").fit(few)
    given = estimator("SingleTrainer", train, **settings, class_weight={0: 50, 1: 1}).fit(few)
    assert recall(plain, few, 0.0) < recall(balanced, few, 0.0) <= recall(given, few, 0.0)


def test_validation_rows_are_measured_on_and_not_trained_on(data):
    model = estimator(trainer_params={"num_epoch": 3}, validationIndicatorCol="held_out", metrics=["mae"]).fit(data)
    held_out = data.where("held_out")
    assert model.summary.rows == ROWS - held_out.count()
    assert {len(values) for values in model.summary.history.values()} == {3}
    assert set(model.summary.history) == {"loss", "val_loss", "val_mae"}
    single = estimator("SingleTrainer", validationIndicatorCol="held_out", metrics=["mae"]).fit(data)
    mae = evaluation.RegressionEvaluator(metricName="mae").evaluate(single.transform(held_out))
    assert single.summary.history["val_mae"][-1] == pytest.approx(mae, rel=1e-4)


def test_validation_rows_in_partitions_of_their_own_are_measured_on(data, spark):
    """Two partitions, as many as workers: one has no validation row, one has nothing else."""
    far = data.withColumn("label", F.when(F.col("held_out"), F.col("label") + 100).otherwise(F.col("label")))
    parts = [far.where(f"held_out = {held_out}").coalesce(1) for held_out in ("true", "false")]
    model = estimator(trainer_params={"num_workers": 2}, validationIndicatorCol="held_out", metrics=["mae"], patience=5).fit(
        parts[0].union(parts[1])
    )
    assert sum(worker["validation_rows"] for worker in model.summary.workers) == data.where("held_out").count()
    assert set(model.summary.history) == {"loss", "val_loss", "val_mae"}
    assert min(model.summary.history["val_mae"]) > 50 > max(model.summary.loss) ** 0.5


def test_class_weights_do_not_count_on_validation_rows(data):
    model = estimator(
        "SingleTrainer",
        layer_dims=[None, 8, 3],
        loss="categorical_crossentropy",
        labelCol="kind",
        metrics=["accuracy"],
        class_weight={"0": 10, "1": 1, "2": 0.1},
        validationIndicatorCol="held_out",
    ).fit(data)
    held_out = model.transform(data.where("held_out"))
    accuracy = held_out.where("prediction = kind").count() / held_out.count()
    assert model.summary.history["val_accuracy"][-1] == pytest.approx(accuracy, abs=1e-6)


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


def test_a_split_for_validation_takes_about_its_share_and_the_same_rows_every_time(data):
    one, other = (estimator("SingleTrainer", validation_split=0.3).fit(data.repartition(parts)).summary for parts in (1, 4))
    assert 0.6 * ROWS < one.rows < 0.8 * ROWS
    assert one.history["loss"] == other.history["loss"]
    # The rows are the same, their sums are taken partition by partition.
    assert one.history["val_loss"] == pytest.approx(other.history["val_loss"], rel=1e-5)


def test_metrics_without_validation_rows_are_measured_on_the_training_rows(data):
    model = estimator("SingleTrainer", metrics=["mae"]).fit(data)
    mae = evaluation.RegressionEvaluator(metricName="mae").evaluate(model.transform(data))
    assert model.summary.history["mae"][-1] == pytest.approx(mae, rel=1e-4)


@pytest.mark.parametrize("trainer", ["SingleTrainer", "ADAG", "LocalSGD"])
def test_training_stops_early_and_keeps_the_best_weights(data, trainer):
    noisy = data.withColumn("label", F.when(F.col("held_out"), F.col("label")).otherwise(F.randn(3) * 3))
    params = {"validationIndicatorCol": "held_out", "patience": 2, "layer_dims": [None, 64, 64, 1], "learning_rate": 0.02}
    model = estimator(trainer, {"num_epoch": 60}, **params).fit(noisy)
    summary, losses = model.summary, model.summary.history["val_loss"]
    assert summary.rows_trained < 60 * summary.rows
    assert summary.best_epoch == np.argmin(losses) + 1
    if trainer != "ADAG":  # there, the server weights have moved on while an epoch was evaluated
        mse = evaluation.RegressionEvaluator(metricName="mse").evaluate(model.transform(noisy.where("held_out")))
        assert mse == pytest.approx(min(losses), rel=1e-3)


@pytest.fixture
def module(tmp_path, monkeypatch, spark):
    """Makes a module that the driver and the workers can import."""

    def make(name, text):
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        spark.sparkContext.addPyFile(str(path))

    return make


CALLBACK = """
import json, keras
class Recorder(keras.callbacks.Callback):
    def write(self, *words):
        with open({path!r}, "a") as file:
            file.write(json.dumps(words) + "\\n")
    def on_train_begin(self, logs=None):
        self.write("begin")
    def on_epoch_end(self, epoch, logs=None):
        self.write(epoch, sorted(logs), float(sum(abs(w).sum() for w in self.model.get_weights())))
        if epoch == 2:
            self.model.stop_training = True
    def on_train_end(self, logs=None):
        self.write("end")
"""


@pytest.mark.parametrize(("place", "times"), [("chief", 1), ("every", 2)])
def test_callbacks_see_the_server_weights_and_may_stop_training(data, module, tmp_path, place, times):
    module(f"recorder_{place}", CALLBACK.format(path=str(tmp_path / "calls")))
    settings = {"num_epoch": 50, "communication_window": 2}
    model = estimator("LocalSGD", settings, callbacks=[f"recorder_{place}:Recorder"], callbacks_on=place).fit(data)
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert [line[0] for line in calls].count("begin") == [line[0] for line in calls].count("end") == times
    assert [line[0] for line in calls if line[0] not in ("begin", "end")].count(2) == times
    assert model.summary.epochs == 3
    assert {tuple(line[1]) for line in calls if len(line) == 3} == {("loss",)}
    end = sum(abs(w).sum() for w in model.keras_network().get_weights())
    assert [line for line in calls if len(line) == 3][-1][2] == pytest.approx(end, rel=1e-5)


def test_a_network_takes_its_features_in_its_own_shape(data, module):
    module(
        "shaped",
        "import keras\ndef build(shape):\n    k = keras.layers\n    return keras.Sequential([keras.Input(shape), k.Conv1D(4, 2), k.Flatten(), k.Dense(1)])\n",
    )
    model = estimator("SingleTrainer", {"num_epoch": 30}, layer_dims=None, network="shaped:build", input_shape=[2, 1]).fit(data)
    assert r2(model.transform(data)) > 0.95


TWO = """
import keras
def build():
    left, right = keras.Input((1,), name="left"), keras.Input((2,), name="right")
    joined = keras.layers.Concatenate()([left, right])
    price = keras.layers.Dense(1, name="price")(joined)
    kind = keras.layers.Dense(3, activation="softmax", name="kind")(keras.layers.Dense(16, activation="relu")(joined))
    return keras.Model([left, right], [price, kind])
"""


@pytest.mark.parametrize("named", [False, True])
def test_several_inputs_and_outputs(data, module, tmp_path, named):
    module("two", TWO)
    inputs, outputs = ["a", "features"], ["label", "kind"]
    model = estimator(
        "SingleTrainer", {"num_epoch": 80}, layer_dims=None, network="two:build", loss=["mse", "categorical_crossentropy"],
        featuresCols={"right": "features", "left": "a"} if named else inputs,
        labelCols={"kind": "kind", "price": "label"} if named else outputs, loss_weights=[0.5, 1.0],
    ).fit(data)  # fmt: skip
    model.write().save(str(tmp_path / "model"))
    for each in (model, DistKerasModel.load(str(tmp_path / "model"))):
        predicted = each.transform(data)
        assert dict(predicted.dtypes)["prediction_price"] == dict(predicted.dtypes)["prediction_kind"] == "double"
        assert r2(predicted.withColumnRenamed("prediction_price", "prediction")) > 0.95
        right = predicted.select(F.avg((F.col("prediction_kind") == F.col("kind")).cast("double"))).first()[0]
        assert right > 0.8
        assert predicted.first().probability_kind.toArray().sum() == pytest.approx(1.0, rel=1e-4)


def test_class_numbers_of_every_output_are_checked(data, module):
    module("two", TWO)
    fit = estimator(
        "SingleTrainer", layer_dims=None, network="two:build", loss=["mse", "categorical_crossentropy"],
        featuresCols=["a", "features"], labelCols=["label", "wrong"],
    ).fit  # fmt: skip
    with pytest.raises(DataError, match=r"expected class numbers 0 to 2 .* received [345]"):
        fit(data.withColumn("wrong", F.col("kind") + 3))


def test_several_numbers_are_predicted_at_once(data):
    both = data.withColumn("both", F.array(F.col("a"), F.col("label")))
    model = estimator("SingleTrainer", {"num_epoch": 40}, labelCol="both", layer_dims=[None, 2]).fit(both)
    rows = model.transform(both).select("both", "prediction").collect()
    np.testing.assert_allclose([r.prediction for r in rows], [r.both for r in rows], atol=0.3)


def test_computing_in_bfloat16_keeps_float32_weights(data):
    model = estimator("SingleTrainer", {"num_epoch": 20}, dtype="mixed_bfloat16").fit(data)
    assert {str(w.dtype) for w in model.keras_network().get_weights()} == {"float32"}
    assert model.keras_network().layers[0].compute_dtype == "bfloat16"
    assert r2(model.transform(data)) > 0.9


def test_pytorch_trains_and_predicts(data):
    pytest.importorskip("torch")
    model = estimator(trainer_params={"num_epoch": 20, "communication_window": 3}, backend="torch").fit(data)
    assert r2(model.transform(data)) > 0.95


def test_progress_is_recorded_and_plotted(data, tmp_path):
    path = tmp_path / "progress.jsonl"
    summary = estimator(progress_path=str(path)).fit(data).summary
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert records == summary.progress
    assert records[-1]["rows"] == 2 * ROWS
    assert {"epoch", "samples_per_second", "loss", "eta_seconds", "staleness"} <= set(records[-1])
    assert [len(worker["epochs"]) for worker in summary.workers] == [2, 2]
    assert sum(epoch["rows"] for worker in summary.workers for epoch in worker["epochs"]) == 2 * ROWS
    titles = [axes.get_title() for axes in summary.plot().axes]
    assert titles == ["Loss per epoch", "Training loss per worker", "Rows per second and worker", "Staleness of the updates"]
    assert pyplot.get_fignums() == []  # a notebook would show an open figure twice


def test_rows_are_trained_where_they_lie_unless_there_are_other_or_forced_partitions(spark):
    ids = spark.range(0, 400, 1, 2).where("id >= 100")
    uneven = ids.select(F.array(F.col("id") / 400, F.rand(1)).alias("features"), (F.col("id") / 400).alias("label"))

    def rows(num_workers=2, **params):
        summary = estimator(trainer_params={"num_workers": num_workers}, **params).fit(uneven).summary
        assert summary.rows_trained == 2 * 300
        return sorted(worker["rows"] for worker in summary.workers)

    assert rows() == [100, 200]
    assert rows(force_repartition=True) == [150, 150]
    assert rows(num_workers=3) == [100, 100, 100]


def test_rows_that_memory_must_not_hold_train_the_same(data):
    one, other = (estimator("SingleTrainer", cache_mb=size).fit(data).summary.history for size in (1024, 0.001))
    assert one == other


@pytest.mark.parametrize(
    ("trainer", "params", "error", "message"),
    [
        ("AEASGD", {"rho": 30.0}, SpecError, "rho: rho * learning_rate is 30 * 0.05 = 1.5; expected at most 1"),
        ("EAMSGD", {}, SpecError, "optimizer: EAMSGD brings its own, SGD with Nesterov's momentum; received 'adam'"),
        ("ADAG", {"validationIndicatorCol": "a"}, DataError, "validationIndicatorCol: expected booleans in 'a', received double"),
        ("ADAG", {"validationIndicatorCol": "held_out", "validation_split": 0.1}, SpecError, "Two ways to say what to validate on"),
        ("ADAG", {"weightCol": "wait"}, DataError, "weightCol: Unknown column 'wait'"),
        ("ADAG", {"class_weight": {"0": 2}}, SpecError, "class_weight needs a classifier"),
        ("ADAG", {"callbacks": ["no.such:Thing"]}, SpecError, "callbacks: expected 'package.module:name', received 'no.such:Thing'"),
        ("ADAG", {"callbacks": ["math:pi"]}, SpecError, "callbacks: 'math:pi' cannot be called without arguments"),
        ("ADAG", {"callbacks": ["builtins:dict"]}, SpecError, "callbacks: 'builtins:dict' gives a dict, expected a keras"),
        ("ADAG", {"callbacks": ["keras.callbacks:ReduceLROnPlateau"]}, SpecError, "ReduceLROnPlateau steers the training of one pr"),
        ("ADAG", {"weightCol": "text"}, DataError, "weightCol: expected numbers in 'text', received string"),
        ("ADAG", {"optimizer": {"name": "adam", "use_ema": True}}, SpecError, "optimizer: use_ema averages the weights of one process"),
        ("ADAG", {"batch_size": 8}, SpecError, "'batch_size' is both in trainer_params and an argument of its own"),
        ("ADAG", {"class_weight": {"1.05": 2}}, SpecError, "class_weight: expected class numbers"),
        ("ADAG", {"network": "{}", "layer_dims": None}, SpecError, "network: the JSON is the configuration of no keras.Model"),
        ("ADAG", {"network": "math:sqrt", "layer_dims": None}, SpecError, "network: math:sqrt returned float, expected a keras"),
        ("ADAG", {"network": "operator:itemgetter", "layer_dims": None}, SpecError, "network: operator:itemgetter"),
        ("ADAG", {"validationIndicatorCol": "none"}, DataError, "no row was set aside to validate on"),
        ("ADAG", {"validationIndicatorCol": "every"}, DataError, "every row was set aside to validate on"),
        ("ADAG", {"custom_objects": ["no_such"]}, SpecError, "custom_objects: cannot import 'no_such'"),
        ("ADAG", {"loss": ["mse", "mae"]}, SpecError, "loss: layer_dims makes one output, received 2 losses"),
        ("ADAG", {"input_shape": [2]}, SpecError, "input_shape is for a network of your own"),
        ("ADAG", {"metrics": ["no_such"]}, SpecError, "metrics: Keras does not know ['no_such']"),
        ("ADAG", {"progress_path": "/no/such/folder/file"}, SpecError, "progress_path: cannot write '/no/such/folder/file'"),
    ],
)  # fmt: skip
def test_params_that_cannot_be_fitted_are_refused_with_the_fix(data, trainer, params, error, message):
    more = data.withColumns({"text": F.lit("x"), "none": F.lit(False), "every": F.lit(True)})
    with pytest.raises(error) as raised:
        estimator(trainer, **params).fit(more)
    assert message in str(raised.value)


def test_a_trainer_may_be_given_as_its_class():
    assert DistKeras(trainers.EAMSGD, {"momentum": 0.8, "rho": 2.0}).getOrDefault("trainer") == "EAMSGD"
