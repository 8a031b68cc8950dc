"""Fits with every trainer: what they train, repeat and record, and what they refuse; on a real Spark session."""

import json

import numpy as np
import pytest
from matplotlib import pyplot
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.params.trainers import TRAINERS
from airflow_provider_distkeras.ml import DistKeras
from airflow_provider_distkeras.training import trainers
from tests.ml.estimator.linear import ROWS, estimator, r2

pytestmark = pytest.mark.spark


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


@pytest.mark.parametrize("trainer", ["LocalSGD", "AveragingTrainer"])
@pytest.mark.parametrize(
    ("optimizer", "rates"),
    [
        ("sgd", {"lr_decay": 0.01}),
        (
            {"name": "sgd", "momentum": 0.9},
            {"lr_schedule": "warmup_cosine", "reduce_on_plateau": {"patience": 1, "min_delta": 0.2}},
        ),
    ],
    ids=["decay", "momentum and schedule"],
)
def test_with_the_settings_of_keras_workers_that_average_each_step_train_as_one(data, trainer, optimizer, rates, caplog):
    rows = data.limit(300).repartition(2)  # a batch of all rows is shared out evenly, so the order of the rows is of no account
    settings = {"optimizer": optimizer, "learning_rate": 0.02, "settings": "keras", **rates}
    alone = estimator("SingleTrainer", {"batch_size": 300, "num_epoch": 20}, **settings).fit(rows)
    with caplog.at_level("INFO", "airflow_provider_distkeras.ml.estimator.fit"):
        together = estimator(trainer, {"batch_size": 300, "num_epoch": 20, "num_workers": 2}, **settings).fit(rows)
    assert f"{trainer}: 2 workers take batches of 150 rows" in caplog.text
    assert "derived from batches of 300 rows and a learning rate of 0.02." in caplog.text
    assert together.summary.steps == 2 * alone.summary.steps
    assert together.summary.history["learning_rate"] == pytest.approx(alone.summary.history["learning_rate"])
    for ours, theirs in zip(together.keras_network().get_weights(), alone.keras_network().get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


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
    params = {"optimizer": "sgd", "learning_rate": 0.1, "activations": ["tanh"], "settings": "raw"}
    ours = estimator("LocalSGD", settings, **params).fit(even).keras_network().get_weights()
    large = estimator("SingleTrainer", {"batch_size": 256, "num_epoch": 5}, **params).fit(even).keras_network().get_weights()
    for one, other in zip(ours, large, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_synchronous_workers_need_their_slots_and_the_error_names_the_fix(data):
    with pytest.raises(SpecError) as error:
        estimator("LocalSGD", {"num_workers": 3}).fit(data)
    assert "LocalSGD needs 3 workers at the same time, this cluster runs 2 tasks" in str(error.value)
    assert "Set num_workers to at most 2, or start Spark with local[3]" in str(error.value)


def test_asynchronous_workers_do_with_fewer_slots_than_workers(data):
    assert estimator("ADAG", {"num_workers": 5}).fit(data).summary.rows_trained == 2 * ROWS


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
        ("AEASGD", {"rho": 0.1}, SpecError, "rho: how strongly workers are tied to the server's weights"),
        ("AEASGD", {"rho": 30.0, "settings": "raw"}, SpecError, "rho: rho * learning_rate is 30 * 0.05 = 1.5; expected at most 1"),
        ("EAMSGD", {"settings": "raw"}, SpecError, "optimizer: EAMSGD brings its own, SGD with Nesterov's momentum; received 'adam'"),
        ("ADAG", {"validationIndicatorCol": "a"}, DataError, "validationIndicatorCol: expected booleans in 'a', received double"),
        ("ADAG", {"validationIndicatorCol": "held_out", "validation_split": 0.1}, SpecError, "Two ways to say what to validate on"),
        ("ADAG", {"weightCol": "wait"}, DataError, "weightCol: Unknown column 'wait'"),
        ("ADAG", {"class_weight": {"0": 2}}, SpecError, "class_weight needs a classifier"),
        ("ADAG", {"callbacks": ["no.such:Thing"]}, SpecError, "callbacks: expected 'package.module:name', received 'no.such:Thing'"),
        ("ADAG", {"callbacks": ["math:pi"]}, SpecError, "callbacks: 'math:pi' cannot be called without arguments"),
        ("ADAG", {"callbacks": ["builtins:dict"]}, SpecError, "callbacks: 'builtins:dict' gives a dict, expected a keras"),
        ("ADAG", {"callbacks": ["keras.callbacks:ReduceLROnPlateau"]}, SpecError, "Set reduce_on_plateau"),
        ("ADAG", {"weightCol": "text"}, DataError, "weightCol: expected numbers in 'text', received string"),
        ("ADAG", {"optimizer": {"name": "adam", "use_ema": True}}, SpecError, "optimizer: use_ema averages the weights of one process"),
        ("ADAG", {"batch_size": 8}, SpecError, "'batch_size' is both in trainer_params and an argument of its own"),
        ("ADAG", {"class_weight": {"1.05": 2}}, SpecError, "class_weight: expected class numbers"),
        ("ADAG", {"network": "{}", "layer_dims": None}, SpecError, "network: the JSON is the configuration of no keras.Model"),
        ("ADAG", {"network": "math:sqrt", "layer_dims": None}, SpecError, "network: math:sqrt returned float, expected a keras"),
        ("ADAG", {"network": "operator:itemgetter", "layer_dims": None}, SpecError, "network: operator:itemgetter"),
        ("ADAG", {"validationIndicatorCol": "none"}, DataError, "no row was set aside to validate on"),
        ("ADAG", {"validationIndicatorCol": "every"}, DataError, "every row was set aside to validate on"),
        ("ADAG", {"lr_schedule": "cosine", "lr_decay": 0.1}, SpecError, "lr_decay: lr_schedule decides how the learning rate falls"),
        ("ADAG", {"lr_schedule": {"class_name": "A", "registered_name": "no>A"}, "learning_rate": None}, SpecError, "registered as 'no>A'"),
        ("ADAG", {"custom_objects": ["no_such"]}, SpecError, "custom_objects: cannot import 'no_such'"),
        ("ADAG", {"loss": ["mse", "mae"]}, SpecError, "loss: layer_dims makes one output, received 2 losses"),
        ("ADAG", {"input_shape": [2]}, SpecError, "input_shape is for a network of your own"),
        ("ADAG", {"metrics": ["no_such"]}, SpecError, "metrics: Unknown metric 'no_such'."),
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
