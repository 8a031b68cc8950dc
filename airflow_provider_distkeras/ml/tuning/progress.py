"""The stages of a search as a reporter tells them: what share of the work each is, and how far it is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from airflow_provider_distkeras.contract.artifacts.progress import BestTrial
from airflow_provider_distkeras.ml.tuning.study import Study, StudyProgress
from airflow_provider_distkeras.spark.progress import ProgressReporter, StageProgress
from airflow_provider_distkeras.training import monitor

#: What is left of a job when its models are trained: they and their report are written.
WRITING = 0.02


@dataclass(frozen=True)
class SearchProgress:
    """What is ahead of a search, in fits of it.

    Attributes:
        reporter: whom to tell.
        study: the search's.
        metric: the metric that decides.
        num_folds: folds of every cell.
        rows: rows of the whole dataset; None if that is not known.
        at_once: fits that run at the same time.
        tests: whether the best cell is measured on rows that were set aside.
    """

    reporter: ProgressReporter
    study: Study
    metric: str
    num_folds: int
    rows: int | None
    at_once: int
    tests: bool
    _began: float = field(default_factory=time.monotonic)

    def begin_search(self) -> None:
        """From now on cells are cross-validated."""
        self.reporter.begin("search", self._share(self._fits), self._look_at_search)

    def begin_test(self) -> None:
        """From now on the best cell is measured on the rows that were set aside."""
        self.reporter.begin("test", self._share(self.at_once), self._look_at_fit)

    def begin_refit(self) -> None:
        """From now on the best cell is trained on all rows."""
        self.reporter.begin("refit", self._share(self._refit), self._look_at_fit)

    @property
    def _fits(self) -> float:
        return self.study.standing().expected

    @property
    def _refit(self) -> float:
        """It runs alone, and on the rows of all folds."""
        return self.at_once * self.num_folds / (self.num_folds - 1)

    def _share(self, fits: float) -> float:
        """The share of the whole job."""
        return (1 - WRITING) * fits / (self._fits + self.at_once * self.tests + self._refit)

    def _look_at_search(self) -> StageProgress:
        standing, paces = self.study.standing(), monitor.running()
        done = standing.ended + round(sum(min(pace.epoch / pace.num_epoch, 1.0) for pace in paces), 1)
        speed = sum(pace.samples_per_second for pace in paces) or self._speed(standing)
        return StageProgress(
            done, standing.expected, "fits", max(0.0, standing.late * standing.expected - done),
            standing.known, speed, best=self._best(standing),
        )  # fmt: skip

    def _look_at_fit(self) -> StageProgress:
        best = self._best(self.study.standing())
        for pace in monitor.running():
            return StageProgress(pace.epoch, pace.num_epoch, "epochs", 0.0, 0.0, pace.samples_per_second, pace.loss, best)
        return StageProgress(best=best)

    def _best(self, standing: StudyProgress) -> BestTrial | None:
        return None if standing.best is None else BestTrial(self.metric, standing.best[1], standing.best[0])

    def _speed(self, standing: StudyProgress) -> float | None:
        """Of fits that are plain tasks, which nothing is heard of before they end."""
        if self.rows is None or not standing.epochs:
            return None
        return self.rows * (1 - 1 / self.num_folds) * standing.epochs / (time.monotonic() - self._began)
