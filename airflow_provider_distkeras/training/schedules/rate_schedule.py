"""Runs on executors. The learning rate of the user's network as a function of the run's global step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.params import schedules
from airflow_provider_distkeras.training.schedules import curves
from airflow_provider_distkeras.training.schedules.curves import Curve, Values

if TYPE_CHECKING:
    import keras

_BLOCK = 1024


@dataclass(frozen=True)
class RateSchedule:
    """The learning rate that the user set, and how it moves; as plain values.

    The global step is the number of the user's batches that all workers together have taken.

    Attributes:
        rate: the user's learning rate.
        decay: rate / (1 + decay * step), where there is no `config`.
        config: a checked `lr_schedule`; None for `decay`.
        share: the share of a user's batch that a step of a worker takes.
    """

    rate: float
    decay: float = 0.0
    config: dict[str, Any] | None = None
    share: float = 1.0

    @classmethod
    def of(cls, options: dict[str, Any], share: float = 1.0) -> RateSchedule:
        """Return the schedule that hyper-parameters set.

        Args:
            options: `learning_rate`, `lr_decay` and `lr_schedule`, among others.
            share: the share of a user's batch that a step of a worker takes.
        """
        config, rate = options.get("lr_schedule"), options["learning_rate"]
        if config is None:
            return cls(rate, options["lr_decay"], share=share)
        config = {"name": config} if isinstance(config, str) else config
        if "name" in config:
            config = schedules.defaults(config)
            rate = schedules.highest_rate(config) or rate
        return cls(rate, config=config, share=share)

    def check(self) -> None:
        """Raise SpecError if the schedule is of a class that is not registered with Keras."""
        if self.config and "name" not in self.config:
            _own_schedule(self.config)

    @property
    def is_constant(self) -> bool:
        """Whether the rate never moves."""
        return self.config is None and not self.decay

    def table(self, rows: int, num_epoch: int, batch_size: int) -> RateTable:
        """Return the rates of a run.

        Args:
            rows: the rows of all workers.
            num_epoch: passes over them.
            batch_size: rows per step of a worker.
        """
        total = num_epoch * math.ceil(rows * self.share / batch_size - 1e-9)
        return RateTable(self._curve(total), self.share)

    def _curve(self, total: int) -> Curve:
        if self.config is None:
            return lambda steps: self.rate / (1.0 + self.decay * steps)
        if self.config.get("name") in schedules.WHOLE_FIT:
            return curves.whole_fit(self.config, self.rate, total)
        if "name" in self.config:
            return curves.keras_schedule(self.config, self.rate)
        return _OwnCurve(_own_schedule(self.config))


class RateTable:
    """The user's learning rates, computed in blocks.

    Args:
        curve: the rate by the user's steps.
        share: the share of a user's batch that a step of a worker takes.
    """

    def __init__(self, curve: Curve, share: float) -> None:
        self._curve = curve
        self._share = share
        self._start, self._rates = 0, np.empty(0)

    def rates(self, steps: NDArray[Any]) -> Values:
        """Return the user's learning rate at steps of workers, (n,); they rise."""
        batches = (steps * self._share + 1e-9).astype(np.int64)  # so that a whole batch is none less by a rounding error
        first, last = int(batches[0]), int(batches[-1])
        if not self._start <= first <= last < self._start + len(self._rates):
            self._start = first // _BLOCK * _BLOCK
            blocks = (last - self._start) // _BLOCK + 1
            self._rates = np.asarray(self._curve(np.arange(self._start, self._start + blocks * _BLOCK, dtype=float)))
        return self._rates[batches - self._start]


class _OwnCurve:
    """The rates of a schedule of the user's own, by all steps at once if it takes them so, else one by one."""

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule) -> None:
        self._schedule = schedule
        self._takes_arrays = True

    def __call__(self, steps: Values) -> Values:
        if self._takes_arrays:
            try:
                rates = self._rates(steps.astype(np.int32))
                edges = [0, len(steps) // 2, -1]
                self._takes_arrays = rates.shape == steps.shape and np.allclose(rates[edges], self._one_by_one(steps[edges]))
            except Exception:  # each backend has its own errors for a condition on several values
                self._takes_arrays = False
        return rates if self._takes_arrays else self._one_by_one(steps)

    def _one_by_one(self, steps: Values) -> Values:
        return np.array([self._rates(np.int32(step)) for step in steps], float)

    def _rates(self, steps: Any) -> Values:
        import keras

        return np.asarray(keras.ops.convert_to_numpy(self._schedule(keras.ops.convert_to_tensor(steps))), float)


def _own_schedule(config: dict[str, Any]) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return a schedule of the user's own. Raise SpecError unless its class is registered with Keras."""
    import keras

    name = config["registered_name"]
    registered: Any = keras.saving.get_registered_object(name)
    base = keras.optimizers.schedules.LearningRateSchedule
    if base not in getattr(registered, "__mro__", ()):
        raise SpecError(
            f"lr_schedule: Keras has no learning-rate schedule registered as {name!r}. Decorate its class with "
            "keras.saving.register_keras_serializable, and name its module in custom_objects."
        )
    return registered.from_config(config.get("config") or {})
