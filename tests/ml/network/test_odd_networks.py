"""Networks of all shapes are trained by the rule of every trainer, or refused by one clear error before Spark starts."""

import keras
import numpy as np
import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.params.trainers import TRAINERS
from airflow_provider_distkeras.ml.network.builder import build_network
from airflow_provider_distkeras.ml.network.serialization import from_bytes, to_bytes
from airflow_provider_distkeras.training import trainers
from airflow_provider_distkeras.training.algorithms.synchronous import SynchronousRule
from airflow_provider_distkeras.training.backends import compile_window
from airflow_provider_distkeras.training.dataset import Rows
from tests.ml.network import odd_networks

MEAN, SPREAD = np.array([100, 5, 0]), np.array([10, 0.5, 1])
BATCH, WINDOW, WORKERS = 16, 4, 2


def rows(count, seed):
    normal = np.random.default_rng(seed).normal(size=(count, 3))
    labels = normal @ [0.5, -1, 1]
    return Rows(np.column_stack([normal * SPREAD + MEAN, labels, np.ones(count)]).astype(np.float32))


def build(name):
    options = {"network": f"tests.ml.network.odd_networks:{name}", "loss": "mse", "metrics": None}
    return build_network(options, {"0": 3}, {"0": 1}, 0, keras.config.backend(), "sgd")


@pytest.fixture(scope="module")
def networks():
    """Each network, built and compiled once."""
    made = {}

    def get(name):
        if name not in made:
            built = build(name)
            made[name] = built, compile_window(built.plan, BATCH, WINDOW)
        return made[name]

    return get


def train(trainer, built, compiled, epochs=6, rate=0.01):
    """Trained weights, (members, weights), by rounds in which each worker takes a window and commits."""
    parts = [rows(256, seed) for seed in range(WORKERS)]
    rule = trainer.rule(built.trainable, rate)
    store = rule.open(built.initial)
    compiled.reset(0)
    weights = [rule.pull(store, worker) for worker in range(WORKERS)]
    for epoch in range(epochs):
        for windows in zip(*(part.windows(BATCH, WINDOW, [epoch]) for part in parts), strict=True):
            updates = []
            for worker, window in enumerate(windows):
                after, loss = compiled.run(weights[worker], window, np.full(WINDOW, rate, np.float32), built.values)
                assert np.isfinite(loss)
                update = rule.update(weights[worker], after, window.steps)
                if not isinstance(rule, SynchronousRule):
                    weights[worker] = rule.resume(after, rule.exchange(store, worker, update, worker))
                updates.append(update)
            if isinstance(rule, SynchronousRule):
                rule.combine(store, updates, [window.rows for window in windows])
                weights = [rule.pull(store, worker) for worker in range(WORKERS)]
    return rule.result(store)


every_trainer = pytest.mark.parametrize("name", [name for name in TRAINERS if name != "SingleTrainer"])


def make_trainer(name):
    workers = "num_ensembles" if name == "EnsembleTrainer" else "num_workers"
    return trainers.get(name)(batch_size=BATCH, num_epoch=1, **{workers: WORKERS})


every_network = pytest.mark.parametrize("network", ["subclassed", "without_input", "batch_normalized", "adapted"])


@every_trainer
@every_network
def test_every_rule_trains_it(networks, name, network):
    built, compiled = networks(network)
    members = train(make_trainer(name), built, compiled, epochs=2)
    assert np.isfinite(members).all()
    assert not np.allclose(members[0], built.initial[0])


@pytest.mark.parametrize("name", ["AveragingTrainer", "EnsembleTrainer"])
@every_network
def test_the_saved_network_is_the_trained_one(networks, name, network):
    built, compiled = networks(network)
    members, held_out = train(make_trainer(name), built, compiled, epochs=1), rows(64, 9)
    outputs = [next(compiled.predict(flat, held_out))[1][0] for flat in members]
    trained = from_bytes(to_bytes(built.trained(members)))
    predicted = keras.ops.convert_to_numpy(trained(held_out.records[:, :3], training=False))
    np.testing.assert_allclose(predicted, np.mean(outputs, axis=0), rtol=1e-3, atol=1e-4)


@every_trainer
def test_the_statistics_of_batch_normalization_are_near_those_of_all_rows(networks, name):
    built, compiled = networks("batch_normalized")
    for flat in train(make_trainer(name), built, compiled):
        mean, variance = np.split(flat[built.trainable :], 2)
        np.testing.assert_allclose((mean - MEAN) / SPREAD, 0, atol=0.3)
        np.testing.assert_allclose(variance / SPREAD**2, 1, atol=0.3)


def test_adapted_statistics_are_constants_that_no_rule_moves(networks):
    built, _ = networks("adapted")
    assert built.initial.shape[1] == (3 * 6 + 6) + (6 + 1)
    original = odd_networks.adapted()
    inputs = rows(5, 0).records[:, :3]
    again = built.network
    for new, old in zip(again.trainable_variables, original.trainable_variables, strict=True):
        new.assign(old)
    both = [keras.ops.convert_to_numpy(network(inputs)) for network in (again, original)]
    np.testing.assert_allclose(*both, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lambda_layer", "a worker cannot build it again .* write a Lambda layer as such a class"),
        ("unregistered", "a worker cannot build it again .* Unregistered is not registered"),
        ("opaque", "a worker cannot build it again from its configuration: Object Opaque was created by passing"),
        ("without_config", "it has other weights. The get_config of its classes must return all"),
        ("unadapted", "the layer 'normalization.*' was not adapted. Call its adapt"),
        ("wants_pictures", "does not take rows of shape \\(3,\\).* set input_shape"),
    ],
)
def test_what_no_worker_can_train_is_refused_at_once(name, message):
    with pytest.raises(SpecError, match=message) as raised:
        build(name)
    assert len(str(raised.value)) < 700


def test_json_without_an_input_takes_the_rows_and_a_lambda_in_it_is_refused():
    options = {"network": odd_networks.without_input().to_json(), "loss": "mse"}
    built = build_network(options, {"0": 3}, {"0": 1}, 0, keras.config.backend(), "sgd")
    assert built.network.inputs[0].shape == (None, 3)
    options["network"] = odd_networks.lambda_layer().to_json()
    with pytest.raises(SpecError, match=r"not a Keras JSON configuration that may be loaded: .*Lambda"):
        build_network(options, {"0": 3}, {"0": 1}, 0, keras.config.backend(), "sgd")
