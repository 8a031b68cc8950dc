"""Runs on executors. Losses as functions of labels and outputs that give a value per row: Keras', our own, and the user's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import is_import_path
from airflow_provider_distkeras.contract.params import losses
from airflow_provider_distkeras.spark.imports import import_object

#: From labels and outputs, (rows, ...) each, to the loss of every row, (rows, ...).
RowLoss = Callable[[Any, Any], Any]

#: Losses whose labels are class numbers, (rows,).
_OF_CLASS_NUMBERS = ("sparse_categorical_crossentropy", "categorical_generalized_cross_entropy")
#: The least mean that the Tweedie deviance is taken of.
_EPSILON = 1e-7


def build(loss: str, classes: int | None = None) -> RowLoss:
    """Return a loss as a function of (labels, outputs).

    Args:
        loss: its text, see `contract.params.losses.as_text`.
        classes: the number of classes if labels are class numbers, (rows,), else None.

    Raises:
        SpecError: it cannot be imported, or is no loss.
    """
    name, arguments = losses.parts(loss)
    if is_import_path(name):
        own = _imported_loss(name, arguments)
        return own if classes is None else lambda labels, outputs: own(labels[:, None], outputs)
    if name == "categorical_crossentropy" and not arguments and classes is not None:
        name = "sparse_categorical_crossentropy"
    function = _named(name, arguments)
    if (name in _OF_CLASS_NUMBERS) == (classes is not None):
        return function
    return _of_one_hot(function) if classes is None else _of_class_numbers(function, classes)


def keras_loss(loss: str) -> Any:
    """Return a loss of Keras' as `keras.Model.compile` takes it and saves it; None for one that is not Keras'."""
    import keras

    name, arguments = losses.parts(loss)
    if is_import_path(name) or name in _OWN:
        return None
    return getattr(keras.losses, "".join(map(str.capitalize, name.split("_"))))(**arguments) if arguments else name


def _named(name: str, arguments: dict[str, Any]) -> RowLoss:
    import keras

    if name in ("dice", "tversky"):  # over all of a batch, if no axes are said
        region = getattr(keras.losses, name)
        return lambda labels, outputs: region(labels, outputs, axis=tuple(range(1, len(outputs.shape))), **arguments)
    function = _OWN.get(name) or getattr(keras.losses, name, None) or keras.losses.get(name)
    return partial(function, **arguments)


def _of_class_numbers(loss: RowLoss, classes: int) -> RowLoss:
    """Return a loss of one-hot labels as a loss of class numbers, (rows,)."""
    import keras

    return lambda labels, outputs: loss(keras.ops.one_hot(keras.ops.cast(labels, "int32"), classes, dtype="float32"), outputs)


def _of_one_hot(loss: RowLoss) -> RowLoss:
    """Return a loss of class numbers, (rows,), as a loss of one-hot labels."""
    import keras

    return lambda labels, outputs: loss(keras.ops.argmax(labels, axis=-1), outputs)


def _imported_loss(path: str, arguments: dict[str, Any]) -> RowLoss:
    import keras

    loss = imported(path, arguments, "loss", keras.losses.Loss)
    return loss.call if isinstance(loss, keras.losses.Loss) else loss  # `call` does not reduce over the rows


def imported(path: str, arguments: dict[str, Any], param: str, base: type) -> Any:
    """Return the user's function of (labels, outputs), or the instance of `base` that a class or function makes.

    Args:
        path: the import path.
        arguments: those of the function, or of what makes the instance.
        param: the param that the path is of, for messages.
        base: Keras' class.

    Raises:
        SpecError: it cannot be imported, or is neither.
    """
    made = import_object(path, param)
    try:
        if callable(made) and not isinstance(made, base):
            made = partial(made, **arguments) if _takes_labels(made, arguments) else made(**arguments)
        elif arguments:
            raise TypeError(f"it is a {type(made).__name__} already and takes no arguments")
    except (TypeError, ValueError) as error:
        raise SpecError(f"{param}: {path!r} cannot be made with the arguments {arguments!r}: {error}.") from error
    if not callable(made):
        raise SpecError(
            f"{param}: {path!r} gives a {type(made).__name__}, expected a function (y_true, y_pred) or a Keras {base.__name__}."
        )
    return made


def _takes_labels(function: Any, arguments: dict[str, Any]) -> bool:
    """Return whether a function with these arguments waits for labels and outputs, and does not make a loss."""
    if inspect.isclass(function):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    free = [each for each in parameters if each.kind in positional and each.default is each.empty and each.name not in arguments]
    return len(free) == 2


def _quantile(labels: Any, outputs: Any, q: float) -> Any:
    """Return the pinball loss, whose mean is least at the labels' quantile `q`."""
    import keras

    error = labels - outputs
    return keras.ops.mean(keras.ops.maximum(q * error, (q - 1.0) * error), axis=-1)


def _tweedie(labels: Any, outputs: Any, power: float = 1.5) -> Any:
    """Return the Tweedie deviance of a mean above 0, without what does not depend on it (B. Jorgensen, JRSS B 49, 1987)."""
    import keras

    mean = keras.ops.maximum(outputs, _EPSILON)
    deviance = keras.ops.power(mean, 2.0 - power) / (2.0 - power) - labels * keras.ops.power(mean, 1.0 - power) / (1.0 - power)
    return keras.ops.mean(deviance, axis=-1)


_OWN: dict[str, Callable[..., Any]] = {"quantile": _quantile, "tweedie": _tweedie}
