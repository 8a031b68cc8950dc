"""The face of a compiled local window: several optimizer steps in one call, weights in and out as one flat vector."""

from __future__ import annotations

import importlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.training import dataset, weights
from airflow_provider_distkeras.training.algorithms import Vector

if TYPE_CHECKING:
    import keras

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class NetworkPlan:
    """Everything a worker needs to build the network and its training step, as plain values.

    Attributes:
        config: the network as Keras JSON.
        loss: Keras loss by name.
        optimizer: the Keras optimizer's configuration as JSON, without the learning rate.
        custom_module: a module that registers the network's custom objects when imported, or None.
    """

    config: str
    loss: str
    optimizer: str
    custom_module: str | None = None

    def build(self) -> keras.Model:
        """The network, newly initialized. Code inside the configuration is refused."""
        import keras

        if self.custom_module:
            importlib.import_module(self.custom_module)
        return keras.models.model_from_json(self.config)

    def build_optimizer(self) -> keras.optimizers.Optimizer:
        """The optimizer, newly initialized; its learning rate is set before every step."""
        import keras

        return keras.optimizers.deserialize(json.loads(self.optimizer))

    def build_loss(self) -> Any:
        """The loss as a function of (labels, predictions) that gives one value per row.

        Classes are labels 0, 1, ...: on them categorical cross entropy is its sparse form.
        """
        import keras

        name = "sparse_categorical_crossentropy" if self.loss == "categorical_crossentropy" else self.loss
        return keras.losses.get(name)

    @property
    def label_rank(self) -> int:
        """Dimensions of a batch of labels: 1 for class numbers, 2 for one column of values."""
        return 1 if "categorical" in self.loss else 2


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
        self.loss = plan.build_loss()
        self.shape = (window, batch_size)
        self.variables = weights.variables(self.network)
        self.sizes = [int(np.prod(v.shape)) for v in self.variables]
        # Seeds of dropout and the like: not weights, so they stay in the worker.
        kept = {id(v) for v in self.network.non_trainable_weights}
        self.seed_states = [v for v in self.network.non_trainable_variables if id(v) not in kept]
        self._fresh_optimizer = [np.asarray(v) for v in self.optimizer.variables]

    @abstractmethod
    def reset(self, seed: int) -> None:
        """Forget the optimizer's state and start the random numbers (dropout) again, for a new fit."""

    @abstractmethod
    def run(self, flat: Vector, window: dataset.Window, learning_rates: Vector) -> tuple[Vector, float]:
        """Train on a window, starting from the weights `flat`, one learning rate per step.

        Returns:
            The new weights, and the sum of the rows' losses (without regularization).
        """

    def _seed_value(self, variable: Any, seed: int, position: int) -> np.ndarray:
        """A start value for a seed state: two words, the seed and which of the network's states it is."""
        return np.array([seed, position], dtype=str(variable.dtype)).reshape(variable.shape)
