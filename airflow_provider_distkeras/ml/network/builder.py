"""Networks: built from layer_dims and its companions, or the user's own; and the plan of their training."""

from __future__ import annotations

import importlib
import inspect
import itertools
import json
import math
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.params import check_outputs, is_classification, losses
from airflow_provider_distkeras.spark.columns import in_order
from airflow_provider_distkeras.training import weights
from airflow_provider_distkeras.training.algorithms import Matrix
from airflow_provider_distkeras.training.backends import NetworkPlan, arguments, objective

if TYPE_CHECKING:
    import keras

_seed_lock = threading.Lock()


@dataclass(frozen=True)
class NetworkOutput:
    """One output of a network.

    Attributes:
        name: the output's; loss: what it was trained for; units: values per row.
    """

    name: str
    loss: str
    units: int


@dataclass(frozen=True)
class BuiltNetwork:
    """A network ready to be trained.

    Attributes:
        network: the Keras network.
        plan, values: what a worker needs to build it again, and the hyper-parameters that are not part of that.
        outputs: what it tells about a row.
        initial: the initial weights, (members, weights); trainable: how many of a member's are trainable.
    """

    network: keras.Model
    plan: NetworkPlan
    values: tuple[float, ...]
    outputs: tuple[NetworkOutput, ...]
    initial: Matrix
    trainable: int

    def trained(self, members: Matrix) -> keras.Model:
        """The network with trained weights; of several members, the network whose outputs are the mean of theirs."""
        if len(members) == 1:
            weights.set_flat(self.network, members[0])
            return self.network
        return _ensemble(self.network, members)


def build_network(
    hyperparameters: dict[str, Any],
    feature_sizes: dict[str, int],
    label_sizes: dict[str, int],
    seed: int,
    backend: str,
    optimizer: str | dict[str, Any],
    members: int = 1,
) -> BuiltNetwork:
    """Build the network for data of these sizes.

    Args:
        hyperparameters: values of `contract.params.HYPERPARAMETERS`, checked.
        feature_sizes: values per row of each feature column, by input or position; label_sizes: of each label column, by
            output or position.
        seed: decides the initial weights.
        backend: the Keras backend to import, if this process has not imported one yet.
        optimizer: the workers' optimizer, by name or as a dict.
        members: networks of an ensemble, each with initial weights of its own.

    Raises:
        SpecError: the network cannot be built as asked for.
        DataError: it takes other numbers of features than the data have.
    """
    os.environ.setdefault("KERAS_BACKEND", backend)
    import keras

    custom_modules = tuple(hyperparameters.get("custom_objects") or ())
    _import_all(custom_modules)
    initial = []
    with _seed_lock:  # Keras' random state and dtype policy belong to the whole process
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(hyperparameters.get("dtype") or "float32")
        try:
            for member in range(members):
                keras.utils.set_random_seed((seed + member) % 2**32)
                network, module = _network(hyperparameters, sum(feature_sizes.values()))
                initial.append(weights.get_flat(network))
        finally:
            keras.config.set_dtype_policy(before)
    _check_inputs(network, in_order(feature_sizes, input_names(network), "featuresCols"))
    labels = in_order(label_sizes, output_names(network), "labelCols")
    outputs = _outputs(network, losses(hyperparameters), labels)
    config, values = arguments.extract(network.to_json())
    plan = NetworkPlan(
        config=config,
        losses=tuple(output.loss for output in outputs),
        optimizer=_optimizer(optimizer),
        label_sizes=tuple(labels),
        loss_weights=_loss_weights(hyperparameters.get("loss_weights"), len(outputs)),
        metrics=tuple(hyperparameters.get("metrics") or ()),
        custom_modules=(*custom_modules, module) if module else custom_modules,
    )
    _compile(network, plan)
    return BuiltNetwork(network, plan, values, outputs, np.stack(initial), weights.trainable_size(network))


def input_names(network: keras.Model) -> list[str]:
    """The names of a network's inputs, in its order."""
    return [tensor.name for tensor in network.inputs]


def output_names(network: keras.Model) -> list[str]:
    """The names of a network's outputs, in its order."""
    import keras

    return [network.layers[-1].name] if isinstance(network, keras.Sequential) else list(network.output_names)


def _network(said: dict[str, Any], num_features: int) -> tuple[keras.Model, str | None]:
    """A network with new weights, and the module that must be imported before it can be built again."""
    if said.get("network"):
        return _own_network(said["network"], said.get("input_shape"), num_features)
    return _dense_network(said, num_features), None


def _import_all(modules: tuple[str, ...]) -> None:
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise SpecError(
                f"custom_objects: cannot import {module!r}: {error}. "
                "It must be importable in the Spark driver and on the executors (py_files)."
            ) from error


def _ensemble(network: keras.Model, members: Matrix) -> keras.Model:
    import keras

    copies = []
    for number, flat in enumerate(members):
        copy = keras.models.model_from_json(network.to_json())
        weights.set_flat(copy, flat)
        copy.name = f"member_{number}"
        copies.append(copy)
    inputs = [keras.Input(tensor.shape[1:], name=tensor.name) for tensor in network.inputs]
    structure = network.inputs[0] if isinstance(network, keras.Sequential) else network.input
    given = keras.tree.pack_sequence_as(structure, inputs)
    outputs = [keras.tree.flatten(copy(given)) for copy in copies]
    return keras.Model(given, [keras.layers.Average()(list(same)) for same in zip(*outputs, strict=True)])


def with_members(ensemble: keras.Model) -> keras.Model:
    """The network that `BuiltNetwork.trained` makes of several members, which then also outputs what each of them says."""
    import keras

    average = ensemble.layers[-1]
    return keras.Model(ensemble.input, [*ensemble.outputs, *average.input])


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
    activation = activations[len(hidden)] if len(activations) > len(hidden) else _output_activation(losses(said)[0], outputs)
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


def _own_network(said: str, input_shape: list[int] | None, num_features: int) -> tuple[keras.Model, str | None]:
    """The user's network, and the module that must be imported before it can be built again."""
    import keras

    if said.lstrip().startswith("{"):
        try:
            network = keras.models.model_from_json(said)
        except (ValueError, TypeError) as error:
            raise SpecError(f"network: not a Keras JSON configuration that may be loaded: {error}") from error
        if not isinstance(network, keras.Model):
            raise SpecError(f"network: the JSON is the configuration of no keras.Model, but of {type(network).__name__}.")
        return network, None
    module_name, _, function_name = said.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SpecError(
            f"network: expected Keras JSON or 'package.module:function', received {said!r}: {error}. "
            "The module must be importable in the Spark driver and on the executors (py_files)."
        ) from error
    shape = tuple(input_shape) if input_shape else num_features
    try:
        network = function(shape) if inspect.signature(function).parameters else function()
    except Exception as error:  # it may raise anything
        hint = "" if input_shape else " For images and sequences, set input_shape."
        raise SpecError(f"network: {said}({shape}) raised {type(error).__name__}: {error}.{hint}") from error
    if not isinstance(network, keras.Model):
        raise SpecError(f"network: {said} returned {type(network).__name__}, expected a keras.Model.")
    return network, module_name


def _check_inputs(network: keras.Model, feature_sizes: list[int]) -> None:
    """Raise DataError unless the network takes what the data have: a column per input, or one for all of them."""
    shapes = [tuple(tensor.shape[1:]) for tensor in network.inputs]
    sizes = [None if None in shape else math.prod(shape) for shape in shapes]
    together = len(feature_sizes) == 1 and None not in sizes and sum(size or 0 for size in sizes) == feature_sizes[0]
    apart = len(sizes) == len(feature_sizes) and all(
        size in (None, given) for size, given in zip(sizes, feature_sizes, strict=True)
    )
    if not (together or apart):
        takes, has = ", ".join(map(str, shapes)), ", ".join(map(str, feature_sizes))
        raise DataError(f"The network takes inputs of shape {takes}, the data has {has} features.")


def _outputs(network: keras.Model, said: list[str], label_sizes: list[int]) -> tuple[NetworkOutput, ...]:
    """What the network tells. Raises SpecError if that does not fit its losses or the labels."""
    count = len(network.outputs)
    if len(said) == 1:
        said = said * count
    if len(said) != count or len(label_sizes) != count:
        raise SpecError(
            f"The network has {count} outputs, the data {len(label_sizes)} label columns, and there are {len(said)} losses; "
            "expected one of each (labelCols and loss)."
        )
    outputs = []
    for name, tensor, loss, labels in zip(output_names(network), network.outputs, said, label_sizes, strict=True):
        units = math.prod(tensor.shape[1:])
        check_outputs(loss, units, labels)
        outputs.append(NetworkOutput(name, loss, units))
    return tuple(outputs)


def _loss_weights(said: list[float] | None, outputs: int) -> tuple[float, ...]:
    if said is None:
        return (1.0,) * outputs
    if len(said) != outputs:
        raise SpecError(f"loss_weights: expected {outputs} values, one per output, received {said!r}.")
    return tuple(said)


def _optimizer(said: str | dict[str, Any]) -> str:
    """The optimizer's configuration as JSON. Its learning rate is left out: it is set before every step."""
    import keras

    name, arguments = (said, {}) if isinstance(said, str) else (said["name"], {k: v for k, v in said.items() if k != "name"})
    if arguments.get("use_ema"):
        raise SpecError("optimizer: use_ema averages the weights of one process, which no trainer takes; leave it out.")
    try:
        optimizer = keras.optimizers.get({"class_name": name, "config": {"name": name, **arguments, "learning_rate": 1.0}})
    except (ValueError, TypeError) as error:
        raise SpecError(f"optimizer: Keras cannot make {name!r} with {arguments}: {error}") from error
    return json.dumps(keras.optimizers.serialize(optimizer), sort_keys=True)


def _compile(network: keras.Model, plan: NetworkPlan) -> None:
    """Give the saved network its loss and metrics, so that `keras.saving.load_model` can evaluate it."""
    several = len(plan.losses) > 1
    loss = list(plan.losses) if several else plan.losses[0]
    metrics = [list(plan.metrics), *[[] for _ in plan.losses[1:]]] if several else list(plan.metrics)
    try:
        objective.build_metrics(plan.metrics, plan.losses, plan.label_sizes)
        network.compile(loss=loss, metrics=metrics or None)
    except ValueError as error:
        raise SpecError(f"metrics: Keras does not know {list(plan.metrics)!r}: {error}") from error
