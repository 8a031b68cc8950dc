"""Networks: built from layer_dims and its companions, or the user's own; and the plan of their training."""

from __future__ import annotations

import importlib
import inspect
import itertools
import json
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.vocabulary import check_outputs, is_classification
from airflow_provider_distkeras.training import weights
from airflow_provider_distkeras.training.algorithms import Vector
from airflow_provider_distkeras.training.steps import NetworkPlan

if TYPE_CHECKING:
    import keras

_seed_lock = threading.Lock()


@dataclass(frozen=True)
class Blueprint:
    """A network ready to be trained.

    Attributes:
        network: the Keras network, with its initial weights.
        plan: what a worker needs to build it again.
        initial: the initial weights, flat; trainable: how many of them are trainable.
    """

    network: keras.Model
    plan: NetworkPlan
    initial: Vector
    trainable: int


def blueprint(hyperparameters: dict[str, Any], num_features: int, seed: int, backend: str) -> Blueprint:
    """Build the network for `num_features` features.

    Args:
        hyperparameters: values of `contract.vocabulary.HYPERPARAMETERS`, checked.
        num_features: columns of the data.
        seed: decides the initial weights.
        backend: the Keras backend to import, if this process has not imported one yet.

    Raises:
        SpecError: the network cannot be built as asked for.
        DataError: it takes another number of features than the data has.
    """
    os.environ.setdefault("KERAS_BACKEND", backend)
    import keras

    custom_module = None
    with _seed_lock:  # Keras' random state belongs to the whole process
        keras.utils.set_random_seed(seed)
        if hyperparameters.get("network"):
            network, custom_module = _own_network(hyperparameters["network"], num_features)
        else:
            network = _dense_network(hyperparameters, num_features)
    _check(network, hyperparameters["loss"], num_features)
    plan = NetworkPlan(network.to_json(), hyperparameters["loss"], _optimizer(hyperparameters["optimizer"]), custom_module)
    _compile(network, hyperparameters)
    return Blueprint(network, plan, weights.get_flat(network), weights.trainable_size(network))


def _dense_network(said: dict[str, Any], num_features: int) -> keras.Model:
    import keras

    features, *hidden, outputs = said["layer_dims"]
    if features not in (None, num_features):
        raise DataError(
            f"layer_dims[0] is {features}, but the data has {num_features} features. "
            f"Set it to {num_features}, or to null to take what the data has."
        )
    activations = said.get("activations") or ["relu"] * len(hidden)
    initializers = said.get("initializers") or ["glorot_uniform"] * len(hidden)
    alphas = itertools.accumulate(hidden, lambda alpha, _: alpha * said["reg_decay"], initial=said["reg_strength"])
    layers: list[keras.layers.Layer] = [keras.Input((num_features,), name="features")]
    for units, activation, initializer, alpha in zip(hidden, activations, initializers, alphas, strict=False):
        layers.append(_dense(units, activation, initializer, _regularizer(said.get("regularizer"), alpha)))
        if said["dropout_rate"]:
            layers.append(keras.layers.Dropout(said["dropout_rate"]))
    activation = activations[len(hidden)] if len(activations) > len(hidden) else _output_activation(said["loss"], outputs)
    initializer = initializers[len(hidden)] if len(initializers) > len(hidden) else "glorot_uniform"
    layers.append(_dense(outputs, activation, initializer, None))
    return keras.Sequential(layers)


def _dense(units: int, activation: str, initializer: str, regularizer: Any) -> keras.layers.Layer:
    import keras

    try:
        return keras.layers.Dense(units, activation=activation, kernel_initializer=initializer, kernel_regularizer=regularizer)
    except ValueError as error:
        raise SpecError(
            f"A layer with activation {activation!r} and initializer {initializer!r} cannot be built: {error}"
        ) from error


def _regularizer(name: str | None, alpha: float) -> Any:
    import keras

    if name is None:
        return None
    make = {"l1": keras.regularizers.L1, "l2": keras.regularizers.L2, "l1_l2": lambda a: keras.regularizers.L1L2(l1=a, l2=a)}
    return make[name](alpha)


def _output_activation(loss: str, outputs: int) -> str:
    if not is_classification(loss):
        return "linear"
    return "sigmoid" if outputs == 1 else "softmax"


def _own_network(said: str, num_features: int) -> tuple[keras.Model, str | None]:
    """The user's network, and the module that must be imported before it can be built again."""
    import keras

    if said.lstrip().startswith("{"):
        try:
            return keras.models.model_from_json(said), None
        except (ValueError, TypeError) as error:
            raise SpecError(f"network: not a Keras JSON configuration that may be loaded: {error}") from error
    module_name, _, function_name = said.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SpecError(
            f"network: expected Keras JSON or 'package.module:function', received {said!r}: {error}. "
            "The module must be importable in the Spark driver and on the executors (py_files)."
        ) from error
    network = function(num_features) if inspect.signature(function).parameters else function()
    if not isinstance(network, keras.Model):
        raise SpecError(f"network: {said} returned {type(network).__name__}, expected a keras.Model.")
    return network, module_name


def _check(network: keras.Model, loss: str, num_features: int) -> None:
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise SpecError(f"The network has {len(network.inputs)} inputs and {len(network.outputs)} outputs; expected one of each.")
    if tuple(network.input_shape) not in ((None, num_features), (None, None)):
        raise DataError(f"The network takes inputs of shape {network.input_shape[1:]}, the data has {num_features} features.")
    check_outputs(loss, network.output_shape[-1])


def _optimizer(said: str | dict[str, Any]) -> str:
    """The optimizer's configuration as JSON. Its learning rate is left out: it is set before every step."""
    import keras

    name, arguments = (said, {}) if isinstance(said, str) else (said["name"], {k: v for k, v in said.items() if k != "name"})
    try:
        optimizer = keras.optimizers.get({"class_name": name, "config": {**arguments, "learning_rate": 1.0}})
    except (ValueError, TypeError) as error:
        raise SpecError(f"optimizer: Keras cannot make {name!r} with {arguments}: {error}") from error
    return json.dumps(keras.optimizers.serialize(optimizer), sort_keys=True)


def _compile(network: keras.Model, said: dict[str, Any]) -> None:
    """Give the saved network its loss and metrics, so that `keras.saving.load_model` can evaluate it."""
    try:
        network.compile(loss=said["loss"], metrics=said.get("metrics"))
    except ValueError as error:
        raise SpecError(f"metrics: Keras does not know {said.get('metrics')!r}: {error}") from error
