"""Compiled local windows: one face (`base.CompiledWindow`), one file per Keras backend with the same names."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import TrainingError
from airflow_provider_distkeras.contract.params import BACKENDS
from airflow_provider_distkeras.training.backends.base import CompiledWindow, Matrix, NetworkPlan
from airflow_provider_distkeras.training.backends.objective import Objective

if TYPE_CHECKING:
    import keras

__all__ = ["CompiledWindow", "NetworkPlan", "compile_forward", "compile_window"]


def compile_window(plan: NetworkPlan, batch_size: int, window: int) -> CompiledWindow:
    """A compiled training window on the backend this process runs Keras on."""
    compiled: CompiledWindow = _backend().compile_window(plan, batch_size, window)
    return compiled


def compile_forward(network: keras.Model, batch_size: int) -> Callable[[Matrix], list[NDArray[np.float32]]]:
    """The network's prediction, compiled: from rows, (n, features of all inputs), to (n, values) per output.

    Args:
        network: a Keras network whose inputs have fixed shapes.
        batch_size: rows that the network takes at a time, of any number of rows that it is given, at least one.
    """
    compiled: Callable[[Matrix], list[NDArray[np.float32]]]
    compiled = _backend().compile_forward(network, Objective(network, [], [], []), batch_size)
    return compiled


def _backend() -> Any:
    import keras

    name = keras.config.backend()
    if name not in BACKENDS:
        raise TrainingError(f"Keras runs on {name!r} in this process; expected one of {', '.join(BACKENDS)}.")
    return importlib.import_module(f"{__name__}.{name}")
