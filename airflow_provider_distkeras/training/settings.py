"""From the settings of one network to those of the workers that train it together.

With n workers that each take 1 / n of a batch, a round of all of them sees as many rows as a step of `keras.Model.fit` does, and
an epoch has as many rounds as `fit` has steps. Two corrections are left. The gradient of a smaller batch is noisier: SGD takes a
rate in proportion to the batch (P. Goyal et al., arXiv 1706.02677), an optimizer that divides by the gradient's size, such as
Adam, one in proportion to the batch's square root (S. Malladi et al., NeurIPS 2022, arXiv 2205.10287). And a trainer moves the
server's weights by a share of a worker's window, its gain, by which the rate is divided. Workers of a trainer that averages
windows take several steps between two exchanges where the optimizer bounds its steps: on four kinds of data, for 2 to 8 workers,
that cost less than 0.01 of r2 at rates up to three times the best, where windows of SGD diverged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_distkeras.training.schedules.rate_schedule import RateSchedule
from airflow_provider_distkeras.training.trainers import EnsembleTrainer, Trainer

#: Optimizers whose step is proportional to the gradient.
_LINEAR = ("sgd",)


@dataclass(frozen=True)
class WorkerSettings:
    """What every worker takes.

    Attributes:
        trainer: the trainer, with the rows per step of a worker and its steps between two commits.
        optimizer: the worker's optimizer, by name or as a dict.
        learning_rate: its rate where the user's is `schedule.rate`.
        schedule: the user's learning rate, and how it moves by the steps of all workers.
        reach: how far an epoch moves the weights, about, as a multiple of what one of `keras.Model.fit` does at the user's rate.
        description: what this means, in a line; None for workers that share nothing.
    """

    trainer: Trainer
    optimizer: str | dict[str, Any]
    learning_rate: float
    schedule: RateSchedule
    reach: float
    description: str | None

    @classmethod
    def raw(cls, trainer: Trainer, options: dict[str, Any]) -> WorkerSettings:
        """Return what the user set: the published algorithm's own settings, per worker.

        Args:
            trainer: the trainer with the user's parameters.
            options: `optimizer`, `learning_rate`, `lr_decay` and `lr_schedule`, among others.
        """
        optimizer, schedule = trainer.optimizer(options["optimizer"]), RateSchedule.of(options)
        reach = trainer.gain(options["optimizer"])
        alike = schedule.rate * reach
        meaning = f"an epoch moves the weights about as far as one of keras.Model.fit with such batches does at {alike:.3g}"
        return cls(trainer, optimizer, schedule.rate, schedule, reach, _describe(trainer, schedule.rate, meaning))

    @classmethod
    def derived(cls, trainer: Trainer, options: dict[str, Any]) -> WorkerSettings:
        """Return the settings with which the workers together train as `keras.Model.fit` does with the user's.

        Args:
            trainer: the trainer with the user's parameters.
            options: `optimizer`, `learning_rate`, `lr_decay` and `lr_schedule`, among others.
        """
        requested = options["optimizer"]
        is_linear = (requested if isinstance(requested, str) else requested["name"]).lower() in _LINEAR
        workers = trainer.divided(has_bounded_steps=not is_linear)
        optimizer = workers.optimizer(requested)
        share = workers.batch_size / trainer.batch_size  # of a user's batch that a worker takes
        noise = share if is_linear else share**0.5
        if isinstance(optimizer, dict) and (decay := optimizer.get("weight_decay")):
            optimizer = {**optimizer, "weight_decay": decay * share / noise}
        schedule = RateSchedule.of(options, share)
        rate = schedule.rate * noise / workers.gain(requested)
        origin = f"derived from batches of {trainer.batch_size} rows and a learning rate of {schedule.rate:g}"
        return cls(workers, optimizer, rate, schedule, 1.0, _describe(workers, rate, origin))


def _describe(trainer: Trainer, rate: float, meaning: str) -> str | None:
    """Return the workers' settings in a line, followed by what they mean; None for workers that share nothing."""
    if trainer.num_workers == 1 or isinstance(trainer, EnsembleTrainer):
        return None
    window = trainer.communication_window
    steps = "every epoch" if window is None else "every step" if window == 1 else f"every {window} steps"
    return (
        f"{type(trainer).__name__}: {trainer.num_workers} workers take batches of {trainer.batch_size} rows, commit after "
        f"{steps}, and have a learning rate of {rate:.3g}; {meaning}."
    )
