"""A study: asks a sampler for trials, hands out their fits fold by fold, and collects the results."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass

from airflow_provider_distkeras.contract import errors
from airflow_provider_distkeras.ml.tuning.journal import Journal
from airflow_provider_distkeras.ml.tuning.samplers import Sampler
from airflow_provider_distkeras.ml.tuning.trial import FoldFit, FoldResult, Trial

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyLimits:
    """When a study ends before its sampler has no more trials.

    Attributes:
        failed_trials: how many trials may fail; None for all but one.
        seconds: the time after which no other trial begins; None for no limit.
    """

    failed_trials: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class StudyProgress:
    """The progress of a study.

    Attributes:
        completed: fits that have ended, with those taken over from an earlier study.
        resumed: the fits that were taken over.
        expected: fits in the end, about.
        epochs: passes over a fold's rows, in all fits that this study has run.
        best: the number of the best trial so far, and its mean of the metric; None while no trial has a value.
        elapsed: the share of the time limit that is over; 0 where there is no limit.
    """

    completed: int
    resumed: int
    expected: int
    epochs: int
    best: tuple[int, float] | None
    elapsed: float


class Study:
    """Hands out fits to any number of threads.

    Args:
        sampler: chooses trials.
        num_folds: folds of every trial.
        metric: the metric that decides.
        larger_is_better: whether a larger metric is better.
        limits: when to end early.
        journal: records results, and gives those of an earlier study.

    Attributes:
        trials: all trials, by number.
    """

    def __init__(
        self,
        sampler: Sampler,
        num_folds: int,
        metric: str,
        *,
        larger_is_better: bool,
        limits: StudyLimits | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.trials: list[Trial] = []
        self._sampler, self._num_folds, self._metric = sampler, num_folds, metric
        self._sign = 1 if larger_is_better else -1
        self._limits, self._journal = limits or StudyLimits(), journal
        self._queue: deque[FoldFit] = deque()
        self._running = 0
        self._resumed = self._epochs = 0
        self._ended = False
        self._began = time.monotonic()
        self._changed = threading.Condition()

    def ask(self) -> FoldFit | None:
        """Return the next fit, as soon as there is one; None when the study has ended."""
        with self._changed:
            while not self._ended:
                if self._queue:
                    self._running += 1
                    return self._queue.popleft()
                if self._begin_trial():
                    continue
                if not self._running:
                    break
                self._changed.wait()
            self._ended = True
            self._changed.notify_all()
            return None

    def ask_more(self, count: int) -> list[FoldFit]:
        """Return at most so many fits that need not be waited for."""
        with self._changed:
            while not self._ended and len(self._queue) < count and self._begin_trial():
                pass
            fits = [self._queue.popleft() for _ in range(min(count, len(self._queue)))] if not self._ended else []
            self._running += len(fits)
            return fits

    @property
    def remaining(self) -> int:
        """The fits that are certain to be handed out yet."""
        with self._changed:
            return self._remaining()

    def progress(self) -> StudyProgress:
        """Return the progress of the study."""
        with self._changed:
            completed = sum(len(trial.results) for trial in self.trials)
            scores = self._scores()
            number = max(scores, key=lambda number: scores[number]) if scores else None
            return StudyProgress(
                completed=completed,
                resumed=self._resumed,
                expected=max(completed + self._running + self._remaining(), self._sampler.expected * self._num_folds),
                epochs=self._epochs,
                best=None if number is None else (number, self._sign * scores[number]),
                elapsed=(time.monotonic() - self._began) / self._limits.seconds if self._limits.seconds else 0.0,
            )

    def tell(self, fit: FoldFit, result: FoldResult) -> None:
        """Report the result of a fit. Raise TrainingError if more trials have failed than the limit allows."""
        with self._changed:
            try:
                if self._journal is not None:
                    self._journal.record(self.trials[fit.trial].params, fit.fold, result)
                self._add(fit, result)
                self._epochs += len(result.history.get("loss", ()))
                self._log(fit, result)
                self._check_failures()
            except BaseException:
                self._ended = True
                raise
            finally:
                self._running -= 1
                self._changed.notify_all()

    def stop(self) -> None:
        """End the study: hand out no other fit."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def best_number(self) -> int:
        """Return the number of the best trial of the highest rung. Raise the most frequent error if no trial has a value."""
        scores = self._scores()
        if scores:
            return max(scores, key=lambda number: (self._sampler.rung(self.trials[number].params), scores[number]))
        messages = [trial.error for trial in self.trials if trial.error is not None]
        if not messages:
            raise errors.TrainingError("No trial has ended: raise max_minutes.")
        kind, message = max(messages, key=messages.count).split(": ", 1)
        error = getattr(errors, kind, errors.TrainingError)
        has_fix = error is not errors.DivergenceError or "Lower learning_rate" in message
        fix = "" if has_fix else " Lower learning_rate, or scale the features (scaling='standard')."
        named = message if hasattr(errors, kind) else f"{kind}: {message}"
        raise error(f"Every trial failed, most of them with: {named.rstrip('.')}.{fix}")

    def _remaining(self) -> int:
        return len(self._queue) + self._sampler.remaining * self._num_folds

    def _scores(self) -> dict[int, float]:
        """Return the means of the trials that have a value, by number, with the sign that makes a larger one better."""
        return {
            number: self._sign * mean
            for number, trial in enumerate(self.trials)
            if self._is_complete(trial) and (mean := trial.mean(self._metric)) is not None
        }

    def _begin_trial(self) -> bool:
        """Queue the fits of the sampler's next trial; return whether there was one."""
        late = self._limits.seconds is not None and time.monotonic() - self._began > self._limits.seconds
        params = None if late else self._sampler.ask()
        if params is None:
            return False
        number = len(self.trials)
        self.trials.append(Trial(params))
        for fold in range(self._num_folds):
            result = self._journal.resume(params, fold) if self._journal is not None else None
            if result is None:
                self._queue.append(FoldFit(number, fold))
            else:
                self._resumed += 1
                self._add(FoldFit(number, fold), result)
        return True

    def _add(self, fit: FoldFit, result: FoldResult) -> None:
        trial = self.trials[fit.trial]
        trial.results[fit.fold] = result
        if self._is_complete(trial):
            self._sampler.tell(trial.params, trial.mean(self._metric))

    def _is_complete(self, trial: Trial) -> bool:
        return len(trial.results) == self._num_folds

    def _check_failures(self) -> None:
        failed = [trial.error for trial in self.trials if trial.error is not None]
        limit = self._limits.failed_trials
        if limit is not None and len(failed) > limit:
            raise errors.TrainingError(
                f"{len(failed)} trials failed, max_failed_trials allows {limit}. The last error: {failed[-1]}"
            )

    def _log(self, fit: FoldFit, result: FoldResult) -> None:
        level = logging.DEBUG if result.error is None else logging.WARNING
        message = result.error or ", ".join(f"{name} {value:.4f}" for name, value in result.metrics.items())
        logger.log(level, "trial %d, fold %d in %.1f s: %s", fit.trial, fit.fold, result.seconds, message)
