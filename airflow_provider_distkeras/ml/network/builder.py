"""The builder of networks: a network that fits the data, with initial weights, and the plan of its training."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.feature_layout import FeatureLayout
from airflow_provider_distkeras.contract.fields import is_import_path
from airflow_provider_distkeras.contract.params.losses import as_text, parts, task_of
from airflow_provider_distkeras.contract.params.objectives import check_outputs, losses, tasks
from airflow_provider_distkeras.ml.network.column_inputs import fed_by_columns
from airflow_provider_distkeras.ml.network.custom_network import build_custom_network, check_rebuilt, config_of, import_modules
from airflow_provider_distkeras.ml.network.dense_network import build_dense_network
from airflow_provider_distkeras.ml.network.ensemble import build_ensemble
from airflow_provider_distkeras.ml.network.label_units import in_label_units
from airflow_provider_distkeras.ml.network.training_step import check_losses, compile_network, loss_weights, optimizer_config
from airflow_provider_distkeras.spark.columns import by_output, in_order
from airflow_provider_distkeras.training.algorithms.rule import Matrix
from airflow_provider_distkeras.training.backends import NetworkPlan, arguments, weights
from airflow_provider_distkeras.training.backends.label_transform import LabelTransform
from airflow_provider_distkeras.training.backends.structure import input_names, output_names

if TYPE_CHECKING:
    import keras

_seed_lock = threading.Lock()


@dataclass(frozen=True)
class NetworkOutput:
    """One output of a network.

    Attributes:
        name: the output's name.
        loss: the text of the loss that it is trained for.
        units: values per row.
        task: what it is for, one of `contract.params.losses.TASKS`.
    """

    name: str
    loss: str
    units: int
    task: str


@dataclass(frozen=True)
class BuiltNetwork:
    """A network ready to be trained.

    Attributes:
        network: the Keras network.
        plan: the network and its training step as plain values, from which a worker builds both.
        values: the hyper-parameters that are not part of the plan, see `backends.arguments.extract`.
        outputs: the network's outputs.
        initial: the initial weights, (members, weights).
        trainable: the number of a member's trainable weights.
        started_from: which of the initial weights are an earlier model's, in a line; None if all are new.
    """

    network: keras.Model
    plan: NetworkPlan
    values: tuple[float, ...]
    outputs: tuple[NetworkOutput, ...]
    initial: Matrix
    trainable: int
    started_from: str | None = None

    def trained(self, members: Matrix, transform: LabelTransform | None = None) -> keras.Model:
        """Return the network with trained weights; for several members, their ensemble.

        Args:
            members: the trained weights, (members, weights).
            transform: of the labels that it was trained on; the outputs of the result are in the labels' own units.
        """
        if len(members) > 1:
            return build_ensemble(self.network, members, transform)
        weights.set_flat(self.network, members[0])
        if transform is None:
            return self.network
        network = in_label_units(self.network, transform)
        compile_network(network, self.plan)
        return network


def build_network(
    hyperparameters: dict[str, Any],
    feature_sizes: dict[str, int],
    label_sizes: dict[str, int],
    seed: int,
    backend: str,
    optimizer: str | dict[str, Any],
    members: int = 1,
    layout: FeatureLayout | None = None,
) -> BuiltNetwork:
    """Build the network for data of these sizes.

    Args:
        hyperparameters: values of `contract.params.network.HYPERPARAMETERS`, checked.
        feature_sizes: values per row of each feature column, by input or position.
        label_sizes: values per row of each label column, by output or position.
        seed: decides the initial weights.
        backend: the Keras backend to import, if this process has not imported one yet.
        optimizer: the workers' optimizer, by name or as a dict.
        members: networks of an ensemble, each with initial weights of its own.
        layout: of the features; None if it is unknown.

    Raises:
        SpecError: the network cannot be built with these hyper-parameters.
        DataError: the network takes another number of features than the data has.
    """
    os.environ.setdefault("KERAS_BACKEND", backend)
    import keras  # noqa: F401 - the backend is chosen now

    custom_modules = tuple(hyperparameters.get("custom_objects") or ())
    import_modules(custom_modules)
    network, module, initial = _initialized(hyperparameters, sum(feature_sizes.values()), layout, seed, members)
    _check_inputs(network, in_order(feature_sizes, input_names(network), "featuresCols"))
    labels = [sum(sizes) for sizes in by_output(label_sizes, output_names(network))]
    outputs = _outputs(network, hyperparameters, labels)
    config, values = arguments.extract(config_of(network))
    plan = NetworkPlan(
        config=config,
        losses=tuple(output.loss for output in outputs),
        optimizer=optimizer_config(optimizer),
        label_sizes=tuple(labels),
        loss_weights=loss_weights(hyperparameters.get("loss_weights"), len(outputs)),
        metrics=tuple(hyperparameters.get("metrics") or ()),
        custom_modules=(*custom_modules, module) if module else custom_modules,
        tasks=tuple(output.task for output in outputs),
    )
    _check_code_of_user(network, plan, hyperparameters)
    compile_network(network, plan)
    return BuiltNetwork(network, plan, values, outputs, initial, weights.trainable_size(network))


def _initialized(
    hyperparameters: dict[str, Any], num_features: int, layout: FeatureLayout | None, seed: int, members: int
) -> tuple[keras.Model, str | None, Matrix]:
    """Return a network, the module that a worker must import to build it again, and every member's initial weights."""
    import keras

    initial = []
    with _seed_lock:  # Keras' random state and dtype policy belong to the whole process
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(hyperparameters.get("dtype") or "float32")
        try:
            for member in range(members):
                keras.utils.set_random_seed((seed + member) % 2**32)
                if hyperparameters.get("network"):
                    shape = hyperparameters.get("input_shape")
                    network, module = build_custom_network(hyperparameters["network"], shape, num_features, layout)
                    network = fed_by_columns(network, layout)
                else:
                    network, module = build_dense_network(hyperparameters, num_features, layout), None
                initial.append(weights.get_flat(network))
        finally:
            keras.config.set_dtype_policy(policy)
    return network, module, np.stack(initial)


def _check_code_of_user(network: keras.Model, plan: NetworkPlan, hyperparameters: dict[str, Any]) -> None:
    """Raise SpecError unless a network and losses of the user's own do in a worker what they must."""
    if hyperparameters.get("network"):
        check_rebuilt(network, plan)
    if any(is_import_path(parts(loss)[0]) for loss in plan.losses):
        check_losses(network, plan)


def _check_inputs(network: keras.Model, feature_sizes: list[int]) -> None:
    """Raise DataError unless the network's inputs fit the feature columns: one per input, or one for all of them."""
    shapes = [tuple(tensor.shape[1:]) for tensor in network.inputs]
    sizes = [None if None in shape else math.prod(shape) for shape in shapes]
    one_for_all = len(feature_sizes) == 1 and None not in sizes and sum(size or 0 for size in sizes) == feature_sizes[0]
    one_per_input = len(sizes) == len(feature_sizes) and all(
        size in (None, received) for size, received in zip(sizes, feature_sizes, strict=True)
    )
    if not (one_for_all or one_per_input):
        expected, received = ", ".join(map(str, shapes)), ", ".join(map(str, feature_sizes))
        raise DataError(f"The network takes inputs of shape {expected}, the data has {received} features.")


def _outputs(network: keras.Model, hyperparameters: dict[str, Any], label_sizes: list[int]) -> tuple[NetworkOutput, ...]:
    """Return the network's outputs. Raise SpecError if they do not fit the losses, the tasks or the labels."""
    count, per_output = len(network.outputs), losses(hyperparameters)
    if len(per_output) == 1:
        per_output = per_output * count
    if len(per_output) != count or len(label_sizes) != count:
        raise SpecError(
            f"The network has {count} outputs, the data {len(label_sizes)} label columns, and there are {len(per_output)} "
            "losses; expected one of each (labelCols and loss)."
        )
    outputs = []
    for name, tensor, loss, requested, labels in zip(
        output_names(network), network.outputs, per_output, tasks(hyperparameters, count), label_sizes, strict=True
    ):
        units, task = math.prod(tensor.shape[1:]), task_of(loss, requested, labels)
        check_outputs(loss, task, units, labels)
        outputs.append(NetworkOutput(name, as_text(loss), units, task))
    return tuple(outputs)
