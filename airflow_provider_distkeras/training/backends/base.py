"""The face of a compiled local window: several optimizer steps in one call, weights in and out as one flat vector."""

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
from airflow_provider_distkeras.training import dataset, weights
from airflow_provider_distkeras.training.algorithms import Vector
from airflow_provider_distkeras.training.backends import arguments, objective

if TYPE_CHECKING:
    import keras

Matrix = NDArray[np.float32]
_EVALUATED_AT_ONCE = 4096


@dataclass(frozen=True)
class NetworkPlan:
    """Everything a worker needs to build the network and its training step, as plain values.

    Two plans are equal if one compiled window serves both.

    Attributes:
        config: the network as Keras JSON, with arguments in place of what `arguments.extract` takes out.
        losses: Keras losses by name, one per output; loss_weights: what each counts.
        label_sizes: labels per row, one number per output.
        optimizer: the Keras optimizer's configuration as JSON, without the learning rate.
        metrics: Keras metrics by name.
        custom_modules: modules that register the network's custom objects when imported.
    """

    config: str
    losses: tuple[str, ...]
    optimizer: str
    label_sizes: tuple[int, ...] = (1,)
    loss_weights: tuple[float, ...] = (1.0,)
    metrics: tuple[str, ...] = ()
    custom_modules: tuple[str, ...] = ()

    def build(self) -> keras.Model:
        """The network, newly initialized. Code inside the configuration is refused."""
        import keras

        arguments.register()
        for module in self.custom_modules:
            importlib.import_module(module)
        return keras.models.model_from_json(self.config)

    def build_optimizer(self) -> keras.optimizers.Optimizer:
        """The optimizer, newly initialized; its learning rate is set before every step."""
        import keras

        return keras.optimizers.deserialize(json.loads(self.optimizer))


class CompiledWindow(ABC):
    """Several training steps as one compiled call. Its shape is fixed, so it is compiled once.

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
        self.objective = objective.Objective(self.network, plan.losses, plan.label_sizes, plan.loss_weights)
        self.shape = (window, batch_size)
        self.variables = weights.variables(self.network)
        self.sizes = [int(np.prod(v.shape)) for v in self.variables]
        # Seeds of dropout and the like: not weights, so they stay in the worker.
        kept = {id(v) for v in self.network.non_trainable_weights}
        self.seed_states = [v for v in self.network.non_trainable_variables if id(v) not in kept]
        self._fresh_optimizer = [np.asarray(v) for v in map(_numpy, self.optimizer.variables)]

    def reset(self, seed: int) -> None:
        """Forget the optimizer's state and start the random numbers (dropout) again, for a new fit."""
        seeds = [np.array([seed, position], dtype=str(v.dtype)).reshape(v.shape) for position, v in enumerate(self.seed_states)]
        self._set_state([*self._fresh_optimizer, *seeds])

    def save(self) -> bytes:
        """The optimizer's state and that of the random numbers, as bytes for `restore`."""
        return b"".join(np.ascontiguousarray(value).tobytes() for value in self._get_state())

    def restore(self, saved: bytes) -> None:
        """Go on from what `save` gave."""
        values, start = [], 0
        for like in self._get_state():
            values.append(np.frombuffer(saved, like.dtype, like.size, start).reshape(like.shape))
            start += like.nbytes
        self._set_state(values)

    @abstractmethod
    def run(
        self, flat: Vector, window: dataset.WindowBatch, learning_rates: Vector, values: Sequence[float] = ()
    ) -> tuple[Vector, float]:
        """Train on a window, starting from the weights `flat`, one learning rate per step.

        Args:
            values: what `arguments.extract` took out of the network.

        Returns:
            The new weights, and the sum of the rows' weighted losses (without regularization).
        """

    @abstractmethod
    def _predict(self, flat: Vector, features: Matrix) -> list[NDArray[Any]]:
        """The outputs for rows, with the weights `flat`."""

    @abstractmethod
    def _get_state(self) -> list[NDArray[Any]]:
        """The optimizer's variables, then the seed states."""

    @abstractmethod
    def _set_state(self, values: Sequence[NDArray[Any]]) -> None:
        """Set what `_get_state` gives."""

    def predict(self, flat: Vector, rows: dataset.Rows) -> Iterator[tuple[Matrix, list[NDArray[Any]]]]:
        """Blocks of the rows' records, each with its outputs, with the weights `flat`."""
        for start in range(0, len(rows), _EVALUATED_AT_ONCE):
            block = np.asarray(rows.records[start : start + _EVALUATED_AT_ONCE])
            padded = np.zeros((_EVALUATED_AT_ONCE, block.shape[1]), np.float32)
            padded[: len(block)] = block
            yield block, [output[: len(block)] for output in self._predict(flat, padded[:, : self.objective.num_features])]

    def evaluate(self, flat: Vector, rows: dataset.Rows) -> dict[str, float]:
        """The mean loss and the metrics of rows, with the weights `flat`."""
        meters = objective.meters(self.plan.metrics, self.plan.losses, self.plan.label_sizes)
        total = 0.0
        for block, outputs in self.predict(flat, rows):
            labels, sample_weights = self.objective.labels_of(block), block[:, -1]
            total += float(np.sum(_numpy(self.objective.row_losses(labels, outputs)) * sample_weights))
            for name, meter in zip(self.plan.metrics, meters, strict=True):
                _update(name, meter, labels[0], outputs[0])
        measured = {name: float(_numpy(meter.result())) for name, meter in zip(self.plan.metrics, meters, strict=True)}
        return {"loss": total / max(len(rows), 1), **measured}


def _update(name: str, meter: Any, labels: Any, outputs: Any) -> None:
    try:
        meter.update_state(labels, outputs)
    except Exception as error:  # whatever the metric's backend makes of shapes that it does not take
        raise SpecError(
            f"metrics: {name!r} does not take labels of shape {labels.shape} with outputs of shape {outputs.shape}: {error}"
        ) from error


def _numpy(value: Any) -> NDArray[Any]:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(value))
