"""Networks whose outputs come back in the labels' own units."""

import keras
import numpy as np
import pytest

from airflow_provider_distkeras.ml.network.ensemble import build_ensemble, with_member_outputs
from airflow_provider_distkeras.ml.network.label_units import in_label_units, output_activations
from airflow_provider_distkeras.ml.network.serialization import from_bytes, to_bytes
from airflow_provider_distkeras.training.backends import weights
from airflow_provider_distkeras.training.backends.label_transform import LabelTransform

ROWS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def sequential(units=1):
    layers = keras.layers
    return keras.Sequential([keras.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(units)])


def two_outputs():
    inputs = keras.Input((3,))
    price, kind = keras.layers.Dense(1, name="price"), keras.layers.Dense(3, activation="softmax", name="kind")
    return keras.Model(inputs, {"price": price(inputs), "kind": kind(inputs)})


def outputs_of(network, rows=ROWS):
    return [np.asarray(keras.ops.convert_to_numpy(output)) for output in keras.tree.flatten(network(rows))]


@pytest.mark.parametrize(
    ("network", "transform"),
    [
        (sequential(), LabelTransform(("standardize",), (1,), (200.0,), (30.0,))),
        (sequential(), LabelTransform(("log1p",), (1,), (5.0,), (0.5,))),
        (sequential(2), LabelTransform(("log1p",), (2,), (5.0, 1.0), (0.5, 2.0))),
    ],
)
def test_the_saved_network_predicts_what_undoing_gives(network, transform):
    expected = transform.undo(outputs_of(network))
    loaded = from_bytes(to_bytes(in_label_units(network, transform)))
    np.testing.assert_allclose(outputs_of(loaded), expected, rtol=1e-5)
    np.testing.assert_array_equal(weights.get_flat(loaded), weights.get_flat(network))


def test_only_the_outputs_of_numbers_change():
    network = two_outputs()
    kinds = [{"kind": "none", "price": "standardize"}[name] for name in network.output_names]
    sizes = (1, 1)
    transform = LabelTransform(tuple(kinds), sizes, tuple(9.0 * (kind != "none") for kind in kinds), (1.0, 1.0))
    before, after = (
        dict(zip(network.output_names, outputs_of(n), strict=True)) for n in (network, in_label_units(network, transform))
    )
    np.testing.assert_array_equal(after["kind"], before["kind"])
    np.testing.assert_allclose(after["price"], before["price"] + 9, rtol=1e-6)


def test_an_ensemble_averages_and_spreads_in_the_labels_units():
    network, transform = sequential(), LabelTransform(("log1p",), (1,), (5.0,), (0.5,))
    members = np.stack([weights.get_flat(network), weights.get_flat(sequential())])
    each = []
    for flat in members:
        weights.set_flat(network, flat)
        each.append(transform.undo(outputs_of(network))[0])
    mean, first, second = outputs_of(with_member_outputs(build_ensemble(network, members, transform)))
    np.testing.assert_allclose([first, second], each, rtol=1e-5)
    np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-5)


def test_activations_of_outputs_are_named_where_there_is_one():
    assert output_activations(two_outputs()) == [
        {"price": "linear", "kind": "softmax"}[name] for name in two_outputs().output_names
    ]
    flat = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1), keras.layers.Flatten()])
    assert output_activations(flat) == [None]
