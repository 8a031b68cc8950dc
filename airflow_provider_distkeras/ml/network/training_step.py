"""The training step of a network: its optimizer, its loss weights, and the loss and metrics that are saved with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.training.backends import NetworkPlan, objective

if TYPE_CHECKING:
    import keras


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


def compile_network(network: keras.Model, plan: NetworkPlan) -> None:
    """Set the loss and metrics of the network that is saved, so that `keras.saving.load_model` can evaluate it.

    Raises:
        SpecError: Keras has no such metric.
    """
    several = len(plan.losses) > 1
    loss = list(plan.losses) if several else plan.losses[0]
    metrics = [list(plan.metrics), *[[] for _ in plan.losses[1:]]] if several else list(plan.metrics)
    try:
        objective.build_metrics(plan.metrics, plan.losses, plan.label_sizes)
        network.compile(loss=loss, metrics=metrics or None)
    except ValueError as error:
        raise SpecError(f"metrics: Keras does not know {list(plan.metrics)!r}: {error}") from error
