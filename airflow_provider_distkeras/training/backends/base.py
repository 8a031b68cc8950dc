"""Runs on executors. The interface of a compiled window: several optimizer steps per call, weights as one flat vector."""

from __future__ import annotations

import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.training import dataset
from airflow_provider_distkeras.training.algorithms.rule import Vector
from airflow_provider_distkeras.training.backends import arguments, objective, weights
from airflow_provider_distkeras.training.backends.label_transform import LabelTransform

if TYPE_CHECKING:
    import keras

Matrix = NDArray[np.float32]
_EVALUATION_ROWS = 4096
#: An optimizer's count of steps stays here, where some backends would overflow at 2^31; no correction of a bias is left by then.
MAX_ITERATIONS = 2**30


@dataclass(frozen=True)
class NetworkPlan:
    """The network and its training step as plain values, from which a worker builds both.

    Two plans are equal if one compiled window serves both.

    Attributes:
        config: the network as Keras JSON, without the hyper-parameters that `arguments.extract` takes out.
        losses: the losses' texts, one per output; see `contract.params.losses.as_text`.
        optimizer: the Keras optimizer's configuration as JSON, without the learning rate.
        label_sizes: labels per row, one number per output.
        loss_weights: the weight of each output's loss.
        metrics: Keras metrics by name, or the user's by import path.
        custom_modules: modules that register the network's custom objects when imported.
        tasks: the outputs' tasks; empty for those that follow from the losses.
    """

    config: str
    losses: tuple[str, ...]
    optimizer: str
    label_sizes: tuple[int, ...] = (1,)
    loss_weights: tuple[float, ...] = (1.0,)
    metrics: tuple[str, ...] = ()
    custom_modules: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()

    def build(self) -> keras.Model:
        """Return the network, newly initialized. Keras refuses code inside the configuration."""
        import keras

        arguments.register()
        for module in self.custom_modules:
            importlib.import_module(module)
        return keras.models.model_from_json(self.config)

    def build_optimizer(self) -> keras.optimizers.Optimizer:
        """Return the optimizer, newly initialized; its learning rate is set before every step."""
        import keras

        return keras.optimizers.deserialize(json.loads(self.optimizer))


class CompiledWindow(ABC):
    """Several training steps as one compiled call. Its shape is fixed, so it compiles once.

    Args:
        plan: the network and its training step.
        batch_size: rows per step.
        window: steps per call, at most.
    """

    def __init__(self, plan: NetworkPlan, batch_size: int, window: int) -> None:
        self.plan = plan
        self.network = plan.build()
        self.optimizer = plan.build_optimizer()
        self.optimizer.build(self.network.trainable_variables)
        self.objective = objective.Objective(self.network, plan.losses, plan.label_sizes, plan.loss_weights, plan.tasks)
        self.shape = (window, batch_size)
        self.variables = weights.variables(self.network)
        self.sizes = [int(np.prod(v.shape)) for v in self.variables]
        # Seeds of dropout and the like are not weights, so they stay in the worker.
        state = {id(v) for v in self.network.non_trainable_weights}
        self.seed_states = [v for v in self.network.non_trainable_variables if id(v) not in state]
        self._fresh_optimizer = [np.asarray(v) for v in map(_numpy, self.optimizer.variables)]

    def reset(self, seed: int) -> None:
        """Reset the optimizer's state and the random numbers (dropout), for a new fit."""
        seeds = [np.array([seed, position], dtype=str(v.dtype)).reshape(v.shape) for position, v in enumerate(self.seed_states)]
        self._set_state([*self._fresh_optimizer, *seeds])

    def save(self) -> bytes:
        """Return the state of the optimizer and of the random numbers, as bytes for `restore`."""
        return b"".join(np.ascontiguousarray(value).tobytes() for value in self._get_state())

    def restore(self, state: bytes) -> None:
        """Set the state that `save` returned."""
        values, start = [], 0
        for like in self._get_state():
            values.append(np.frombuffer(state, like.dtype, like.size, start).reshape(like.shape))
            start += like.nbytes
        self._set_state(values)

    @abstractmethod
    def run(
        self, flat: Vector, window: dataset.WindowBatch, learning_rates: Vector, values: Sequence[float] = ()
    ) -> tuple[Vector, float]:
        """Train on a window.

        Args:
            flat: the weights to start from, (weights,).
            window: the rows of each step.
            learning_rates: one per step, (window,).
            values: the hyper-parameters that `arguments.extract` took out of the network.

        Returns:
            The new weights, (weights,), and the sum of the rows' weighted losses (without regularization).
        """

    @abstractmethod
    def _predict(self, flat: Vector, features: Matrix) -> list[NDArray[Any]]:
        """Return the outputs for rows of features, with the weights `flat`."""

    @abstractmethod
    def _get_state(self) -> list[NDArray[Any]]:
        """Return the optimizer's variables, then the seed states."""

    @abstractmethod
    def _set_state(self, values: Sequence[NDArray[Any]]) -> None:
        """Set the values that `_get_state` returned."""

    def predict(self, flat: Vector, rows: dataset.Rows) -> Iterator[tuple[Matrix, list[NDArray[Any]]]]:
        """Yield blocks of the rows' records, each with its outputs, with the weights `flat`."""
        for start in range(0, len(rows), _EVALUATION_ROWS):
            block = np.asarray(rows.records[start : start + _EVALUATION_ROWS])
            padded = np.zeros((_EVALUATION_ROWS, block.shape[1]), np.float32)
            padded[: len(block)] = block
            yield block, [output[: len(block)] for output in self._predict(flat, padded[:, : self.objective.num_features])]

    def evaluate(self, flat: Vector, rows: dataset.Rows, transform: LabelTransform | None = None) -> dict[str, float]:
        """Return the mean loss and the metrics of rows, by name, with the weights `flat`.

        Args:
            flat: the weights, (weights,).
            rows: the rows, with labels as they are.
            transform: of the labels that the loss is of; metrics are of labels as they are.
        """
        plan = self.plan
        metric_objects = objective.build_metrics(plan.metrics, plan.losses, plan.label_sizes, plan.tasks)
        total = 0.0
        for block, outputs in self.predict(flat, rows):
            labels, predictions, sample_weights = self.objective.labels_of(block), outputs, block[:, -1]
            if transform is not None:
                predictions, block = transform.undo(outputs), block.copy()
                transform.apply(block, self.objective.num_features)
            losses = self.objective.row_losses(self.objective.labels_of(block), outputs)
            total += float(np.sum(_numpy(losses) * sample_weights))
            for name, metric in zip(self.plan.metrics, metric_objects, strict=True):
                _update(name, metric, labels[0], predictions[0])
        metrics = {name: float(_numpy(metric.result())) for name, metric in zip(self.plan.metrics, metric_objects, strict=True)}
        return {"loss": total / max(len(rows), 1), **metrics}


def _update(name: str, metric: Any, labels: Any, outputs: Any) -> None:
    try:
        metric.update_state(labels, outputs)
    except Exception as error:  # each backend raises its own errors for shapes that do not fit
        raise SpecError(
            f"metrics: {name!r} does not take labels of shape {labels.shape} with outputs of shape {outputs.shape}: {error}"
        ) from error


def _numpy(value: Any) -> NDArray[Any]:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(value))
