"""The params of a network and of how its weights move, and how they go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import (
    Field,
    choice,
    integer,
    json_value,
    list_of,
    mapping_of,
    number,
    optional,
    text,
)
from airflow_provider_distkeras.contract.params.label_transforms import LABEL_TRANSFORMS, check_label_transform
from airflow_provider_distkeras.contract.params.losses import TASKS, Loss, loss_field, task_of
from airflow_provider_distkeras.contract.params.objectives import DEFAULT_LOSS, check_outputs, losses, tasks
from airflow_provider_distkeras.contract.params.schedules import reduce_on_plateau, schedule

REGULARIZERS = ("l1", "l2", "l1_l2")
DTYPES = ("float32", "mixed_bfloat16")


def _layer_dims(name: str, value: Any) -> list[int | None]:
    dims = list_of(optional(integer(1)), minimum=2)(name, value)
    if None in dims[1:]:
        raise SpecError(f"{name}: only the first of layer_dims (the number of features) may be null, received {value!r}.")
    return dims


def _optimizer(name: str, value: Any) -> str | dict[str, Any]:
    if isinstance(value, str):
        return text(name, value)
    config = mapping_of(json_value)(name, value)
    text(f"{name}['name']", config.get("name"))
    for managed, param in (("learning_rate", "learning_rate"), ("decay", "lr_decay")):
        if managed in config:
            raise SpecError(f"{name}: set {param} as its own hyper-parameter, not inside the optimizer (received {value!r}).")
    return config


def _loss(name: str, value: Any) -> Loss | list[Loss]:
    return list_of(loss_field, minimum=1)(name, value) if isinstance(value, (list, tuple)) else loss_field(name, value)


def _task(name: str, value: Any) -> str | list[str | None] | None:
    one = optional(choice("task", TASKS))
    checked: str | list[str | None] | None
    checked = list_of(one, minimum=1)(name, value) if isinstance(value, (list, tuple)) else one(name, value)
    return checked


def _embedding_dims(name: str, value: Any) -> str | int | dict[str, int]:
    if value == "auto":
        return "auto"
    if not isinstance(value, (int, float, Mapping)):
        raise SpecError(f"{name}: expected 'auto', a whole number, or a dict of them by column, received {value!r}.")
    return mapping_of(integer(1))(name, value) if isinstance(value, Mapping) else integer(1)(name, value)


#: The network's hyper-parameters and how its weights move; each is a Param of the Estimator.
HYPERPARAMETERS: dict[str, Field] = {
    "layer_dims": Field(
        _layer_dims, None, "Units per layer: the features (null: taken from the data), the hidden layers, the outputs."
    ),
    "embedding_dims": Field(
        _embedding_dims,
        "auto",
        "Width of the Embeddings of layer_dims: a number, or one per column; auto is min(8, round(1.6 * categories ** 0.56)).",
    ),
    "activations": Field(list_of(text), None, "Activation per hidden layer (default relu); one more sets the output's too."),
    "initializers": Field(
        list_of(text), None, "Kernel initializer per hidden layer (default glorot_uniform); one more sets the output's too."
    ),
    "regularizer": Field(
        optional(choice("regularizer", REGULARIZERS)), None, "Kernel regularizer of the hidden layers, or null."
    ),
    "reg_strength": Field(number(0.0), 1e-2, "Regularization strength (alpha) of the first hidden layer."),
    "reg_decay": Field(number(0.0), 1.0, "Factor of alpha from each hidden layer to the next (alpha *= reg_decay)."),
    "dropout_rate": Field(number(0.0, 1.0), 0.0, "Share of units dropped after each hidden layer, in [0, 1)."),
    "network": Field(
        optional(text), None, "A network of your own instead of layer_dims: Keras JSON config, or 'package.module:function'."
    ),
    "input_shape": Field(
        list_of(integer(1), minimum=1),
        None,
        "Shape that a row's features are given in, such as [28, 28, 1]; handed to `network`.",
    ),
    "custom_objects": Field(list_of(text), None, "Modules whose import registers the network's custom layers and functions."),
    "dtype": Field(
        choice("dtype", DTYPES), "float32", "float32, or mixed_bfloat16 to compute in bfloat16; weights stay float32."
    ),
    "optimizer": Field(
        _optimizer, "sgd", "Any Keras optimizer by name, or {'name': ..., its arguments}; learning_rate is set apart."
    ),
    "learning_rate": Field(number(positive=True), 1e-2, "Learning rate at step 0."),
    "lr_decay": Field(number(0.0), 0.0, "Decay of the learning rate: learning_rate / (1 + lr_decay * step)."),
    "lr_schedule": Field(
        optional(schedule),
        None,
        "The learning rate by the step of all workers together: cosine, warmup or warmup_cosine over the whole fit, one of "
        "Keras' schedules as {'name': 'CosineDecay', its arguments}, or as keras.optimizers.schedules.serialize returns it.",
    ),
    "reduce_on_plateau": Field(
        optional(reduce_on_plateau),
        None,
        "{'factor': 0.5, 'patience': 2, 'min_delta': 0, 'min_lr': 0}, of which any may be left out: lower the learning rate of "
        "all workers after so many epochs without a better loss (on validation rows, if there are any).",
    ),
    "loss": Field(
        _loss,
        DEFAULT_LOSS,
        "Keras' losses, quantile or tweedie by name, or your own as 'package.module:name'; with arguments, {'name': ..., them}; "
        "or a list, one per output.",
    ),
    "task": Field(
        _task,
        None,
        f"What an output is for: {', '.join(TASKS)}; or a list, one per output. It follows from a loss that is not your own.",
    ),
    "label_transform": Field(
        optional(choice("label transform", LABEL_TRANSFORMS)),
        None,
        "What the network learns in place of labels: standardize (mean 0, deviation 1), log1p (their logarithm, standardized) or "
        "none; predictions and metrics are in the labels' own units. By default standardize, if features are and the loss "
        "and the network allow.",
    ),
    "loss_weights": Field(list_of(number(0.0), minimum=1), None, "What each output's loss counts, in the order of the outputs."),
    "metrics": Field(
        list_of(text),
        None,
        "Keras metrics by name, or your own as 'package.module:name', of the first output: measured after every epoch.",
    ),
}


def check_network(hyperparameters: dict[str, Any], labels: int | None = None) -> None:
    """Check hyper-parameters against each other: their lengths, the outputs, and that there is one network.

    Args:
        hyperparameters: values of HYPERPARAMETERS.
        labels: the number of labels of a row; None if that is unknown yet.

    Raises:
        SpecError: they do not fit together.
    """
    dims, network = hyperparameters.get("layer_dims"), hyperparameters.get("network")
    if dims is None and network is None:
        raise SpecError("No network: set layer_dims (such as [null, 64, 32, 1]) or network.")
    if dims is not None and network is not None:
        raise SpecError(f"Two networks: layer_dims={dims!r} and network={network!r}. Set one of them.")
    per_output, transform = losses(hyperparameters), hyperparameters.get("label_transform")
    if dims is None:
        if hyperparameters.get("embedding_dims", "auto") != "auto":
            raise SpecError("embedding_dims is for layer_dims; a network of your own has its own Embeddings. Leave it out.")
        per_task = tasks(hyperparameters)
        pairs = zip(per_output * len(per_task) if len(per_output) == 1 else per_output, per_task, strict=True)
        check_label_transform(transform, per_output, [task_of(loss, task) for loss, task in pairs])
        return
    if hyperparameters.get("input_shape") is not None:
        raise SpecError("input_shape is for a network of your own; layer_dims takes a row's features as they are.")
    if len(per_output) > 1:
        raise SpecError(f"loss: layer_dims makes one output, received {len(per_output)} losses: {per_output!r}.")
    task = task_of(per_output[0], tasks(hyperparameters)[0], labels or 1)
    check_outputs(per_output[0], task, dims[-1], labels)
    hidden = len(dims) - 2
    for name in ("activations", "initializers"):
        values = hyperparameters.get(name)
        if values is not None and len(values) not in (hidden, hidden + 1):
            raise SpecError(
                f"{name}: expected {hidden} values, one per hidden layer of {dims!r} (or {hidden + 1}: the output's too), "
                f"received {len(values)}: {values!r}."
            )
    activations = hyperparameters.get("activations") or ()
    check_label_transform(transform, per_output, [task], activations[hidden] if len(activations) > hidden else None)
