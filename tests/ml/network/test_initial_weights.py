"""Networks that begin with the weights of a trained one."""

import keras
import numpy as np
import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.params.network import HYPERPARAMETERS
from airflow_provider_distkeras.ml.network.builder import build_network
from airflow_provider_distkeras.ml.network.initial_weights import with_weights_of
from airflow_provider_distkeras.ml.network.label_units import in_label_units
from airflow_provider_distkeras.ml.network.serialization import from_bytes, to_bytes
from airflow_provider_distkeras.training.backends import weights
from airflow_provider_distkeras.training.backends.label_transform import LabelTransform


def built(*layer_dims, seed=0, members=1):
    defaults = {name: field.default for name, field in HYPERPARAMETERS.items()}
    values = {**defaults, "layer_dims": [None, *layer_dims], "loss": "mse"}
    return build_network(values, {"0": 3}, {"0": 1}, seed, "jax", "sgd", members)


def towers(*names):
    """A tower of two layers per name, of which the first is named by Keras."""
    inputs = keras.Input((3,))
    outputs = [keras.layers.Dense(2, name=name)(keras.layers.Dense(2)(inputs)) for name in names]
    return keras.Model(inputs, outputs)


def test_layers_that_keras_named_correspond_by_their_order():
    trained, new = built(4, 4, 1, seed=1), built(4, 4, 1, seed=2)
    assert trained.network.layers[0].name != new.network.layers[0].name
    started = with_weights_of(new, trained.network, "there")
    np.testing.assert_array_equal(started.initial, trained.initial)
    assert started.started_from == "3 of 3 layers from there"


def test_the_layers_that_bring_labels_back_to_their_units_are_passed_over():
    trained, new = built(4, 1, seed=1), built(4, 1, seed=2)
    saved = from_bytes(to_bytes(in_label_units(trained.network, LabelTransform(("log1p",), (1,), (5.0,), (0.5,)))))
    np.testing.assert_array_equal(with_weights_of(new, saved, "there").initial, trained.initial)


def test_layers_of_other_shapes_keep_their_new_weights():
    trained, new = built(4, 1, seed=1), built(4, 2, 1, seed=2)
    started = with_weights_of(new, trained.network, "there")
    assert started.started_from == "1 of 3 layers from there; new: dense_1 (4, 2) (2,), there (4, 1) (1,), dense_2 (2, 1) (1,)"
    np.testing.assert_array_equal(started.initial[0, :16], trained.initial[0, :16])
    np.testing.assert_array_equal(started.initial[0, 16:], new.initial[0, 16:])


def test_layers_with_names_of_their_own_correspond_by_them():
    from dataclasses import replace

    trained, network = towers("left", "right"), towers("right", "left")
    started = with_weights_of(replace(built(4, 1), network=network, initial=np.zeros((1, 1))), trained, "there")
    for name in ("left", "right"):
        np.testing.assert_array_equal(network.get_layer(name).kernel, trained.get_layer(name).kernel)
    np.testing.assert_array_equal(started.initial[0], weights.get_flat(network))


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (
            lambda: built(5, 1),
            r"none of the network's layers is in there .* Expected one of dense \(3, 4\) \(4,\), .* dense \(3, 5\)",
        ),
        (lambda: built(4, 1, members=2), "the networks of an EnsembleTrainer differ by their initial weights"),
    ],
)
def test_networks_that_have_nothing_to_begin_with_are_refused(new, message):
    with pytest.raises(SpecError, match=message):
        with_weights_of(new(), built(4, 2, 1).network, "there")
