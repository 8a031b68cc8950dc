"""What a compiled window must do, against NumPy; run by test_backends.py once per backend."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest

from airflow_provider_distkeras.ml.network.label_units import in_label_units
from airflow_provider_distkeras.training.backends import NetworkPlan, arguments, compile_forward, compile_window, weights
from airflow_provider_distkeras.training.backends.label_transform import LabelTransform
from airflow_provider_distkeras.training.dataset import Rows

BATCH, WINDOW, FEATURES = 4, 3, 5
RATES = np.array([0.1, 0.05, 0.02], np.float32)


def plan(network, loss="mse", optimizer="sgd", **arguments):
    made = keras.optimizers.get({"class_name": optimizer, "config": {**arguments, "learning_rate": 1.0}})
    return NetworkPlan(network.to_json(), (loss,), json.dumps(keras.optimizers.serialize(made)))


def linear(units=1, activation="linear", regularizer=None):
    layer = keras.layers.Dense(units, activation=activation, kernel_regularizer=regularizer)
    return keras.Sequential([keras.Input((FEATURES,)), layer])


def records(features, labels, sample_weights=None):
    weights = np.ones(len(features)) if sample_weights is None else sample_weights
    return Rows(np.column_stack([features, labels, weights]).astype(np.float32))


def rows(count, classes=0, sample_weights=None):
    random = np.random.default_rng(1)
    labels = random.integers(0, classes, count) if classes else random.normal(size=count)
    return records(random.normal(size=(count, FEATURES)), labels, sample_weights)


def sgd_by_hand(flat, window, l2=0.0):
    """Linear regression by gradient descent: kernel first, then the bias."""
    kernel, bias, total = flat[:FEATURES].astype(float), float(flat[FEATURES]), 0.0
    for step in range(window.steps):
        block = window.records[step][: int(window.counts[step])].astype(float)
        x, y, weight = block[:, :FEATURES], block[:, FEATURES], block[:, -1]
        error = x @ kernel + bias - y
        total += (weight * error**2).sum()
        kernel = kernel - RATES[step] * (2 * x.T @ (weight * error) / len(y) + 2 * l2 * kernel)
        bias -= RATES[step] * 2 * (weight * error).mean()
    return np.append(kernel, bias), total


@pytest.mark.parametrize("count", [12, 11, 9, 5, 1])
@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_sgd_equals_numpy_for_whole_and_partial_windows(count, l2, weighted):
    network = linear(regularizer=keras.regularizers.L2(l2) if l2 else None)
    compiled = compile_window(plan(network), BATCH, WINDOW)
    compiled.reset(0)
    flat = weights.get_flat(network)
    (window,) = rows(count, sample_weights=np.arange(count) if weighted else None).windows(BATCH, WINDOW, [0])
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


def test_an_optimizer_goes_on_past_the_steps_that_32_bits_count():
    network = linear()
    compiled = compile_window(plan(network, optimizer="adam"), BATCH, WINDOW)
    (window,) = rows(12).windows(BATCH, WINDOW, [0])

    def run_from(iterations):
        compiled.reset(0)
        state = compiled._get_state()
        position = next(i for i, v in enumerate(compiled.optimizer.variables) if v is compiled.optimizer.iterations)
        state[position] = np.asarray(iterations, state[position].dtype)
        compiled._set_state(state)
        flat = weights.get_flat(network)
        for _ in range(3):
            flat, _ = compiled.run(flat, window, RATES)
        return flat

    late = run_from(2**31 - 1 - WINDOW)
    assert np.isfinite(late).all()
    np.testing.assert_allclose(late, run_from(1_000_000), rtol=1e-6)


@pytest.mark.parametrize("clip", [{"clipnorm": 0.05}, {"global_clipnorm": 0.05}, {"clipvalue": 0.02}], ids=str)
def test_gradients_are_clipped_as_keras_clips_them(clip):
    network = linear()
    flat, (window,) = weights.get_flat(network), rows(12).windows(BATCH, WINDOW, [0])

    def run(**arguments):
        compiled = compile_window(plan(network, momentum=0.5, **arguments), BATCH, WINDOW)
        compiled.reset(0)
        return compiled.run(flat, window, np.full(WINDOW, 0.1, np.float32))[0]

    network.compile(keras.optimizers.SGD(0.1, momentum=0.5, **clip), "mse")
    taken = window.records.reshape(-1, FEATURES + 2)
    network.fit(taken[:, :FEATURES], taken[:, FEATURES], batch_size=BATCH, shuffle=False, verbose=0)
    np.testing.assert_allclose(run(**clip), weights.get_flat(network), atol=1e-5)
    assert not np.allclose(run(), run(**clip), atol=1e-2)


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
    predicted = network(window.records[0, :, :FEATURES])
    labels = window.records[0, :, FEATURES] if units > 1 else window.records[0, :, FEATURES : FEATURES + 1]
    name = "sparse_categorical_crossentropy" if units > 1 else loss
    assert total == pytest.approx(float(np.sum(keras.ops.convert_to_numpy(keras.losses.get(name)(labels, predicted)))), rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "units", "activation", "by_hand"),
    [
        ('{"name": "quantile", "q": 0.9}', 1, "linear", lambda y, p: np.maximum(0.9 * (y - p), -0.1 * (y - p))),
        ("tweedie", 1, "exponential", lambda y, p: 2 * p**0.5 + 2 * y * p**-0.5),
        ("categorical_focal_crossentropy", 2, "softmax", lambda _, p: -0.25 * (1 - p) ** 2 * np.log(p)),
    ],
)
def test_losses_that_keras_lacks_or_has_for_one_hot_labels_only(loss, units, activation, by_hand):
    network = linear(units, activation)
    compiled = compile_window(plan(network, loss), BATCH, 1)
    compiled.reset(0)
    (window,) = rows(4, 2).windows(BATCH, 1, [0])
    flat = weights.get_flat(network)
    after, total = compiled.run(flat, window, RATES[:1])
    labels, outputs = window.records[0, :, FEATURES], keras.ops.convert_to_numpy(network(window.records[0, :, :FEATURES]))
    predicted = outputs[:, 0] if units == 1 else outputs[np.arange(4), labels.astype(int)]
    assert total == pytest.approx(float(by_hand(labels, predicted).sum()), rel=1e-4)
    assert np.isfinite(after).all()
    assert not np.array_equal(after, flat)


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
    data.records[:, FEATURES] = data.records[:, :FEATURES] @ np.arange(FEATURES, dtype=np.float32)
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
    data = rows(7).records[:, :FEATURES]
    np.testing.assert_allclose(compile_forward(other, BATCH)(data)[0], network.predict(data, verbose=0), rtol=1e-5)


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1, 200 * BATCH + 3])
def test_a_prediction_takes_any_number_of_rows_and_has_every_output_of_each(count):
    network = two_in_two_out()
    forward = compile_forward(network, BATCH)
    data = np.random.default_rng(count).normal(size=(count, 6)).astype(np.float32)
    expected = network({"left": data[:, :2], "right": data[:, 2:].reshape(-1, 2, 2)})
    kind, price = forward(data)
    np.testing.assert_allclose(kind, keras.ops.convert_to_numpy(expected["kind"]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(price, keras.ops.convert_to_numpy(expected["price"]), rtol=1e-4, atol=1e-6)
    assert kind.dtype == price.dtype == np.float32


def test_a_prediction_is_traced_no_more_than_twice_whatever_the_numbers_of_rows():
    """The batch that a padded backend sees, and on JAX the abstract and the real one."""
    traced = []

    class Spy(keras.layers.Layer):
        def call(self, inputs):
            traced.append(inputs.shape)
            return inputs

    network = keras.Sequential([keras.Input((FEATURES,)), Spy(), keras.layers.Reshape((FEATURES, 1))])
    forward = compile_forward(network, BATCH)
    traced.clear()
    for count in (1, 2, 3, 9, 17, 4):
        (output,) = forward(np.ones((count, FEATURES), np.float32))
        assert output.shape == (count, FEATURES)
    if keras.config.backend() != "torch":  # it compiles nothing
        assert len(traced) <= 2


def test_training_resumes_from_a_saved_state():
    layers = [keras.layers.Dense(8), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    config, values = arguments.extract(keras.Sequential([keras.Input((FEATURES,)), *layers]).to_json())
    compiled = compile_window(NetworkPlan(config, ("mse",), plan(linear(), optimizer="adam").optimizer), BATCH, WINDOW)
    flat = weights.get_flat(compiled.network)
    (window,) = rows(12).windows(BATCH, WINDOW, [0])
    compiled.reset(1)
    compiled.run(flat, window, RATES, values)
    saved = compiled.save()
    went_on, _ = compiled.run(flat, window, RATES, values)
    compiled.reset(2)
    compiled.restore(saved)
    np.testing.assert_array_equal(compiled.run(flat, window, RATES, values)[0], went_on)


def regularized(rate, l1, l2):
    layers = [keras.layers.Dense(64, kernel_regularizer=keras.regularizers.L1L2(l1, l2)), keras.layers.Dropout(rate)]
    return keras.Sequential([keras.Input((FEATURES,), name="in"), *layers, keras.layers.Dense(1)], name="net")


def test_networks_that_differ_in_dropout_and_regularization_share_one_window():
    keras.utils.set_random_seed(0)
    network = regularized(0.5, 0.1, 0.2)
    config, values = arguments.extract(network.to_json())
    assert values == (0.1, 0.2, 0.5)
    keras.backend.clear_session()
    other = arguments.extract(regularized(0.1, 0.0, 0.3).to_json())
    assert json.loads(other[0])["config"]["layers"][0] == json.loads(config)["config"]["layers"][0]
    compiled = compile_window(NetworkPlan(config, ("mse",), plan(network).optimizer), BATCH, 1)
    flat = weights.get_flat(network)
    (window,) = rows(4).windows(BATCH, 1, [0])

    def step(*values):
        compiled.reset(0)
        return compiled.run(flat, window, RATES[:1], values)[0]

    plain = step(0.0, 0.0, 0.0)
    kernel = flat[: FEATURES * 64]
    penalized = step(0.1, 0.2, 0.0)[: FEATURES * 64]
    expected = plain[: FEATURES * 64] - RATES[0] * (0.1 * np.sign(kernel) + 0.4 * kernel)
    np.testing.assert_allclose(penalized, expected, rtol=1e-4, atol=1e-5)
    # A unit dropped in all four rows leaves its output weight alone: 6 % of them at a rate of 0.5, 66 % at 0.9.
    untouched = [np.count_nonzero(step(0.0, 0.0, rate)[-65:-1] == flat[-65:-1]) for rate in (0.0, 0.5, 0.9)]
    assert untouched[0] == 0
    assert untouched[1] < 20 < untouched[2]


def test_names_made_anew_stay_apart_from_those_a_user_gave():
    keras.backend.clear_session()
    network = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(2, name="dense-2"), keras.layers.Dense(1)])
    config, _ = arguments.extract(network.to_json())
    names = [layer.name for layer in NetworkPlan(config, ("mse",), "").build().layers]
    assert names[0] == "dense-2"
    assert len(set(names)) == 2


def two_in_two_out():
    left, right = keras.Input((2,), name="left"), keras.Input((2, 2), name="right")
    joined = keras.layers.Concatenate()([left, keras.layers.Flatten()(right)])
    outputs = {
        "price": keras.layers.Dense(1, name="price")(joined),
        "kind": keras.layers.Dense(3, "softmax", name="kind")(joined),
    }
    return keras.Model({"left": left, "right": right}, outputs)


def test_several_inputs_and_outputs_are_cut_from_the_records():
    network = two_in_two_out()
    several = NetworkPlan(
        network.to_json(), ("categorical_crossentropy", "mse"), plan(linear()).optimizer, (1, 1), (0.5, 2.0), ("accuracy",)
    )
    compiled = compile_window(several, BATCH, 1)
    compiled.reset(0)
    random = np.random.default_rng(0)
    features = random.normal(size=(4, 6)).astype(np.float32)
    kinds, prices = random.integers(0, 3, 4), random.normal(size=4)
    data = records(features, np.column_stack([kinds, prices]))
    (window,) = data.windows(BATCH, 1, [0])
    flat = weights.get_flat(network)
    after, loss = compiled.run(flat, window, RATES[:1])
    outputs = network({"left": features[:, :2], "right": features[:, 2:].reshape(-1, 2, 2)})
    kind, price = (keras.ops.convert_to_numpy(outputs[name]) for name in ("kind", "price"))
    by_hand = 0.5 * -np.log(kind[np.arange(4), kinds]).sum() + 2.0 * ((price[:, 0] - prices) ** 2).sum()
    assert loss == pytest.approx(by_hand, rel=1e-4)
    assert not np.array_equal(after, flat)
    measured = compiled.evaluate(flat, data)
    assert measured["loss"] == pytest.approx(by_hand / 4, rel=1e-4)
    assert measured["accuracy"] == pytest.approx((kind.argmax(axis=1) == kinds).mean())


def test_weights_of_rows_count_in_the_loss_and_not_in_metrics():
    network = linear()
    compiled = compile_window(NetworkPlan(network.to_json(), ("mse",), plan(network).optimizer, metrics=("mae",)), BATCH, 1)
    data = rows(10, sample_weights=[1] * 5 + [0] * 5)
    flat = weights.get_flat(network)
    error = data.records[:, :FEATURES] @ flat[:FEATURES] + flat[FEATURES] - data.records[:, FEATURES]
    measured = compiled.evaluate(flat, data)
    assert measured["loss"] == pytest.approx((error[:5] ** 2).sum() / 10, rel=1e-4)
    assert measured["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-4)


@pytest.mark.parametrize("kind", ["standardize", "log1p"])
def test_losses_are_of_transformed_labels_and_metrics_and_predictions_in_the_labels_units(kind):
    network, random = linear(), np.random.default_rng(0)
    features, prices = random.normal(size=(50, FEATURES)).astype(np.float32), random.lognormal(3, 1, 50)
    priced = records(features, prices)
    transform = LabelTransform((kind,), (1,)).fitted(
        priced.records[:, [FEATURES]], np.ones(50, np.float32), priced.records[:0, :1]
    )
    flat = weights.get_flat(network)
    outputs = features @ flat[:FEATURES] + flat[FEATURES]
    logs = np.log1p(prices) if kind == "log1p" else prices
    predicted = outputs * logs.std() + logs.mean()
    predicted = np.expm1(predicted) if kind == "log1p" else predicted
    compiled = compile_window(replace(plan(network), metrics=("mae",)), BATCH, WINDOW)
    measured = compiled.evaluate(flat, priced, transform)
    assert measured["loss"] == pytest.approx(np.mean((outputs - (logs - logs.mean()) / logs.std()) ** 2), rel=1e-4)
    assert measured["mae"] == pytest.approx(np.abs(predicted - prices).mean(), rel=1e-4)
    np.testing.assert_allclose(priced.records[:, FEATURES], prices, rtol=1e-6)  # which the next epoch trains on
    (forward,) = compile_forward(in_label_units(network, transform), 8)(features)
    np.testing.assert_allclose(forward[:, 0], predicted, rtol=1e-4)


@pytest.mark.parametrize(("optimizer", "numbers"), [("sgd", [1, 1, 4]), ("adam", [1, 2, 4])])
def test_vectors_of_an_embedding_move_only_where_a_row_has_their_number(optimizer, numbers):
    """Some backends have sparse gradients of it. On TensorFlow, Keras' Adam takes the rows of one number apart, so each has its own."""
    rows_of = keras.Input((2,), name="features")
    embedding = keras.layers.Embedding(6, 1, embeddings_initializer="ones")
    network = keras.Model(rows_of, embedding(rows_of[:, 0]) * rows_of[:, 1:])
    compiled = compile_window(plan(network, optimizer=optimizer), BATCH, WINDOW)
    compiled.reset(0)
    factors, labels = np.array([2, 1, -1]), np.array([0, 3, 0])
    (window,) = records(np.column_stack([numbers, factors]), labels).windows(BATCH, WINDOW, [0])
    after, loss = compiled.run(weights.get_flat(network), window, RATES)
    assert loss == pytest.approx(4 + 4 + 1, rel=1e-5)
    gradient = np.zeros(6)
    np.add.at(gradient, numbers, 2 * factors * (factors - labels) / 3)
    expected = gradient if optimizer == "sgd" else np.sign(gradient)
    np.testing.assert_allclose(1 - after, RATES[0] * expected, rtol=1e-4, atol=1e-6)
