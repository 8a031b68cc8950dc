"""Keras callbacks inside a worker: called at the begin and end of training and of epochs, on the center."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.training import weights
from airflow_provider_distkeras.training.algorithms import Vector

if TYPE_CHECKING:
    import keras


def load(path: str) -> Callable[[], Any]:
    """The class or function at an import path such as 'package.module:name'.

    Raises:
        SpecError: there is none.
    """
    module, _, name = path.partition(":")
    try:
        found: Callable[[], Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SpecError(
            f"callbacks: expected 'package.module:name', received {path!r}: {error}. "
            "The module must be importable in the Spark driver and on the executors (py_files)."
        ) from error
    return found


class Callbacks:
    """The callbacks of one worker; false if there are none.

    Args:
        paths: import paths of callback classes, or of functions that return a callback.
        network: what the callbacks know as their model.
    """

    def __init__(self, paths: Sequence[str], network: keras.Model) -> None:
        self._network = network
        self._callbacks = [load(path)() for path in paths]
        for callback in self._callbacks:
            callback.set_model(network)
            callback.on_train_begin()

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def epoch_begins(self, epoch: int) -> None:
        """Call on_epoch_begin."""
        for callback in self._callbacks:
            callback.on_epoch_begin(epoch)

    def epoch_ends(self, epoch: int, record: dict[str, Any], pull: Callable[[], Vector]) -> bool:
        """Call on_epoch_end with the center and the epoch's numbers; whether a callback asks to stop."""
        weights.set_flat(self._network, pull())
        self._network.stop_training = False
        logs = {name: value for name, value in record.items() if name not in ("epoch", "rows", "steps", "seconds")}
        for callback in self._callbacks:
            callback.on_epoch_end(epoch, logs)
        return bool(self._network.stop_training)

    def end(self) -> None:
        """Call on_train_end."""
        for callback in self._callbacks:
            callback.on_train_end()
