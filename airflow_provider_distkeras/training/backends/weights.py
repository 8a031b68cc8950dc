"""Runs on executors. A Keras network's weights as one flat float32 vector: the trainable ones first, then its layers' state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.training.algorithms.rule import Vector

if TYPE_CHECKING:
    import keras


def variables(network: keras.Model) -> list[Any]:
    """Return the variables that a flat vector holds, in its order.

    Raises:
        SpecError: a weight is not float32.
    """
    trainable, state = list(network.trainable_weights), list(network.non_trainable_weights)
    for variable in (*trainable, *state):
        if np.dtype(str(variable.dtype)) != np.float32:
            raise SpecError(f"The weight {variable.path} is {variable.dtype}; expected float32 for every weight of the network.")
    return [*trainable, *state]


def trainable_size(network: keras.Model) -> int:
    """Return the number of trainable entries, which come first in the vector."""
    return sum(int(np.prod(v.shape)) for v in network.trainable_weights)


def get_flat(network: keras.Model) -> Vector:
    """Return the network's weights as a new vector, (weights,)."""
    parts = [np.asarray(v).ravel() for v in variables(network)]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def set_flat(network: keras.Model, flat: Vector) -> None:
    """Set the network's weights to those of a vector, (weights,)."""
    start = 0
    for variable in variables(network):
        size = int(np.prod(variable.shape))
        variable.assign(flat[start : start + size].reshape(variable.shape))
        start += size
