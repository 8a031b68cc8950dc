"""Compiled local windows: one face (`base.CompiledWindow`), one file per Keras backend with the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.errors import TrainingError
from airflow_provider_distkeras.training.steps.base import CompiledWindow, Matrix, NetworkPlan

if TYPE_CHECKING:
    import keras

__all__ = ["CompiledWindow", "NetworkPlan", "compile_forward", "compile_window"]


def compile_window(plan: NetworkPlan, batch_size: int, window: int) -> CompiledWindow:
    """A compiled training window on the backend this process runs Keras on."""
    compiled: CompiledWindow = _backend().Window(plan, batch_size, window)
    return compiled


def compile_forward(network: keras.Model) -> Callable[[Matrix], Matrix]:
    """The network's prediction, compiled: from rows, (n, features), to outputs, (n, units)."""
    compiled: Callable[[Matrix], Matrix] = _backend().compile_forward(network)
    return compiled


def _backend() -> Any:
    import keras

    name = keras.config.backend()
    if name == "tensorflow":
        from airflow_provider_distkeras.training.steps import tensorflow

        return tensorflow
    if name == "jax":
        from airflow_provider_distkeras.training.steps import jax

        return jax
    raise TrainingError(f"Keras runs on {name!r} in this process; expected tensorflow or jax.")
