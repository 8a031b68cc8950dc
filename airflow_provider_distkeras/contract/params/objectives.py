"""What a network is trained for and judged by: its outputs' losses and tasks, and what goes together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.params.losses import LOSSES, Loss, as_text, parts, task_of

DEFAULT_LOSS = "mse"


def losses(hyperparameters: dict[str, Any]) -> list[Loss]:
    """Return the losses, one per output."""
    loss = hyperparameters.get("loss") or DEFAULT_LOSS
    return loss if isinstance(loss, list) else [loss]


def tasks(hyperparameters: dict[str, Any], outputs: int = 1) -> list[str | None]:
    """Return the tasks that are said, one per output; None where none is.

    Args:
        hyperparameters: `loss` and `task`, among others.
        outputs: the number of outputs, as far as it is known.

    Raises:
        SpecError: there are several tasks, but not one per output.
    """
    task = hyperparameters.get("task")
    count = max(outputs, len(losses(hyperparameters)))
    if not isinstance(task, list):
        return [task] * count
    if count > 1 and len(task) != count:
        raise SpecError(f"task: expected one, or {count}, one per output, received {task!r}.")
    return task


def main_task(hyperparameters: dict[str, Any]) -> str:
    """Return the task of the first output, which models are judged by. Raises SpecError as `losses.task_of` does."""
    return task_of(losses(hyperparameters)[0], tasks(hyperparameters)[0])


def check_outputs(loss: Loss, task: str, units: int, labels: int | None = 1) -> None:
    """Raise SpecError unless a network of `units` outputs can be trained with a loss for a task.

    Args:
        loss: the loss.
        task: the task.
        units: the number of outputs.
        labels: labels per row; None if that is unknown yet.
    """
    name, _ = parts(loss)
    own = name not in LOSSES
    if task == "regression" and (own or name == "ctc"):
        return
    if task == "binary" and (labels or 1) > 1:
        raise SpecError(f"task: 'binary' is for one label, a row has {labels}; set task='multilabel'.")
    if task == "multilabel" or (labels or 1) > 1:
        if labels is not None and labels != units:
            raise SpecError(f"A row has {labels} labels, the network {units} outputs (loss {name}); expected as many of each.")
        return
    if task == "binary" and units != 1 and not (own and units == 2):
        raise SpecError(
            f"{name} needs 1 output, the network has {units}; for classes use categorical_crossentropy, for several labels "
            "set task='multilabel'."
        )
    if task == "multiclass" and units < 2:
        raise SpecError(f"{name} needs an output per class, the network has {units}; for two classes use binary_crossentropy.")
    if task == "regression" and labels is not None and units != 1:
        raise SpecError(f"A regression on one label needs 1 output, the network has {units} (loss {name}).")


def check_judge(evaluator: str, output_tasks: Sequence[str], loss: str) -> None:
    """Raise SpecError unless an evaluator judges outputs of these tasks: several labels together, if there are several.

    Args:
        evaluator: the evaluator.
        output_tasks: the task of each output.
        loss: what they are trained for, for the message.
    """
    valid: tuple[str, ...] = ("binary", "multiclass")
    if {*output_tasks} == {"regression"}:
        valid = ("regression",)
    elif len(output_tasks) > 1 or "multilabel" in output_tasks:
        valid = ("binary",) if {*output_tasks} <= {"binary", "multilabel"} else ()
    if not valid:
        raise SpecError(
            f"evaluator: no evaluator judges outputs of different kinds together ({', '.join(output_tasks)}), received "
            f"{evaluator!r}. Set metric to one of your own, 'package.module:name', and leave metrics of the evaluator out."
        )
    if evaluator not in valid:
        raise SpecError(f"evaluator: the loss {loss} needs {' or '.join(map(repr, valid))}, received {evaluator!r}.")


def check_evaluator(evaluator: str, hyperparameters: dict[str, Any]) -> None:
    """Raise SpecError unless an evaluator fits the predictions of a network with these hyper-parameters."""
    per_output, requested = losses(hyperparameters), tasks(hyperparameters)
    per_output = per_output * len(requested) if len(per_output) == 1 else per_output
    output_tasks = [task_of(loss, task) for loss, task in zip(per_output, requested, strict=True)]
    check_judge(evaluator, output_tasks, ", ".join(repr(as_text(loss)) for loss in losses(hyperparameters)))
    dims = hyperparameters.get("layer_dims")
    if evaluator == "binary" and dims is not None and dims[-1] > 2 and output_tasks != ["multilabel"]:
        raise SpecError(f"evaluator: 'binary' judges two classes, the network has {dims[-1]} outputs; use 'multiclass'.")


def is_classification(task: str) -> bool:
    """Return whether a model of this task predicts classes."""
    return task in ("binary", "multiclass")
