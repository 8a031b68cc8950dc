"""Transforms of labels: which there are, which losses and networks they go with, and which one a fit takes by default."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.params.losses import Loss, kind_of, parts

STANDARDIZE, LOG1P, NONE = "standardize", "log1p", "none"
LABEL_TRANSFORMS = (STANDARDIZE, LOG1P, NONE)


def transforms_of(
    transform: str | None, losses: Sequence[Loss], tasks: Sequence[str], linear: Sequence[bool], *, scaled: bool
) -> tuple[str, ...]:
    """Return the transform of each output's labels.

    Args:
        transform: the param `label_transform`; None if it is not set.
        losses: one per output.
        tasks: one per output.
        linear: whether an output is that of a layer without an activation, one per output.
        scaled: whether preprocessing standardized features, by `scaling`.
    """
    if transform is None:
        kinds = [kind_of(loss) for loss in losses]
        fits = [scaled and kind and kind.unit_free and unbounded for kind, unbounded in zip(kinds, linear, strict=True)]
        return tuple(STANDARDIZE if fit else NONE for fit in fits)
    return tuple(transform if task == "regression" else NONE for task in tasks)


def check_label_transform(
    transform: str | None, losses: Sequence[Loss], tasks: Sequence[str], activation: str | None = None
) -> None:
    """Raise SpecError if a transform that is set does not go with the losses, or with the activation of an output.

    Args:
        transform: the param `label_transform`; None if it is not set.
        losses: of the outputs.
        tasks: of the outputs.
        activation: the activation of an output; None for one that is not known.
    """
    if transform in (None, NONE):
        return
    leave_out = "leave it out, or set label_transform='none'"
    if "regression" not in tasks:
        raise SpecError(f"label_transform: {transform!r} is for numbers, but {parts(losses[0])[0]!r} takes classes: {leave_out}.")
    raw = next((loss for loss in losses if (kind := kind_of(loss)) and kind.from_zero), None)
    if raw is not None:
        raise SpecError(
            f"label_transform: the loss {parts(raw)[0]!r} depends on the labels' own zero, which {transform!r} moves: "
            f"{leave_out}, or take another loss, such as 'mse'."
        )
    if activation not in (None, "linear"):
        raise SpecError(
            f"label_transform: {transform!r} needs an output that may have either sign, and the activation of the output is "
            f"{activation!r}: leave that activation out, or set label_transform='none'."
        )
