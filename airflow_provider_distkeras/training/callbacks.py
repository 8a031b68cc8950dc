"""Runs on executors. Keras callbacks of a worker, called at the begin and end of training and of epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.spark.imports import import_object
from airflow_provider_distkeras.training.algorithms.rule import Vector
from airflow_provider_distkeras.training.backends import weights

if TYPE_CHECKING:
    import keras


#: Methods that a callback may not override, as workers train whole windows of batches.
_PER_BATCH = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
#: Keras' own callbacks that would do nothing, or fail, and what to use instead.
_ALTERNATIVES = {
    "ReduceLROnPlateau": "Set reduce_on_plateau.",
    "LearningRateScheduler": "Set lr_schedule.",
    "EarlyStopping": "Set patience, which brings the best weights back.",
    "ModelCheckpoint": "Set snapshot_path.",
    "BackupAndRestore": "Set snapshot_path.",
}


def build_callback(path: str) -> keras.callbacks.Callback:
    """Return the callback that the class or function at an import path builds.

    Raises:
        SpecError: it is no callback, needs arguments, or needs what a worker does not have: an optimizer, or every batch.
    """
    import keras

    try:
        callback = import_object(path, "callbacks")()
    except (TypeError, ValueError) as error:
        raise SpecError(f"callbacks: {path!r} cannot be called without arguments: {error}. Wrap it in a function.") from error
    if not isinstance(callback, keras.callbacks.Callback):
        raise SpecError(f"callbacks: {path!r} gives a {type(callback).__name__}, expected a keras.callbacks.Callback.")
    for name in _PER_BATCH:
        if getattr(type(callback), name) is not getattr(keras.callbacks.Callback, name):
            raise SpecError(f"callbacks: {path!r} has {name}, but workers call back at epochs only.")
    unfit = [cls.__name__ for cls in type(callback).__mro__ if cls.__name__ in _ALTERNATIVES]
    if unfit:
        raise SpecError(f"callbacks: {unfit[0]} steers the training of one process. {_ALTERNATIVES[unfit[0]]}")
    return callback


class CallbackList:
    """The callbacks of one worker; false if it is empty.

    Args:
        paths: import paths of callback classes, or of functions that return a callback.
        network: the callbacks' `model`.
    """

    def __init__(self, paths: Sequence[str], network: keras.Model) -> None:
        self._network = network
        self._callbacks = [build_callback(path) for path in paths]
        for callback in self._callbacks:
            callback.set_model(network)
            callback.on_train_begin()

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def on_epoch_begin(self, epoch: int) -> None:
        """Call every callback's on_epoch_begin."""
        for callback in self._callbacks:
            callback.on_epoch_begin(epoch)

    def on_epoch_end(self, epoch: int, record: dict[str, Any], pull: Callable[[], Vector]) -> bool:
        """Call every callback's on_epoch_end; return whether one of them requests the end of training.

        Args:
            epoch: the epoch's number, from 0.
            record: the epoch's metrics.
            pull: returns the server weights, which the callbacks' model is set to.
        """
        weights.set_flat(self._network, pull())
        self._network.stop_training = False
        logs = {name: value for name, value in record.items() if name not in ("epoch", "rows", "steps", "seconds")}
        for callback in self._callbacks:
            callback.on_epoch_end(epoch, logs)
        return bool(self._network.stop_training)

    def on_train_end(self) -> None:
        """Call every callback's on_train_end."""
        for callback in self._callbacks:
            callback.on_train_end()
