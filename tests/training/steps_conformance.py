"""What a compiled window must do, against NumPy; run by test_steps.py once per backend."""

import json

import keras
import numpy as np
import pytest

from airflow_provider_distkeras.training import weights
from airflow_provider_distkeras.training.dataset import Rows
from airflow_provider_distkeras.training.steps import NetworkPlan, compile_forward, compile_window

BATCH, WINDOW, FEATURES = 4, 3, 5
RATES = np.array([0.1, 0.05, 0.02], np.float32)


def plan(network, loss="mse", optimizer="sgd", **arguments):
    made = keras.optimizers.get({"class_name": optimizer, "config": {**arguments, "learning_rate": 1.0}})
    return NetworkPlan(network.to_json(), loss, json.dumps(keras.optimizers.serialize(made)))


def linear(units=1, activation="linear", regularizer=None):
    layer = keras.layers.Dense(units, activation=activation, kernel_regularizer=regularizer)
    return keras.Sequential([keras.Input((FEATURES,)), layer])


def rows(count, classes=0):
    random = np.random.default_rng(1)
    labels = random.integers(0, classes, count) if classes else random.normal(size=count)
    return Rows(random.normal(size=(count, FEATURES)).astype(np.float32), labels.astype(np.float32))


def sgd_by_hand(flat, window, l2=0.0):
    """Linear regression by gradient descent: kernel first, then the bias."""
    kernel, bias, total = flat[:FEATURES].astype(float), float(flat[FEATURES]), 0.0
    for step in range(window.steps):
        kept = window.mask[step] > 0
        x, y = window.features[step][kept].astype(float), window.labels[step][kept].astype(float)
        error = x @ kernel + bias - y
        total += (error**2).sum()
        kernel = kernel - RATES[step] * (2 * x.T @ error / len(y) + 2 * l2 * kernel)
        bias -= RATES[step] * 2 * error.mean()
    return np.append(kernel, bias), total


@pytest.mark.parametrize("count", [12, 11, 9, 5, 1])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_sgd_equals_numpy_for_whole_and_partial_windows(count, l2):
    network = linear(regularizer=keras.regularizers.L2(l2) if l2 else None)
    compiled = compile_window(plan(network), BATCH, WINDOW)
    compiled.reset(0)
    flat = weights.get_flat(network)
    (window,) = rows(count).windows(BATCH, WINDOW, [0])
    after, loss = compiled.run(flat, window, RATES)
    expected, expected_loss = sgd_by_hand(flat, window, l2)
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-5)
    assert loss == pytest.approx(expected_loss, rel=1e-4)


def test_the_optimizer_keeps_its_state_between_windows_until_it_is_reset():
    network = linear()
    compiled = compile_window(plan(network, optimizer="sgd", momentum=0.9), BATCH, WINDOW)
    flat = weights.get_flat(network)
    (window,) = rows(12).windows(BATCH, WINDOW, [0])
    compiled.reset(0)
    first, _ = compiled.run(flat, window, RATES)
    second, _ = compiled.run(flat, window, RATES)
    compiled.reset(0)
    again, _ = compiled.run(flat, window, RATES)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(first, again)


def test_steps_without_rows_leave_momentum_and_weights_alone():
    network = linear()
    compiled = compile_window(plan(network, optimizer="adam"), BATCH, WINDOW)
    flat = weights.get_flat(network)
    short = compile_window(plan(network, optimizer="adam"), BATCH, 1)
    (long_window,) = rows(4).windows(BATCH, WINDOW, [0])
    (short_window,) = rows(4).windows(BATCH, 1, [0])
    compiled.reset(0)
    short.reset(0)
    for _ in range(3):
        one, _ = compiled.run(flat, long_window, RATES)
        other, _ = short.run(flat, short_window, RATES[:1])
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize(
    ("units", "activation", "loss", "classes"),
    [
        (1, "sigmoid", "binary_crossentropy", 2),
        (3, "softmax", "categorical_crossentropy", 3),
        (3, "softmax", "sparse_categorical_crossentropy", 3),
        (1, "linear", "msle", 2),
        (1, "linear", "huber", 0),
    ],
)
def test_losses_are_those_of_keras(units, activation, loss, classes):
    network = linear(units, activation)
    compiled = compile_window(plan(network, loss), BATCH, 1)
    compiled.reset(0)
    (window,) = rows(4, classes).windows(BATCH, 1, [0])
    _, total = compiled.run(weights.get_flat(network), window, RATES[:1])
    predicted = network(window.features[0])
    labels = window.labels[0] if units > 1 else window.labels[0][:, None]
    name = "sparse_categorical_crossentropy" if units > 1 else loss
    assert total == pytest.approx(float(np.sum(np.asarray(keras.losses.get(name)(labels, predicted)))), rel=1e-4)


def test_dropout_follows_the_seed_and_batch_statistics_travel_with_the_weights():
    layers = [keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    network = keras.Sequential([keras.Input((FEATURES,)), *layers])
    flat = weights.get_flat(network)
    assert weights.trainable_size(network) == len(flat) - 16
    compiled = compile_window(plan(network), BATCH, WINDOW)
    (window,) = rows(12).windows(BATCH, WINDOW, [0])
    ends = []
    for seed in (1, 1, 2):
        compiled.reset(seed)
        ends.append(compiled.run(flat, window, RATES)[0])
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])
    assert not np.array_equal(ends[0][-16:], flat[-16:])


def test_training_lowers_the_loss():
    network = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(1)])
    compiled = compile_window(plan(network, optimizer="adam"), 16, WINDOW)
    compiled.reset(0)
    flat, data, losses = weights.get_flat(network), rows(200), []
    data.labels[:] = data.features @ np.arange(FEATURES, dtype=np.float32)
    for epoch in range(30):
        total = 0.0
        for window in data.windows(16, WINDOW, [epoch]):
            flat, loss = compiled.run(flat, window, np.full(WINDOW, 0.01, np.float32))
            total += loss
        losses.append(total)
    assert losses[-1] < losses[0] / 10


def test_flat_weights_make_the_same_network():
    network, other = linear(), linear()
    weights.set_flat(other, weights.get_flat(network))
    data = rows(7).features
    np.testing.assert_allclose(compile_forward(other)(data), network.predict(data, verbose=0), rtol=1e-5)
