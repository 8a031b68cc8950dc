"""Losses: Keras' and our own by name, with their arguments, and those of the user's by import path; and the task each is for.

A loss is a text, its name, or a dict of its name and its arguments, such as {"name": "quantile", "q": 0.9}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError, unknown_name
from airflow_provider_distkeras.contract.fields import (
    Check,
    boolean,
    check_names,
    is_import_path,
    json_value,
    mapping_of,
    number,
    text,
)

#: What a network's output is: a number (or several), one of two classes, one of some classes, or several yes or no.
TASKS = ("regression", "binary", "multiclass", "multilabel")
_REGRESSION, _BINARY, _MULTICLASS, _MULTILABEL = ((task,) for task in TASKS)

Loss = str | dict[str, Any]


@dataclass(frozen=True)
class LossKind:
    """What there is to know of a loss without Keras.

    Attributes:
        tasks: those it is for; the first is meant if none is said.
        arguments: the checks of its arguments.
        required: the arguments that must be given.
        positive: whether it compares a mean above 0 with labels of at least 0.
        unit_free: whether it means the same whatever the labels' unit, or nearly.
        from_zero: whether its meaning comes from the labels' own zero and sign.
    """

    tasks: tuple[str, ...]
    arguments: Mapping[str, Check] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    positive: bool = False
    unit_free: bool = False
    from_zero: bool = False


def _between(low: float, high: float) -> Check:
    """Return the check of a number above `low` and below `high`."""

    def check(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low < value < high:
            raise SpecError(f"{name}: expected a number above {low:g} and below {high:g}, received {value!r}.")
        return float(value)

    return check


_SMOOTHING: dict[str, Check] = {"label_smoothing": number(0.0, 1.0)}
_FOCAL: dict[str, Check] = {"alpha": number(0.0), "gamma": number(0.0), **_SMOOTHING}
_REGION: dict[str, Check] = {"alpha": number(0.0), "beta": number(0.0)}

#: Keras' losses but circle, and our own: quantile and tweedie. A test compares them with Keras' list.
LOSSES: dict[str, LossKind] = {
    **dict.fromkeys(
        ("mse", "mean_squared_error", "mae", "mean_absolute_error", "log_cosh"), LossKind(_REGRESSION, unit_free=True)
    ),
    **dict.fromkeys(
        ("msle", "mean_squared_logarithmic_error", "mape", "mean_absolute_percentage_error"),
        LossKind(_REGRESSION, from_zero=True),
    ),
    "huber": LossKind(_REGRESSION, {"delta": number(positive=True)}, unit_free=True),
    "poisson": LossKind(_REGRESSION, positive=True, from_zero=True),
    "quantile": LossKind(_REGRESSION, {"q": _between(0.0, 1.0)}, required=("q",), unit_free=True),
    "tweedie": LossKind(_REGRESSION, {"power": _between(1.0, 2.0)}, positive=True, from_zero=True),
    "cosine_similarity": LossKind(_REGRESSION),
    "ctc": LossKind(_REGRESSION),
    "binary_crossentropy": LossKind((*_BINARY, *_MULTILABEL), _SMOOTHING),
    "binary_focal_crossentropy": LossKind((*_BINARY, *_MULTILABEL), {**_FOCAL, "apply_class_balancing": boolean}),
    "hinge": LossKind((*_BINARY, *_MULTILABEL)),
    "squared_hinge": LossKind((*_BINARY, *_MULTILABEL)),
    "dice": LossKind(_MULTILABEL),
    "tversky": LossKind(_MULTILABEL, _REGION),
    "categorical_crossentropy": LossKind(_MULTICLASS, _SMOOTHING),
    "sparse_categorical_crossentropy": LossKind(_MULTICLASS),
    "categorical_focal_crossentropy": LossKind(_MULTICLASS, _FOCAL),
    "categorical_generalized_cross_entropy": LossKind(_MULTICLASS, {"q": _between(0.0, 1.0)}, required=("q",)),
    "categorical_hinge": LossKind(_MULTICLASS),
    "kl_divergence": LossKind(_MULTICLASS),
}  # fmt: skip
#: Names of Keras' that are not another spelling of those above.
_ALIASES = {"bce": "binary_crossentropy", "kld": "kl_divergence", "kldivergence": "kl_divergence"}


def loss_field(name: str, value: Any) -> Loss:
    """Check for a loss, by a name of `LOSSES`, as Keras spells it, or by an import path; without arguments it is a text."""
    config = {"name": value} if isinstance(value, str) else mapping_of(json_value)(name, value)
    loss = text(f"{name}['name']", config.pop("name", None))
    if not is_import_path(loss):
        loss = _known(name, loss)
        kind = LOSSES[loss]
        check_names(f"argument of the loss {loss}", config, kind.arguments)
        config = {key: kind.arguments[key](f"{name}[{key!r}]", item) for key, item in config.items()}
        for argument in kind.required:
            if argument not in config:
                example = json.dumps({"name": loss, argument: 0.9})
                raise SpecError(f"{name}: the loss {loss!r} needs {argument}, such as {example}; received {value!r}.")
    return {"name": loss, **config} if config else loss


def _known(name: str, loss: str) -> str:
    """Return the name in LOSSES of a loss that is spelt like it or like Keras' class. Raise SpecError if there is none."""
    spelt = loss if loss in LOSSES else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", loss).lower()
    spelt = _ALIASES.get(spelt, spelt)
    if spelt == "circle":
        raise SpecError(
            f"{name}: the loss 'circle' compares the rows of a batch; expected one that gives each row a loss of its own."
        )
    if spelt not in LOSSES:
        raise SpecError(f"{name}: {unknown_name('loss', loss, LOSSES)} A loss of your own is 'package.module:name'.")
    return spelt


def as_text(loss: Loss) -> str:
    """Return a loss as a text that `parts` reads."""
    return loss if isinstance(loss, str) else json.dumps(loss, sort_keys=True)


def parts(loss: Loss) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments of a loss, or of its text."""
    if isinstance(loss, str) and not loss.startswith("{"):
        return loss, {}
    config: dict[str, Any] = json.loads(loss) if isinstance(loss, str) else loss
    return config["name"], {name: value for name, value in config.items() if name != "name"}


def is_positive(loss: Loss) -> bool:
    """Return whether a loss compares a mean above 0 with labels of at least 0."""
    kind = kind_of(loss)
    return kind is not None and kind.positive


def kind_of(loss: Loss) -> LossKind | None:
    """Return what there is to know of a loss; None for one of the user's own."""
    return LOSSES.get(parts(loss)[0])


def task_of(loss: Loss, task: str | None = None, labels: int = 1) -> str:
    """Return the task of an output.

    Args:
        loss: what it is trained for.
        task: its task, if that is said.
        labels: labels per row.

    Raises:
        SpecError: the loss is for another task, or is the user's own and no task is said.
    """
    name, _ = parts(loss)
    if name not in LOSSES:
        if task is None:
            raise SpecError(
                f"task: the loss {name!r} is your own, so nothing says what the network predicts; set task to one of "
                f"{', '.join(TASKS)}."
            )
        return task
    tasks = LOSSES[name].tasks
    if task is None:
        return "multilabel" if labels > 1 and "multilabel" in tasks else tasks[0]
    if task not in tasks:
        raise SpecError(
            f"task: the loss {name!r} is for {' or '.join(tasks)}, received {task!r}. Set one of them, or another loss."
        )
    return task
