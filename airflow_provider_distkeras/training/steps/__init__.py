"""Compiled local windows: one face (`base.CompiledWindow`), one file per Keras backend with the same names."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.errors import TrainingError
from airflow_provider_distkeras.contract.vocabulary import BACKENDS
from airflow_provider_distkeras.training.steps.base import CompiledWindow, Matrix, NetworkPlan
from airflow_provider_distkeras.training.steps.objective import Objective

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["CompiledWindow", "NetworkPlan", "compile_forward", "compile_window"]


def compile_window(plan: NetworkPlan, batch_size: int, window: int) -> CompiledWindow:
    """A compiled training window on the backend this process runs Keras on."""
    compiled: CompiledWindow = _backend().Window(plan, batch_size, window)
    return compiled


def compile_forward(network: keras.Model) -> Callable[[Matrix], list[NDArray[Any]]]:
    """The network's prediction, compiled: from rows, (n, features of all inputs), to one array per output."""
    inputs_of = Objective(network, [], [], []).inputs_of
    compiled: Callable[[Any], list[NDArray[Any]]] = _backend().compile_forward(network)
    return lambda rows: compiled(inputs_of(rows))


def _backend() -> Any:
    import keras

    name = keras.config.backend()
    if name not in BACKENDS:
        raise TrainingError(f"Keras runs on {name!r} in this process; expected one of {', '.join(BACKENDS)}.")
    return importlib.import_module(f"{__name__}.{name}")
