"""The progress of a job in its log: when a stage begins, every few seconds, and when the result is committed."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_distkeras.contract.artifacts.progress import BestTrial, Progress

if TYPE_CHECKING:
    from pyspark import SparkContext

logger = logging.getLogger(__name__)

#: Seconds between two events.
_INTERVAL_S = 5.0
#: An event that repeats the one before is logged after so many intervals.
_REPEAT_INTERVALS = 6
#: The share of a stage that must be done before its pace counts.
_LEAST_SHARE = 0.02


@dataclass(frozen=True)
class StageProgress:
    """The progress of the stage under way; see `Progress` for the other fields.

    Attributes:
        begun: how much of the total is done of the parts under way.
        before: how much was done before the stage began.
    """

    done: float | None = None
    total: float | None = None
    unit: str = ""
    begun: float = 0.0
    before: float = 0.0
    samples_per_second: float | None = None
    loss: float | None = None
    best: BestTrial | None = None

    def after(self, shown: StageProgress) -> StageProgress:
        """Return the progress with no less done than was shown of the stage: a fit that just ended, or begins anew, has none."""
        if shown.done is None or (self.done is not None and self.done >= shown.done):
            return self
        total = shown.total if self.done is None else max(self.total or 0.0, shown.done)
        return replace(self, done=shown.done, total=total, unit=shown.unit)

    @property
    def share(self) -> float:
        """The share of the stage that is done, from 0 to 1."""
        return min((self.done + self.begun) / self.total, 1.0) if self.done is not None and self.total else 0.0

    @property
    def worked(self) -> float:
        """The share of the stage that was done since it began."""
        return self.share - (self.before / self.total if self.total else 0.0)


#: Returns the progress of the stage under way.
Measure = Callable[[], StageProgress]


@dataclass(frozen=True)
class _Stage:
    name: str
    share: float
    measure: Measure
    since: float


class ProgressReporter:
    """Logs the progress of a job from a thread of its own; use it as a context manager.

    Args:
        every: seconds between two events, at least; the last event does not wait.
    """

    def __init__(self, every: float = _INTERVAL_S) -> None:
        self._every = every
        self._stage: _Stage | None = None
        self._first: tuple[float, float] | None = None  # the time and the share when work on the stage first showed
        self._done, self._percent = 0.0, 0
        self._shown = StageProgress()
        self._logged: tuple[str, float | None] | None = None  # the text, and how much was done by the measure
        self._logged_at = -math.inf
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="distkeras-reporter", daemon=True)

    def __enter__(self) -> ProgressReporter:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def begin(self, name: str, share: float, measure: Measure = StageProgress) -> None:
        """Begin a stage of the job; the stage before it is done.

        Args:
            name: the name of the stage.
            share: the share of the whole job that the stage takes, from 0 to 1.
            measure: returns the progress of the stage.
        """
        with self._lock:
            if self._stage is not None:
                self._done += self._stage.share
            self._stage, self._first = _Stage(name, share, measure, time.monotonic()), None
            self._shown = StageProgress()
        self._log_progress()

    def finish(self) -> None:
        """Log that the job is done."""
        self._ended.set()
        with self._lock:
            logger.info(Progress(100, "done"))

    def _run(self) -> None:
        while not self._ended.wait(self._every / 10):
            self._log_progress()

    def _log_progress(self) -> None:
        """Log the progress of the stage, if an interval has passed and there is something new."""
        with self._lock:
            now, stage = time.monotonic(), self._stage
            silent = now - self._logged_at
            if stage is None or self._ended.is_set() or silent < self._every:
                return
            try:
                measured = stage.measure()
            except Exception:  # Spark may be ending; progress that cannot be measured must not fail the job
                logger.debug("The progress of %s cannot be measured.", stage, exc_info=True)
                measured = StageProgress()
            self._shown = measured.after(self._shown)
            progress = self._progress(stage, self._shown, now)
            news = (str(progress), measured.done)
            if news != self._logged or silent >= _REPEAT_INTERVALS * self._every:
                logger.info(progress)
                self._logged, self._logged_at = news, now

    def _progress(self, stage: _Stage, measured: StageProgress, now: float) -> Progress:
        done = self._done + stage.share * measured.share
        self._percent = max(self._percent, min(int(100 * done), 99))
        pace = self._pace(stage, measured.worked, now)
        eta = round((1 - done) / (stage.share * pace), 1) if pace else None
        return Progress(
            self._percent, stage.name, measured.done, measured.total, measured.unit, measured.samples_per_second, measured.loss,
            measured.best, eta,
        )  # fmt: skip

    def _pace(self, stage: _Stage, worked: float, now: float) -> float | None:
        """Return the share of a stage per second since work on it first showed, else since it began; None if it is too early."""
        if self._first is None and worked > 0:
            self._first = (now, worked)
        for since, before in filter(None, (self._first, (stage.since, 0.0))):
            if worked - before >= _LEAST_SHARE and now > since:
                return (worked - before) / (now - since)
        return None


def tasks(context: SparkContext) -> Measure:
    """Return a measure that counts the tasks of Spark's jobs in one stage: those that run, and those that it has seen run."""
    tracker = context.statusTracker()
    counts: dict[int, tuple[int, int]] = {}  # by job: the tasks that are done, and all

    def measure() -> StageProgress:
        active = tracker.getActiveJobsIds()
        counts.update({number: (total, total) for number, (_, total) in counts.items() if number not in active})
        for number in active:
            job = tracker.getJobInfo(number)
            infos = [tracker.getStageInfo(stage) for stage in job.stageIds] if job is not None else []
            stages = [info for info in infos if info is not None]
            counts[number] = sum(info.numCompletedTasks for info in stages), sum(info.numTasks for info in stages)
        done = sum(done for done, _ in counts.values())
        if not done:  # one of many jobs of a task or two
            return StageProgress()
        return StageProgress(done, sum(total for _, total in counts.values()), "tasks")

    return measure
