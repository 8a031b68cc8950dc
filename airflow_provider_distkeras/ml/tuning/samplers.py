"""Which cells a search tries: those of a list, those that survive halving, or those that Optuna thinks of."""

from __future__ import annotations

import json
import math
import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import optuna

Params = dict[str, Any]


class Sampler(Protocol):
    """Proposes cells. Its calls come one at a time."""

    @property
    def left(self) -> int:
        """Cells that it is sure to propose."""

    @property
    def expected(self) -> int:
        """Cells that it will have proposed in the end, about."""

    def propose(self) -> Params | None:
        """The next cell; None if there is none, or none before more is learned."""

    def learn(self, params: Params, value: float | None) -> None:
        """Take what a cell came to: the mean of the metric that decides, None if it failed."""

    def rung(self, params: Params) -> int:
        """How far a cell has come: the best of those that came furthest is chosen."""


class GridSampler:
    """Every cell of a list, in its order."""

    def __init__(self, cells: Sequence[Params]) -> None:
        self._cells = deque(cells)
        self.expected = len(cells)

    @property
    def left(self) -> int:
        return len(self._cells)

    def propose(self) -> Params | None:
        return self._cells.popleft() if self._cells else None

    def learn(self, params: Params, value: float | None) -> None:
        """It makes no difference."""

    def rung(self, params: Params) -> int:
        return 0


class AshaSampler:
    """Asynchronous successive halving: all cells are trained a little, the best of them longer, and so on.

    Source: L. Li et al., "A System for Massively Parallel Hyperparameter Tuning" (ASHA), MLSys 2020, algorithm 2.

    Args:
        cells: where to begin; their num_epoch is decided here.
        num_epoch: epochs that the last cells are trained for.
        factor: one in so many cells goes on, with so many times the epochs.
        larger_is_better: whether a larger metric is better.
    """

    def __init__(self, cells: Sequence[Params], num_epoch: int, factor: int, larger_is_better: bool) -> None:
        # As many rungs as epochs can be divided, and as leave a cell on the last.
        rungs = 1 + min(_logarithm(num_epoch, factor), _logarithm(len(cells), factor))
        self._epochs = [max(1, num_epoch // factor**below) for below in reversed(range(rungs))]
        self._factor = factor
        self._sign = 1 if larger_is_better else -1
        # The first ones go on with little to be compared with: in a grid's order, these would often be its worst.
        self._cells = deque(random.Random(0).sample(cells, len(cells)))
        self._learned: list[list[tuple[float, Params]]] = [[] for _ in range(rungs)]
        self._promoted: set[tuple[int, str]] = set()
        self.expected = sum(len(cells) // factor**rung for rung in range(rungs))

    @property
    def left(self) -> int:
        return len(self._cells)

    def propose(self) -> Params | None:
        for rung in reversed(range(len(self._epochs) - 1)):
            promoted = self._promotable(rung)
            if promoted is not None:
                self._promoted.add((rung, _key(promoted)))
                return {**promoted, "num_epoch": self._epochs[rung + 1]}
        return {**self._cells.popleft(), "num_epoch": self._epochs[0]} if self._cells else None

    def learn(self, params: Params, value: float | None) -> None:
        cell = {name: said for name, said in params.items() if name != "num_epoch"}
        worth = -math.inf if value is None else self._sign * value
        self._learned[self.rung(params)].append((worth, cell))

    def rung(self, params: Params) -> int:
        return self._epochs.index(params["num_epoch"])

    def _promotable(self, rung: int) -> Params | None:
        """The best of a rung's first share that has not gone on yet."""
        learned = sorted(self._learned[rung], key=lambda pair: pair[0], reverse=True)
        best = (cell for worth, cell in learned[: len(learned) // self._factor] if worth > -math.inf)
        return next((cell for cell in best if (rung, _key(cell)) not in self._promoted), None)


class TpeSampler:
    """Cells that Optuna's TPE sampler proposes, from what was learned.

    Args:
        distributions: per name, what values may be drawn, as `contract.distributions` says.
        count: how many cells.
        seed: of the sampler.
        larger_is_better: whether a larger metric is better.
        begun: cells that come first, of an earlier search for the same: which ones it proposes depends on what ended when.
    """

    def __init__(
        self,
        distributions: Mapping[str, Any],
        count: int,
        seed: int,
        larger_is_better: bool,
        begun: Sequence[Params] = (),
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        direction = optuna.study.StudyDirection.MAXIMIZE if larger_is_better else optuna.study.StudyDirection.MINIMIZE
        other = (seed + len(begun)) % 2**32  # the same seed would propose what was begun once more
        self._study = optuna.create_study(direction=direction, sampler=optuna.samplers.TPESampler(seed=other, constant_liar=True))
        self._distributions = {name: _of_optuna(said) for name, said in sorted(distributions.items())}
        self._left = self.expected = count
        self._asked: dict[str, list[optuna.Trial]] = {}
        for params in begun[:count]:
            self._study.enqueue_trial({name: _as_optuna(params[name], kind) for name, kind in self._distributions.items()})

    @property
    def left(self) -> int:
        return self._left

    def propose(self) -> Params | None:
        if not self._left:
            return None
        self._left -= 1
        trial = self._study.ask(self._distributions)
        params = {name: _value(value) for name, value in trial.params.items()}
        self._asked.setdefault(_key(params), []).append(trial)
        return params

    def learn(self, params: Params, value: float | None) -> None:
        import optuna

        trial = self._asked[_key(params)].pop()
        self._study.tell(trial, value, state=None if value is not None else optuna.trial.TrialState.FAIL)

    def rung(self, params: Params) -> int:
        return 0


def _of_optuna(said: Mapping[str, Any]) -> optuna.distributions.BaseDistribution:
    from optuna import distributions

    ((kind, values),) = said.items()
    if kind == "choice":
        return distributions.CategoricalDistribution([json.dumps(value) for value in values])
    if kind == "int":
        return distributions.IntDistribution(*values)
    low, high = values
    return distributions.FloatDistribution(low, high, log=kind == "loguniform")


def _as_optuna(value: Any, kind: optuna.distributions.BaseDistribution) -> Any:
    """A value as Optuna chooses it (see `_value`)."""
    from optuna import distributions

    return json.dumps(value) if isinstance(kind, distributions.CategoricalDistribution) else value


def _value(said: Any) -> Any:
    """A value that Optuna chose; texts stand for JSON, as lists and dicts cannot be chosen from."""
    return json.loads(said) if isinstance(said, str) else said


def _key(params: Params) -> str:
    return json.dumps(params, sort_keys=True)


def _logarithm(number: int, base: int) -> int:
    """The largest power of the base that is no more than the number."""
    power = 0
    while base ** (power + 1) <= number:
        power += 1
    return power
