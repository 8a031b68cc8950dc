"""The progress of a search, as stages of a job's reporter: each stage's share of the work, and how much of it is done."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from airflow_provider_distkeras.contract.artifacts.progress import BestTrial
from airflow_provider_distkeras.ml.tuning.study import Study, StudyProgress
from airflow_provider_distkeras.spark.progress import ProgressReporter, StageProgress
from airflow_provider_distkeras.training import monitor

#: The share of a train job that is left when its models are trained: writing them and their report.
WRITING = 0.02


@dataclass(frozen=True)
class SearchProgress:
    """The stages of a search, weighed in fits of its study.

    Attributes:
        reporter: of the job.
        study: the search's.
        metric: the metric that decides.
        num_folds: folds of every trial; 0 if none is measured.
        rows: rows of the whole dataset; None if that is unknown.
        parallel_fits: fits that run at the same time, about.
        has_test: whether the best trial is evaluated on rows that were set aside.
        has_refit: whether the best trial is trained on all rows.
    """

    reporter: ProgressReporter
    study: Study
    metric: str
    num_folds: int
    rows: int | None
    parallel_fits: int
    has_test: bool
    has_refit: bool
    _began: float = field(default_factory=time.monotonic)

    def begin_search(self) -> None:
        """Begin the stage in which trials are cross-validated."""
        self.reporter.begin("search", self._share(self._fits), self._search_progress)

    def begin_test(self) -> None:
        """Begin the stage in which the best trial is evaluated on the rows that were set aside."""
        self.reporter.begin("test", self._share(self.parallel_fits), self._fit_progress)

    def begin_refit(self) -> None:
        """Begin the stage in which the best trial is trained on all rows."""
        self.reporter.begin("refit", self._share(self._refit_fits), self._fit_progress)

    @property
    def _fits(self) -> float:
        return self.study.progress().expected if self.num_folds else 0.0

    @property
    def _refit_fits(self) -> float:
        """The refit's time in fits of the search: it runs alone, and on the rows of all folds."""
        return self.parallel_fits / self._training_share if self.has_refit else 0.0

    @property
    def _training_share(self) -> float:
        """The share of all rows that a fit of the search trains on, about."""
        return 1 - 1 / self.num_folds if self.num_folds > 1 else 1.0

    def _share(self, fits: float) -> float:
        """Return a stage's share of the whole job."""
        return (1 - WRITING) * fits / (self._fits + self.parallel_fits * self.has_test + self._refit_fits)

    def _search_progress(self) -> StageProgress:
        progress, running = self.study.progress(), monitor.running_fits()
        done = progress.completed + round(sum(fit.epoch / fit.num_epoch for fit in running), 1)
        speed = sum(fit.samples_per_second for fit in running) or self._task_speed(progress)
        return StageProgress(
            done, progress.expected, "fits", max(0.0, progress.elapsed * progress.expected - done),
            progress.resumed, speed, best=self._best(progress),
        )  # fmt: skip

    def _fit_progress(self) -> StageProgress:
        best = self._best(self.study.progress())
        for fit in monitor.running_fits():
            return StageProgress(fit.epoch, fit.num_epoch, "epochs", 0.0, 0.0, fit.samples_per_second, fit.loss, best)
        return StageProgress(best=best)

    def _best(self, progress: StudyProgress) -> BestTrial | None:
        return None if progress.best is None else BestTrial(self.metric, progress.best[1], progress.best[0])

    def _task_speed(self, progress: StudyProgress) -> float | None:
        """Return the rows per second of fits that are plain tasks, which report at their end only."""
        if self.rows is None or not progress.epochs:
            return None
        return self.rows * self._training_share * progress.epochs / (time.monotonic() - self._began)
