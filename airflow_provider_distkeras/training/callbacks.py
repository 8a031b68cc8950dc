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


_PER_BATCH = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
#: Keras' own that would do nothing, or fail, and what does the same here.
_INSTEAD = {
    "ReduceLROnPlateau": "Set lr_decay.",
    "LearningRateScheduler": "Set lr_decay.",
    "EarlyStopping": "Set patience, which brings the best weights back.",
    "ModelCheckpoint": "Set snapshot_path.",
    "BackupAndRestore": "Set snapshot_path.",
}


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


def make(path: str) -> keras.callbacks.Callback:
    """The callback that an import path stands for.

    Raises:
        SpecError: it is none, cannot be made without arguments, or wants what a worker has not: an optimizer, or every batch.
    """
    import keras

    try:
        callback = load(path)()
    except (TypeError, ValueError) as error:
        raise SpecError(f"callbacks: {path!r} cannot be called without arguments: {error}. Wrap it in a function.") from error
    if not isinstance(callback, keras.callbacks.Callback):
        raise SpecError(f"callbacks: {path!r} gives a {type(callback).__name__}, expected a keras.callbacks.Callback.")
    for name in _PER_BATCH:
        if getattr(type(callback), name) is not getattr(keras.callbacks.Callback, name):
            raise SpecError(f"callbacks: {path!r} has {name}, but workers call back at epochs only.")
    unfit = [cls.__name__ for cls in type(callback).__mro__ if cls.__name__ in _INSTEAD]
    if unfit:
        raise SpecError(f"callbacks: {unfit[0]} steers the training of one process. {_INSTEAD[unfit[0]]}")
    return callback


class Callbacks:
    """The callbacks of one worker; false if there are none.

    Args:
        paths: import paths of callback classes, or of functions that return a callback.
        network: what the callbacks know as their model.
    """

    def __init__(self, paths: Sequence[str], network: keras.Model) -> None:
        self._network = network
        self._callbacks = [make(path) for path in paths]
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
