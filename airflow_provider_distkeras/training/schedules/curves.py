"""Runs on executors. Learning rates by step, as pure NumPy: those over a whole fit, and those of `keras.optimizers.schedules`.

Keras' own take milliseconds a step, more than the step itself. Every function takes steps, (n,), and returns rates, (n,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Curve = Callable[[Values], Values]


def whole_fit(config: dict[str, Any], rate: float, total: int) -> Curve:
    """Return a schedule of `contract.params.schedules.WHOLE_FIT`.

    Args:
        config: its name and all its arguments.
        rate: the rate that it begins with, or rises to.
        total: the steps of the fit.
    """
    warmup = round(config.get("warmup_share", 0.0) * total)
    falls = "cosine" in config["name"]

    def curve(steps: Values) -> Values:
        rates = _cosine((steps - warmup) / max(total - warmup, 1), config["alpha"]) if falls else np.ones(len(steps))
        return rate * np.where(steps < warmup, steps / max(warmup, 1), rates)

    return curve


def keras_schedule(config: dict[str, Any], rate: float) -> Curve:
    """Return a schedule of `contract.params.schedules.KERAS_SCHEDULES`.

    Args:
        config: its name and all its arguments.
        rate: the rate at step 0, where the arguments have none.
    """
    arguments = {name: value for name, value in config.items() if name != "name"}
    if arguments.get("initial_learning_rate", 0.0) is None:
        arguments["initial_learning_rate"] = rate
    function = _FUNCTIONS[config["name"]]
    return lambda steps: function(steps, **arguments)


def _cosine(progress: Values, alpha: float) -> Values:
    """Return the factor of a rate that falls from 1 to `alpha` while the progress goes from 0 to 1."""
    return (1.0 - alpha) * 0.5 * (1.0 + np.cos(np.pi * np.clip(progress, 0.0, 1.0))) + alpha


def _exponential(steps: Values, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool) -> Values:
    decays = np.floor(steps / decay_steps) if staircase else steps / decay_steps
    return np.asarray(initial_learning_rate * decay_rate**decays)


def _inverse_time(steps: Values, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool) -> Values:
    decays = np.floor(steps / decay_steps) if staircase else steps / decay_steps
    return np.asarray(initial_learning_rate / (1.0 + decay_rate * decays))


def _piecewise_constant(steps: Values, boundaries: list[float], values: list[float]) -> Values:
    return np.asarray(values, float)[np.searchsorted(boundaries, steps)]


def _polynomial(
    steps: Values, initial_learning_rate: float, decay_steps: float, end_learning_rate: float, power: float, cycle: bool
) -> Values:
    length = decay_steps * np.maximum(np.ceil(steps / decay_steps), 1.0) if cycle else decay_steps
    left = 1.0 - np.minimum(steps / length, 1.0)
    return np.asarray((initial_learning_rate - end_learning_rate) * left**power + end_learning_rate)


def _cosine_decay(
    steps: Values,
    initial_learning_rate: float,
    decay_steps: float,
    alpha: float,
    warmup_target: float | None,
    warmup_steps: int,
) -> Values:
    if warmup_target is None:
        return initial_learning_rate * _cosine(steps / decay_steps, alpha)
    rising = initial_learning_rate + (warmup_target - initial_learning_rate) * steps / max(warmup_steps, 1)
    return np.where(steps < warmup_steps, rising, warmup_target * _cosine((steps - warmup_steps) / decay_steps, alpha))


def _cosine_restarts(
    steps: Values, initial_learning_rate: float, first_decay_steps: float, t_mul: float, m_mul: float, alpha: float
) -> Values:
    progress = steps / first_decay_steps
    if t_mul == 1.0:
        restarts = np.floor(progress)
        progress = progress - restarts
    else:  # the n-th decay begins at the sum of a geometric series; a rounding error must not put a step before its restart
        restarts = np.floor(np.log1p(progress * (t_mul - 1.0)) / np.log(t_mul) + 1e-9)
        progress = (progress - (t_mul**restarts - 1.0) / (t_mul - 1.0)) / t_mul**restarts
    peak = 0.5 * m_mul**restarts * (1.0 + np.cos(np.pi * progress))
    return np.asarray(initial_learning_rate * ((1.0 - alpha) * peak + alpha))


_FUNCTIONS: dict[str, Callable[..., Values]] = {
    "ExponentialDecay": _exponential,
    "InverseTimeDecay": _inverse_time,
    "PiecewiseConstantDecay": _piecewise_constant,
    "PolynomialDecay": _polynomial,
    "CosineDecay": _cosine_decay,
    "CosineDecayRestarts": _cosine_restarts,
}
