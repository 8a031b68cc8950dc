"""The training step of a network: its optimizer, its loss weights, and the loss and metrics that are saved with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import is_import_path
from airflow_provider_distkeras.training.backends import NetworkPlan, objective
from airflow_provider_distkeras.training.backends import losses as loss_functions

if TYPE_CHECKING:
    import keras

#: Rows that losses are tried on.
_ROWS = 3


def optimizer_config(optimizer: str | dict[str, Any]) -> str:
    """Return the optimizer's configuration as JSON, without its learning rate: that is set before every step.

    Args:
        optimizer: its name, or a dict with `name` and its arguments.

    Raises:
        SpecError: Keras has no such optimizer, or it averages weights itself.
    """
    import keras

    options = {"name": optimizer} if isinstance(optimizer, str) else optimizer
    name, arguments = options["name"], {key: value for key, value in options.items() if key != "name"}
    if arguments.get("use_ema"):
        raise SpecError("optimizer: use_ema averages the weights of one process, which no trainer takes; leave it out.")
    try:
        built = keras.optimizers.get({"class_name": name, "config": {"name": name, **arguments, "learning_rate": 1.0}})
    except (ValueError, TypeError) as error:
        raise SpecError(f"optimizer: Keras cannot make {name!r} with {arguments}: {error}") from error
    return json.dumps(keras.optimizers.serialize(built), sort_keys=True)


def loss_weights(values: list[float] | None, outputs: int) -> tuple[float, ...]:
    """Return the weight of each output's loss, by default 1. Raise SpecError unless there is one per output."""
    if values is None:
        return (1.0,) * outputs
    if len(values) != outputs:
        raise SpecError(f"loss_weights: expected {outputs} values, one per output, received {values!r}.")
    return tuple(values)


def check_losses(network: keras.Model, plan: NetworkPlan) -> None:
    """Raise SpecError unless the losses give every row of a batch a value of its own, whatever the other rows."""
    import keras

    labels, outputs = _examples(network, plan)
    measured = objective.Objective(network, plan.losses, plan.label_sizes, plan.loss_weights, plan.tasks)
    together, alone = (
        np.asarray(keras.ops.convert_to_numpy(_row_losses(measured, plan, labels, outputs, rows))) for rows in (_ROWS, 1)
    )
    if together.shape != (_ROWS,) or alone.shape != (1,) or not np.allclose(together[0], alone[0], rtol=1e-3, equal_nan=True):
        raise SpecError(
            f"loss: {_listed(plan)} gives a row another value in another batch (of {_ROWS} rows the shape {together.shape}); "
            "expected a value per row that depends on no other row. Reduce over axis=-1, not over the rows."
        )


def _listed(plan: NetworkPlan) -> str:
    return ", ".join(map(repr, dict.fromkeys(plan.losses)))


def _examples(network: keras.Model, plan: NetworkPlan) -> tuple[list[Any], list[Any]]:
    """Return labels and outputs of some rows, as the losses take them."""
    random = np.random.default_rng(0)
    labels = [random.integers(0, 2, (_ROWS, size)).astype(np.float32) for size in plan.label_sizes]
    shapes = [[_ROWS, *(size or 1 for size in tensor.shape[1:])] for tensor in network.outputs]
    outputs = [random.uniform(0.1, 0.9, shape).astype(np.float32) for shape in shapes]
    return labels, outputs


def _row_losses(measured: objective.Objective, plan: NetworkPlan, labels: list[Any], outputs: list[Any], rows: int) -> Any:
    import keras

    features = np.zeros((rows, measured.num_features), np.float32)
    records = np.concatenate([features, *(label[:rows] for label in labels)], axis=1)
    try:
        parts = [keras.ops.convert_to_tensor(part) for part in measured.labels_of(records)]
        return measured.row_losses(parts, [keras.ops.convert_to_tensor(output[:rows]) for output in outputs])
    except Exception as error:  # the user's loss, or a backend, may raise anything
        raise SpecError(
            f"loss: {_listed(plan)} does not take labels of shape {[label.shape for label in labels]} with outputs of shape "
            f"{[output.shape for output in outputs]}: {type(error).__name__}: {error}"
        ) from error


def compile_network(network: keras.Model, plan: NetworkPlan) -> None:
    """Set the loss and metrics of the network that is saved, so that `keras.saving.load_model` can evaluate it.

    Losses and metrics that are not Keras' are left out: whoever loads the network needs no module of theirs.

    Raises:
        SpecError: Keras has no such metric, or a metric of the user's cannot be made.
    """
    several = len(plan.losses) > 1
    losses = [loss_functions.keras_loss(loss) for loss in plan.losses]
    names = [name for name in plan.metrics if not is_import_path(name)]
    metrics = [names, *[[] for _ in plan.losses[1:]]] if several else names
    objective.build_metrics(plan.metrics, plan.losses, plan.label_sizes, plan.tasks)
    if None not in losses:
        network.compile(loss=losses if several else losses[0], metrics=metrics or None)
