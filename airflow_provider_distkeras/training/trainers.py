"""The trainers: each has a name, parameters, and an update rule of `training.algorithms`.

DistKeras(trainers.ADAG, {"batch_size": 256, "communication_window": 3, "num_epoch": 10, "num_workers": 8})
"""

from __future__ import annotations

from typing import Any, Self

from airflow_provider_distkeras.contract.errors import SpecError, unknown_name
from airflow_provider_distkeras.contract.fields import check_names
from airflow_provider_distkeras.contract.params.trainers import trainer_fields
from airflow_provider_distkeras.training.algorithms import additive, elastic, independent, synchronous
from airflow_provider_distkeras.training.algorithms.rule import UpdateRule

#: Steps between two commits of a trainer that shares its weights with no other worker: enough that commits cost nothing.
_INDEPENDENT_WINDOW = 32
#: Steps, at least, that a worker takes on its own where a mean of windows serves as well as one of steps.
_AVERAGED_WINDOW = 4


class Trainer:
    """Base of the trainers: a name, an update rule, and checked parameters.

    Args:
        **parameters: the trainer's parameters; those left out take the defaults of `contract.params`.

    Attributes:
        parameters: the values of all parameters, by name.
        divided_window: steps between two commits, unless the user sets them, of workers that share out a batch among them; None
            where every worker takes whole batches.

    Raises:
        SpecError: the trainer has no such parameter, or a value has a wrong type or range.
    """

    #: Whether updates that many others have overtaken cost quality.
    suffers_from_staleness = False
    #: Whether the server's weights move by a mean of the workers' windows, and not by their sum.
    averages_windows = False

    def __init__(self, **parameters: Any) -> None:
        fields = trainer_fields(type(self).__name__)
        check_names(f"parameter of {type(self).__name__}", parameters, fields)
        self._given = parameters
        self.divided_window: int | None = None
        self.parameters = {name: field.cast(name, parameters.get(name, field.default)) for name, field in fields.items()}

    def rule(self, trainable: int, learning_rate: float) -> UpdateRule:
        """Return the update rule; one worker that takes whole batches trains as one network does, whatever the trainer.

        Args:
            trainable: the number of the network's trainable weights.
            learning_rate: the workers' learning rate.

        Raises:
            SpecError: the trainer's parameters do not go with the learning rate.
        """
        if self.is_divided and self.num_workers == 1:
            return independent.SequentialRule(trainable, 1)
        return self._rule(trainable, learning_rate)

    def _rule(self, trainable: int, learning_rate: float) -> UpdateRule:
        raise NotImplementedError

    def optimizer(self, requested: str | dict[str, Any]) -> str | dict[str, Any]:
        """Return the workers' optimizer, by name or as a dict.

        Args:
            requested: the optimizer that the user set.
        """
        return requested

    def gain(self, optimizer: str | dict[str, Any]) -> float:
        """Return the share of a worker's window by which the server's weights move, where workers share out a batch.

        Args:
            optimizer: the optimizer that the user set.
        """
        return 1.0

    def divided(self, *, has_bounded_steps: bool) -> Self:
        """Return the trainer whose workers share out a batch of this one's among them, see `training.settings`.

        They commit after every step; but a mean of windows of several steps is as good as one of steps, and exchanges less, where
        an optimizer bounds its steps. Plain SGD at high rates needs every step's mean.

        Args:
            has_bounded_steps: whether the size of the optimizer's steps does not depend on that of the gradient.
        """
        workers = type(self)(**{**self._given, "batch_size": max(1, round(self.batch_size / self.num_workers))})
        window = max(_AVERAGED_WINDOW, self.num_workers) if self.averages_windows and has_bounded_steps else 1
        workers.divided_window = window if self.num_workers > 1 else _INDEPENDENT_WINDOW
        if "communication_window" in self.parameters and "communication_window" not in self._given:
            workers.parameters["communication_window"] = workers.divided_window
        return workers

    @property
    def is_divided(self) -> bool:
        """Whether the workers share out a batch among them.

        None is then a commit ahead of the others: its next step starts from all that they have added, and where several workers
        share a core, none runs away.
        """
        return self.divided_window is not None

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
        return int(self.parameters.get("communication_window", _INDEPENDENT_WINDOW))

    @property
    def deterministic(self) -> bool:
        """Whether asynchronous workers commit in a fixed order."""
        return bool(self.parameters.get("deterministic", False))


class SingleTrainer(Trainer):
    """Sequential training in one task: the reference for the distributed trainers (see `SequentialRule`)."""

    def _rule(self, trainable: int, learning_rate: float) -> UpdateRule:
        return independent.SequentialRule(trainable, 1)


class EnsembleTrainer(Trainer):
    """Independent training of `num_ensembles` networks, each on its own part of the rows; the model's output is their mean.

    A member trains on 1 / num_ensembles of the rows, so each member needs enough of them: on 14,000 rows, 8 members stayed
    behind one network trained on all rows by 0.03 of r2, 4 members by nothing. See `EnsembleRule`.
    """

    def _rule(self, trainable: int, learning_rate: float) -> UpdateRule:
        return independent.EnsembleRule(trainable, self.num_workers)

    def divided(self, *, has_bounded_steps: bool) -> Self:
        """Return the trainer itself: every member trains alone."""
        return self

    @property
    def num_workers(self) -> int:
        """Spark tasks that train: one per member."""
        return int(self.parameters["num_ensembles"])


class AveragingTrainer(Trainer):
    """Synchronous training that averages the workers' weights after every epoch, each weighted by its rows.

    With `settings="raw"`, double the learning rate where there are more than a few workers: an average moves less than each of
    them. See `SynchronousRule`.
    """

    averages_windows = True

    def _rule(self, trainable: int, learning_rate: float) -> UpdateRule:
        return synchronous.SynchronousRule(trainable, self.num_workers)

    def gain(self, optimizer: str | dict[str, Any]) -> float:
        """Return 1 / num_workers; see `Trainer.gain`."""
        return 1.0 / self.num_workers

    @property
    def communication_window(self) -> int | None:
        """None, one commit per epoch, unless the workers share out a batch."""
        return self.divided_window


class LocalSGD(Trainer):
    """Synchronous training that averages the workers' weights every `communication_window` steps, with optional outer momentum.

    It suits clusters of equal machines: every worker waits for the slowest. With `settings="raw"`, start with windows of 8 steps
    at twice the learning rate of one worker. See `SynchronousRule`.
    """

    averages_windows = True

    def _rule(self, trainable: int, learning_rate: float) -> UpdateRule:
        outer = self.parameters["outer_learning_rate"], self.parameters["outer_momentum"]
        return synchronous.SynchronousRule(trainable, self.num_workers, *outer)

    def gain(self, optimizer: str | dict[str, Any]) -> float:
        """Return 1 / num_workers; see `Trainer.gain`."""
        return 1.0 / self.num_workers


class DOWNPOUR(Trainer):
    """Asynchronous training that adds every worker's update to the server weights (see `DownpourRule`).

    The server weights move num_workers times as fast as one worker's: with `settings="raw"`, use windows of 1 to 5 steps and
    multiply the learning rate by 2 / num_workers.
    """

    suffers_from_staleness = True

    def _rule(self, trainable: int, learning_rate: float) -> UpdateRule:
        return additive.DownpourRule(trainable, self.num_workers)


class ADAG(Trainer):
    """Asynchronous training with accumulated gradient normalization (see `AdagRule`).

    A window moves the server weights by its mean step: with `settings="raw"`, multiply the learning rate by up to
    communication_window / num_workers.
    """

    suffers_from_staleness = True
    averages_windows = True

    def _rule(self, trainable: int, learning_rate: float) -> UpdateRule:
        return additive.AdagRule(trainable, self.num_workers)

    def gain(self, optimizer: str | dict[str, Any]) -> float:
        """Return 1 / communication_window; see `Trainer.gain`."""
        return 1.0 / self.parameters["communication_window"] if self.num_workers > 1 else 1.0


class DynSGD(Trainer):
    """Asynchronous training that divides an update by its staleness + 1 (see `DynSGDRule`).

    It suits workers of unequal speed. With `settings="raw"`, start with windows of 5 steps and one worker's learning rate, and
    give every worker a core of its own: where 8 workers shared 2 cores, one ran ahead while the others' updates grew stale and
    counted for nothing, which cost 0.02 to 0.1 of r2.
    """

    suffers_from_staleness = True

    def _rule(self, trainable: int, learning_rate: float) -> UpdateRule:
        return additive.DynSGDRule(trainable, self.num_workers, self.num_workers if self.is_divided else 1)


class Experimental(ADAG):
    """ADAG that damps an update where the server weights have moved since the pull (see `ExperimentalRule`).

    Its parameters are set as ADAG's.
    """

    def _rule(self, trainable: int, learning_rate: float) -> UpdateRule:
        return additive.ExperimentalRule(trainable, self.num_workers, learning_rate)


class AEASGD(Trainer):
    """Asynchronous elastic averaging: workers explore on their own, tied to the server weights (see `AEASGDRule`).

    With `settings="raw"`, start with windows of 8 to 32 steps and one worker's learning rate, without `rho`.
    """

    averages_windows = True
    #: The moving rate of workers that share out a batch: small batches are noisy, so the tie is a strong one.
    _DIVIDED_ALPHA = 0.5

    def _rule(self, trainable: int, learning_rate: float) -> UpdateRule:
        rho = self.parameters["rho"]
        best = self._DIVIDED_ALPHA if self.is_divided else 0.9 / self.num_workers
        alpha = best if rho is None else rho * learning_rate
        if alpha > 1:
            raise SpecError(
                f"rho: rho * learning_rate is {rho:g} * {learning_rate:g} = {alpha:g}; expected at most 1, better about "
                f"{best:g} (0.9 / num_workers). Set rho to {best / learning_rate:g}, or leave it out."
            )
        rule = elastic.AEASGDMeanRule if self.is_divided else elastic.AEASGDRule
        return rule(trainable, self.num_workers, alpha)

    def divided(self, *, has_bounded_steps: bool) -> Self:
        """Return the trainer whose workers share out a batch. Raise SpecError if `rho` is set, which is the paper's own."""
        if self.parameters["rho"] is not None:
            raise SpecError(
                "rho: how strongly workers are tied to the server's weights depends on the learning rate of the algorithm's own "
                "settings. Leave it out, or set settings='raw' and such a learning rate."
            )
        return super().divided(has_bounded_steps=has_bounded_steps)

    def gain(self, optimizer: str | dict[str, Any]) -> float:
        """Return 1 / (num_workers + 1): workers and server move together, and only workers take steps; see `Trainer.gain`."""
        return 1.0 / (self.num_workers + 1) if self.num_workers > 1 else 1.0


class EAMSGD(AEASGD):
    """AEASGD whose workers train by SGD with Nesterov momentum.

    v <- momentum v - rate g(x + momentum v), x <- x + v. Keras' SGD with nesterov=True computes it at the look-ahead point,
    x + momentum v; the elastic force acts on that point. With `settings="raw"`, start with windows of 4 steps at a learning
    rate of 0.02, or 0.01 for batches below 16 rows.

    Source: S. Zhang, A. Choromanska, Y. LeCun, "Deep learning with Elastic Averaging SGD", NIPS 2015 (arXiv 1412.6651), eq. 5.
    """

    def optimizer(self, requested: str | dict[str, Any]) -> str | dict[str, Any]:
        """Return SGD with Nesterov momentum. Raise SpecError if the user set another optimizer."""
        if self.is_divided and requested != "sgd":
            return requested
        if requested != "sgd":
            raise SpecError(
                f"optimizer: EAMSGD brings its own, SGD with Nesterov's momentum; received {requested!r}. Leave it out."
            )
        return {"name": "sgd", "momentum": self.parameters["momentum"], "nesterov": self.parameters["momentum"] > 0}

    def gain(self, optimizer: str | dict[str, Any]) -> float:
        """Return AEASGD's; without a momentum or optimizer of the user's, a rate is that of SGD without momentum."""
        own = optimizer == "sgd" and "momentum" not in self._given
        return super().gain(optimizer) / (1.0 - self.parameters["momentum"] if own else 1.0)


_TRAINERS: dict[str, type[Trainer]] = {
    trainer.__name__: trainer
    for trainer in (
        SingleTrainer, AveragingTrainer, EnsembleTrainer, DOWNPOUR, ADAG, AEASGD, EAMSGD, DynSGD, Experimental, LocalSGD,
    )
}  # fmt: skip


def get(name: str) -> type[Trainer]:
    """Return the trainer class of a name. Raise SpecError, with the nearest name, if there is none."""
    if name not in _TRAINERS:
        raise unknown_name("trainer", name, _TRAINERS)
    return _TRAINERS[name]
