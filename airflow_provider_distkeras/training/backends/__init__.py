"""Runs on executors. Compiled windows: one interface (`base.CompiledWindow`), one file per Keras backend.

A backend's file is named as Keras names the backend and has two functions, `compile_window` and `compile_forward`. A new backend
is such a file and its name in `contract.params.choices.BACKENDS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import TrainingError
from airflow_provider_distkeras.contract.params.choices import BACKENDS
from airflow_provider_distkeras.training.backends.base import CompiledWindow, Matrix, NetworkPlan
from airflow_provider_distkeras.training.backends.objective import Objective

if TYPE_CHECKING:
    import keras

__all__ = ["CompiledWindow", "NetworkPlan", "compile_forward", "compile_window"]


def compile_window(plan: NetworkPlan, batch_size: int, window: int) -> CompiledWindow:
    """Return a training window compiled by the backend that Keras uses in this process.

    Args:
        plan: the network and its training step.
        batch_size: rows per step.
        window: steps per call, at most.

    Raises:
        TrainingError: Keras uses another backend than those of `contract.params.choices.BACKENDS`.
    """
    compiled: CompiledWindow = _backend().compile_window(plan, batch_size, window)
    return compiled


def compile_forward(network: keras.Model, batch_size: int) -> Callable[[Matrix], list[NDArray[np.float32]]]:
    """Return the network's prediction as a compiled function, from rows, (n, features), to one (n, values) per output.

    Args:
        network: a Keras network whose inputs have fixed shapes.
        batch_size: rows per call of the network; the function takes any number of rows but zero.

    Raises:
        TrainingError: Keras uses another backend than those of `contract.params.choices.BACKENDS`.
    """
    compiled: Callable[[Matrix], list[NDArray[np.float32]]]
    compiled = _backend().compile_forward(network, Objective(network, [], [], []), batch_size)
    return compiled


def _backend() -> Any:
    import keras

    name = keras.config.backend()
    if name not in BACKENDS:
        raise TrainingError(f"Keras uses the backend {name!r} in this process; expected one of {', '.join(BACKENDS)}.")
    return importlib.import_module(f"{__name__}.{name}")
