"""The trainers a user picks by name: which update rule they follow, and the parameters they take.

DistKeras(trainers.ADAG, {"batch_size": 256, "communication_window": 3, "num_epoch": 10, "num_workers": 8})
"""

from __future__ import annotations

from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError, unknown_name
from airflow_provider_distkeras.contract.fields import check_names
from airflow_provider_distkeras.contract.params import trainer_fields
from airflow_provider_distkeras.training import algorithms

#: Steps between two commits of a trainer that has nobody to talk to: long enough that its commits cost nothing.
_ALONE = 32


class Trainer:
    """Base of the trainers: a name, an update rule, and checked parameters.

    Args:
        **parameters: the trainer's parameters; those left out take its defaults.

    Raises:
        SpecError: a parameter the trainer does not have, or a value of a wrong type or range.
    """

    def __init__(self, **parameters: Any) -> None:
        fields = trainer_fields(type(self).__name__)
        check_names(f"parameter of {type(self).__name__}", parameters, fields)
        self.parameters = {name: field.cast(name, parameters.get(name, field.default)) for name, field in fields.items()}

    def rule(self, trainable: int, learning_rate: float) -> algorithms.UpdateRule:
        """The update rule for a network of `trainable` trainable weights, at a learning rate."""
        raise NotImplementedError

    def optimizer(self, said: str | dict[str, Any]) -> str | dict[str, Any]:
        """The workers' optimizer, given the one asked for."""
        return said

    @property
    def batch_size(self) -> int:
        """Rows per step."""
        return int(self.parameters["batch_size"])

    @property
    def num_epoch(self) -> int:
        """Passes over the data."""
        return int(self.parameters["num_epoch"])

    @property
    def num_workers(self) -> int:
        """Spark tasks that train."""
        return int(self.parameters.get("num_workers", 1))

    @property
    def communication_window(self) -> int | None:
        """Steps between two commits; None for an epoch."""
        return int(self.parameters.get("communication_window", _ALONE))

    @property
    def deterministic(self) -> bool:
        """Whether asynchronous workers take turns."""
        return bool(self.parameters.get("deterministic", False))


class SingleTrainer(Trainer):
    """Sequential training in one task: the reference the distributed trainers are held to."""

    def rule(self, trainable: int, learning_rate: float) -> algorithms.UpdateRule:
        return algorithms.SequentialRule(trainable, 1)


class EnsembleTrainer(Trainer):
    """Trains `num_ensembles` networks apart, each on its own part of the rows; the model's output is their mean.

    A member sees 1 / num_ensembles of the rows: on data that one network has not learned out yet, many members stay behind
    one network trained on all of them (8 of them by 0.03 of r2 on 14,000 rows, 4 by nothing). Give each enough rows.
    """

    def rule(self, trainable: int, learning_rate: float) -> algorithms.UpdateRule:
        return algorithms.EnsembleRule(trainable, self.num_workers)

    @property
    def num_workers(self) -> int:
        return int(self.parameters["num_ensembles"])


class AveragingTrainer(Trainer):
    """Averages the workers' weights after every epoch, each by its rows (see `algorithms.Synchronous`).

    Averages move less than each worker does: with more than a few, double the learning rate.
    """

    def rule(self, trainable: int, learning_rate: float) -> algorithms.UpdateRule:
        return algorithms.SynchronousRule(trainable, self.num_workers)

    @property
    def communication_window(self) -> int | None:
        return None


class LocalSGD(Trainer):
    """Synchronous training: averages the workers' weights every `communication_window` steps, with optional outer momentum.

    For clusters of equal machines; every worker waits for the slowest. A good start are windows of 8 steps at twice the learning
    rate of one worker. See `algorithms.Synchronous`.
    """

    def rule(self, trainable: int, learning_rate: float) -> algorithms.UpdateRule:
        outer = self.parameters["outer_learning_rate"], self.parameters["outer_momentum"]
        return algorithms.SynchronousRule(trainable, self.num_workers, *outer)


class DOWNPOUR(Trainer):
    """Asynchronous training that adds up what every worker learned (see `algorithms.DOWNPOUR`).

    Its center moves num_workers times as fast as one worker's: keep the window at 1 to 5 steps and multiply the learning rate by
    2 / num_workers.
    """

    def rule(self, trainable: int, learning_rate: float) -> algorithms.UpdateRule:
        return algorithms.DownpourRule(trainable, self.num_workers)


class ADAG(Trainer):
    """Asynchronous training with accumulated gradient normalization (see `algorithms.ADAG`).

    A window moves the center by its mean step: multiply the learning rate by up to communication_window / num_workers.
    """

    def rule(self, trainable: int, learning_rate: float) -> algorithms.UpdateRule:
        return algorithms.AdagRule(trainable, self.num_workers)


class DynSGD(Trainer):
    """Asynchronous training that divides an update by how many others overtook it (see `algorithms.DynSGD`).

    For workers of unequal speed. A good start are windows of 5 steps and one worker's learning rate. Give every worker a core of
    its own: where 8 shared 2 cores, one ran ahead while the others' updates grew stale and counted for nothing, at a loss of 0.02
    to 0.1 of r2; taking turns, they lost nothing.
    """

    def rule(self, trainable: int, learning_rate: float) -> algorithms.UpdateRule:
        return algorithms.DynSGDRule(trainable, self.num_workers)


class Experimental(Trainer):
    """ADAG that holds back where the center has moved since (see `algorithms.Experimental`); to be set as ADAG."""

    def rule(self, trainable: int, learning_rate: float) -> algorithms.UpdateRule:
        return algorithms.ExperimentalRule(trainable, self.num_workers, learning_rate)


class AEASGD(Trainer):
    """Asynchronous elastic averaging: workers explore on their own and are held to the center (see `algorithms.AEASGD`).

    Windows of 8 to 32 steps and one worker's learning rate are a good start; leave `rho` out.
    """

    def rule(self, trainable: int, learning_rate: float) -> algorithms.UpdateRule:
        rho = self.parameters["rho"]
        best = 0.9 / self.num_workers
        alpha = best if rho is None else rho * learning_rate
        if alpha > 1:
            raise SpecError(
                f"rho: rho * learning_rate is {rho:g} * {learning_rate:g} = {alpha:g}; expected at most 1, better about "
                f"{best:g} (0.9 / num_workers). Set rho to {best / learning_rate:g}, or leave it out."
            )
        return algorithms.AEASGDRule(trainable, self.num_workers, alpha)


class EAMSGD(AEASGD):
    """AEASGD whose workers take steps of SGD with Nesterov's momentum.

    A good start are windows of 4 steps at a rate of 0.02, or 0.01 for batches below 16 rows.

    v <- momentum v - rate g(x + momentum v), x <- x + v (arXiv 1412.6651, equation 5), which Keras' SGD with nesterov=True works
    out for the point it looks ahead to, x + momentum v; that is the point which the elastic force acts on.
    """

    def optimizer(self, said: str | dict[str, Any]) -> str | dict[str, Any]:
        if said != "sgd":
            raise SpecError(f"optimizer: EAMSGD brings its own, SGD with Nesterov's momentum; received {said!r}. Leave it out.")
        return {"name": "sgd", "momentum": self.parameters["momentum"], "nesterov": self.parameters["momentum"] > 0}


_TRAINERS: dict[str, type[Trainer]] = {
    trainer.__name__: trainer
    for trainer in (
        SingleTrainer, AveragingTrainer, EnsembleTrainer, DOWNPOUR, ADAG, AEASGD, EAMSGD, DynSGD, Experimental, LocalSGD,
    )
}  # fmt: skip


def get(name: str) -> type[Trainer]:
    """The trainer of a name. Raises SpecError, with the nearest name, if there is none."""
    if name not in _TRAINERS:
        raise unknown_name("trainer", name, _TRAINERS)
    return _TRAINERS[name]
