"""What a search does next: asks a strategy for cells, hands out their folds one by one, and tells it what they came to."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_distkeras.contract import errors
from airflow_provider_distkeras.ml.tuning.samplers import Sampler
from airflow_provider_distkeras.ml.tuning.trial import FoldFit, FoldResult, Trial

if TYPE_CHECKING:
    from airflow_provider_distkeras.ml.tuning.journal import Journal

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyLimits:
    """When to stop before the strategy has nothing more to propose.

    Attributes:
        failed_cells: how many cells may fail; None for all but one.
        seconds: after which no other cell is begun; None for ever.
    """

    failed_cells: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class StudyProgress:
    """How far a search is.

    Attributes:
        ended: fits that have ended; known: those of them that an earlier search recorded; expected: fits in the end, about.
        epochs: passes over a fold's rows, in all fits that this search has ended.
        best: the number of the best cell so far, and its mean of the metric that decides; None where no cell has ended well.
        late: how much of the time is over, from 0 to 1, after which no other cell is begun; 0 where there is no limit.
    """

    ended: int
    known: int
    expected: int
    epochs: int
    best: tuple[int, float] | None
    late: float


class Study:
    """Hands out trials to as many threads as ask.

    Args:
        strategy: what proposes cells.
        num_folds: folds of every cell.
        metric: the metric that decides; larger_is_better: whether a larger one is better.
        limits: when to stop.
        journal: where trials are recorded, and those of an earlier search are known from.
    """

    def __init__(
        self,
        strategy: Sampler,
        num_folds: int,
        metric: str,
        *,
        larger_is_better: bool,
        limits: StudyLimits | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.trials: list[Trial] = []
        self._strategy, self._num_folds, self._metric = strategy, num_folds, metric
        self._sign = 1 if larger_is_better else -1
        self._limits, self._journal = limits or StudyLimits(), journal
        self._waiting: deque[FoldFit] = deque()
        self._running = 0
        self._known = self._epochs = 0
        self._over = False
        self._began = time.monotonic()
        self._changed = threading.Condition()

    def ask(self) -> FoldFit | None:
        """The next trial, as soon as there is one; None when the search is over."""
        with self._changed:
            while not self._over:
                if self._waiting:
                    self._running += 1
                    return self._waiting.popleft()
                if self._propose():
                    continue
                if not self._running:
                    break
                self._changed.wait()
            self._over = True
            self._changed.notify_all()
            return None

    def more(self, count: int) -> list[FoldFit]:
        """At most so many trials beside the last one; none that would have to be waited for."""
        with self._changed:
            while not self._over and len(self._waiting) < count and self._propose():
                pass
            taken = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))] if not self._over else []
            self._running += len(taken)
            return taken

    @property
    def ahead(self) -> int:
        """The trials that are known to be ahead, less those under way."""
        with self._changed:
            return len(self._waiting) + self._strategy.left * self._num_folds

    def standing(self) -> StudyProgress:
        """How far the search is."""
        with self._changed:
            ended = sum(len(cell.results) for cell in self.trials)
            sure = self._running + len(self._waiting) + self._strategy.left * self._num_folds
            worth = self._worth()
            number = max(worth, key=lambda number: worth[number]) if worth else None
            return StudyProgress(
                ended=ended,
                known=self._known,
                expected=max(ended + sure, self._strategy.expected * self._num_folds),
                epochs=self._epochs,
                best=None if number is None else (number, self._sign * worth[number]),
                late=(time.monotonic() - self._began) / self._limits.seconds if self._limits.seconds else 0.0,
            )

    def tell(self, trial: FoldFit, outcome: FoldResult) -> None:
        """Take what a trial came to. Raises TrainingError if more cells failed than may."""
        with self._changed:
            try:
                cell = self.trials[trial.trial]
                if self._journal is not None:
                    self._journal.record(cell.params, trial.fold, outcome)
                self._take(trial, outcome)
                self._epochs += len(outcome.history.get("loss", ()))
                self._tell(trial, outcome)
                self._check_failures()
            except BaseException:
                self._over = True
                raise
            finally:
                self._running -= 1
                self._changed.notify_all()

    def stop(self) -> None:
        """Hand out no other trial."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def best(self) -> int:
        """The number of the best cell of those that came furthest. Raises what most cells met if none has ended well."""
        worth = self._worth()
        if worth:
            return max(worth, key=lambda number: (self._strategy.rung(self.trials[number].params), worth[number]))
        causes = [cell.error for cell in self.trials if cell.error is not None]
        if not causes:
            raise errors.TrainingError("No cell has ended: raise max_minutes.")
        kind, cause = max(causes, key=causes.count).split(": ", 1)
        known = getattr(errors, kind, errors.TrainingError)
        told = known is not errors.DivergenceError or "Lower learning_rate" in cause
        fix = "" if told else " Lower learning_rate, or scale the features (scaling='standard')."
        raise known(f"Every cell failed, most of them so: {cause.rstrip('.')}.{fix}")

    def _worth(self) -> dict[int, float]:
        """What the cells are worth, by their numbers, that have ended well."""
        return {
            number: self._sign * mean
            for number, cell in enumerate(self.trials)
            if self._is_complete(cell) and (mean := cell.mean(self._metric)) is not None
        }

    def _propose(self) -> bool:
        """Take the next cell up; whether there was one."""
        late = self._limits.seconds is not None and time.monotonic() - self._began > self._limits.seconds
        params = None if late else self._strategy.propose()
        if params is None:
            return False
        number = len(self.trials)
        self.trials.append(Trial(params))
        for fold in range(self._num_folds):
            outcome = self._journal.known(params, fold) if self._journal is not None else None
            if outcome is None:
                self._waiting.append(FoldFit(number, fold))
            else:
                self._known += 1
                self._take(FoldFit(number, fold), outcome)
        return True

    def _take(self, trial: FoldFit, outcome: FoldResult) -> None:
        cell = self.trials[trial.trial]
        cell.results[trial.fold] = outcome
        if self._is_complete(cell):
            self._strategy.learn(cell.params, cell.mean(self._metric))

    def _is_complete(self, cell: Trial) -> bool:
        return len(cell.results) == self._num_folds

    def _check_failures(self) -> None:
        failed = [cell.error for cell in self.trials if cell.error is not None]
        most = self._limits.failed_cells
        if most is not None and len(failed) > most:
            raise errors.TrainingError(f"{len(failed)} cells failed, max_failed_cells allows {most}. The last: {failed[-1]}")

    def _tell(self, trial: FoldFit, outcome: FoldResult) -> None:
        level = logging.DEBUG if outcome.error is None else logging.WARNING
        said = outcome.error or ", ".join(f"{name} {value:.4f}" for name, value in outcome.metrics.items())
        logger.log(level, "cell %d, fold %d in %.1f s: %s", trial.trial, trial.fold, outcome.seconds, said)
