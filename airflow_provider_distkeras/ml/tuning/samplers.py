"""Samplers choose the params of a study's trials: from a list, by successive halving, or by Optuna."""

from __future__ import annotations

import json
import math
import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_distkeras.ml.tuning.trial import TrialParams

if TYPE_CHECKING:
    import optuna


class Sampler(Protocol):
    """Chooses the params of trials. Its methods are called by one thread at a time."""

    @property
    def remaining(self) -> int:
        """The trials that it is certain to return yet."""

    @property
    def expected(self) -> int:
        """The trials, about, that it will have returned in the end."""

    def ask(self) -> TrialParams | None:
        """Return the next trial's params; None if there is none, or none before another trial ends."""

    def tell(self, params: TrialParams, value: float | None) -> None:
        """Report a trial's mean of the study's metric, None if it failed."""

    def rung(self, params: TrialParams) -> int:
        """Return the rung of a trial: the best trial is chosen from the highest rung."""


class GridSampler:
    """Returns every trial of a list, in its order.

    Args:
        trials: the params of all trials.
    """

    def __init__(self, trials: Sequence[TrialParams]) -> None:
        self._trials = deque(trials)
        self.expected = len(trials)

    @property
    def remaining(self) -> int:
        """The trials that it has not returned yet."""
        return len(self._trials)

    def ask(self) -> TrialParams | None:
        """Return the next trial's params, or None at the end."""
        return self._trials.popleft() if self._trials else None

    def tell(self, params: TrialParams, value: float | None) -> None:
        """Ignore the value: the list is fixed."""

    def rung(self, params: TrialParams) -> int:
        """Return 0: all trials are equal."""
        return 0


class AshaSampler:
    """Asynchronous successive halving: all trials are trained a little, the best of them longer, and so on.

    Source: L. Li et al., "A System for Massively Parallel Hyperparameter Tuning" (ASHA), MLSys 2020, algorithm 2.

    Args:
        trials: the params of all trials; their num_epoch is replaced.
        num_epoch: epochs of the highest rung.
        factor: one in so many trials is promoted, to a rung of so many times the epochs.
        larger_is_better: whether a larger metric is better.
    """

    def __init__(self, trials: Sequence[TrialParams], num_epoch: int, factor: int, larger_is_better: bool) -> None:
        # As many rungs as epochs can be divided, and as leave a trial on the last.
        rungs = 1 + min(_floor_log(num_epoch, factor), _floor_log(len(trials), factor))
        self._epochs = [max(1, num_epoch // factor**below) for below in reversed(range(rungs))]
        self._factor = factor
        self._sign = 1 if larger_is_better else -1
        # The first ones are promoted with little to be compared with: in a grid's order, these would often be its worst.
        self._trials = deque(random.Random(0).sample(trials, len(trials)))
        self._scores: list[list[tuple[float, TrialParams]]] = [[] for _ in range(rungs)]
        self._promoted: set[tuple[int, str]] = set()
        self.expected = sum(len(trials) // factor**rung for rung in range(rungs))

    @property
    def remaining(self) -> int:
        """The trials that have not begun; promotions depend on results."""
        return len(self._trials)

    def ask(self) -> TrialParams | None:
        """Return a promoted trial of the highest rung that has one, else a new one of the lowest; None if there is none."""
        for rung in reversed(range(len(self._epochs) - 1)):
            promoted = self._promotable(rung)
            if promoted is not None:
                self._promoted.add((rung, _key(promoted)))
                return {**promoted, "num_epoch": self._epochs[rung + 1]}
        return {**self._trials.popleft(), "num_epoch": self._epochs[0]} if self._trials else None

    def tell(self, params: TrialParams, value: float | None) -> None:
        """Add a trial's value to its rung."""
        without_epochs = {name: param for name, param in params.items() if name != "num_epoch"}
        score = -math.inf if value is None else self._sign * value
        self._scores[self.rung(params)].append((score, without_epochs))

    def rung(self, params: TrialParams) -> int:
        """Return the rung of a trial's num_epoch, from 0."""
        return self._epochs.index(params["num_epoch"])

    def _promotable(self, rung: int) -> TrialParams | None:
        """Return the best trial of a rung's first share that has not been promoted yet."""
        scores = sorted(self._scores[rung], key=lambda pair: pair[0], reverse=True)
        best = (params for score, params in scores[: len(scores) // self._factor] if score > -math.inf)
        return next((params for params in best if (rung, _key(params)) not in self._promoted), None)


class TpeSampler:
    """Optuna's TPE sampler.

    Args:
        distributions: the values to draw from, by name, as `contract.distributions` defines them.
        count: the number of trials.
        seed: of the sampler.
        larger_is_better: whether a larger metric is better.
        begun: the params of trials that an earlier study of the same spec has begun; they come first. Which ones TPE chooses
            depends on the order in which trials end.
    """

    def __init__(
        self,
        distributions: Mapping[str, Any],
        count: int,
        seed: int,
        larger_is_better: bool,
        begun: Sequence[TrialParams] = (),
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        direction = optuna.study.StudyDirection.MAXIMIZE if larger_is_better else optuna.study.StudyDirection.MINIMIZE
        new_seed = (seed + len(begun)) % 2**32  # the same seed would draw the begun trials once more
        sampler = optuna.samplers.TPESampler(seed=new_seed, constant_liar=True)
        self._study = optuna.create_study(direction=direction, sampler=sampler)
        self._distributions = {name: _to_distribution(spec) for name, spec in sorted(distributions.items())}
        self._remaining = self.expected = count
        self._running: dict[str, list[optuna.Trial]] = {}
        for params in begun[:count]:
            self._study.enqueue_trial({name: _to_optuna(params[name], kind) for name, kind in self._distributions.items()})

    @property
    def remaining(self) -> int:
        """The trials that it has not returned yet."""
        return self._remaining

    def ask(self) -> TrialParams | None:
        """Return the params that Optuna chooses next, or None at the end."""
        if not self._remaining:
            return None
        self._remaining -= 1
        trial = self._study.ask(self._distributions)
        params = {name: _from_optuna(value) for name, value in trial.params.items()}
        self._running.setdefault(_key(params), []).append(trial)
        return params

    def tell(self, params: TrialParams, value: float | None) -> None:
        """Report a trial's value to Optuna."""
        import optuna

        trial = self._running[_key(params)].pop()
        self._study.tell(trial, value, state=None if value is not None else optuna.trial.TrialState.FAIL)

    def rung(self, params: TrialParams) -> int:
        """Return 0: all trials are equal."""
        return 0


def _to_distribution(spec: Mapping[str, Any]) -> optuna.distributions.BaseDistribution:
    from optuna import distributions

    ((kind, values),) = spec.items()
    if kind == "choice":
        return distributions.CategoricalDistribution([json.dumps(value) for value in values])
    if kind == "int":
        return distributions.IntDistribution(*values)
    low, high = values
    return distributions.FloatDistribution(low, high, log=kind == "loguniform")


def _to_optuna(value: Any, kind: optuna.distributions.BaseDistribution) -> Any:
    """Return a value as Optuna chooses it: JSON for a choice, since Optuna cannot choose among lists and dicts."""
    from optuna import distributions

    return json.dumps(value) if isinstance(kind, distributions.CategoricalDistribution) else value


def _from_optuna(value: Any) -> Any:
    """Return the value of what Optuna chose (see `_to_optuna`)."""
    return json.loads(value) if isinstance(value, str) else value


def _key(params: TrialParams) -> str:
    return json.dumps(params, sort_keys=True)


def _floor_log(number: int, base: int) -> int:
    """Return the largest exponent whose power of the base is at most the number."""
    exponent = 0
    while base ** (exponent + 1) <= number:
        exponent += 1
    return exponent
