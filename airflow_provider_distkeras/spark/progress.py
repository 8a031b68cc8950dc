"""How far a job is, told in its log: as it begins, every few seconds, and once its result is committed."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_distkeras.contract.artifacts.progress import BestTrial, Progress

if TYPE_CHECKING:
    from pyspark import SparkContext

logger = logging.getLogger(__name__)

_EVERY_S = 5.0
#: In so many times as many, a line is told that says nothing new.
_STILL = 6
#: Before so much of a stage is done, its pace tells nothing.
_LEAST_SHARE = 0.02


@dataclass(frozen=True)
class StageProgress:
    """What can be seen of a stage under way; see `Progress`.

    Attributes:
        begun: how much of the total is done of what is under way; before: what was done before the stage began.
    """

    done: float | None = None
    total: float | None = None
    unit: str = ""
    begun: float = 0.0
    before: float = 0.0
    samples_per_second: float | None = None
    loss: float | None = None
    best: BestTrial | None = None

    @property
    def share(self) -> float:
        """How much of the stage is done, from 0 to 1."""
        return min((self.done + self.begun) / self.total, 1.0) if self.done is not None and self.total else 0.0

    @property
    def worked(self) -> float:
        """How much of it was done since it began."""
        return self.share - (self.before / self.total if self.total else 0.0)


#: Looks at a stage under way.
Look = Callable[[], StageProgress]


@dataclass(frozen=True)
class _Stage:
    name: str
    share: float
    look: Look
    since: float


class ProgressReporter:
    """Tells how far a job is, from a thread of its own; use it as a context manager.

    Args:
        every: seconds between two lines, at least, but for the last.
    """

    def __init__(self, every: float = _EVERY_S) -> None:
        self._every = every
        self._stage: _Stage | None = None
        self._first: tuple[float, float] | None = None  # when work of the stage was first seen, and how much
        self._done, self._percent = 0.0, 0
        self._told: Progress | None = None
        self._told_at = -math.inf
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="distkeras-reporter", daemon=True)

    def __enter__(self) -> ProgressReporter:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def begin(self, name: str, share: float, look: Look = StageProgress) -> None:
        """Begin a stage of the job; the one before it is done.

        Args:
            share: of the whole job, from 0 to 1.
            look: tells how far it is.
        """
        with self._lock:
            if self._stage is not None:
                self._done += self._stage.share
            self._stage, self._first = _Stage(name, share, look, time.monotonic()), None
        self._tell()

    def finish(self) -> None:
        """Tell that the job is done."""
        self._ended.set()
        with self._lock:
            logger.info(Progress(100, "done"))

    def _run(self) -> None:
        while not self._ended.wait(self._every / 10):
            self._tell()

    def _tell(self) -> None:
        """Tell how far the stage is, if it is time to."""
        with self._lock:
            now, stage = time.monotonic(), self._stage
            silent = now - self._told_at
            if stage is None or self._ended.is_set() or silent < self._every:
                return
            try:
                seen = stage.look()
            except Exception:  # Spark may be about to end; a line less is no reason to fail
                seen = StageProgress()
            progress = self._progress(stage, seen, now)
            if str(progress) != str(self._told) or silent >= _STILL * self._every:
                logger.info(progress)
                self._told, self._told_at = progress, now

    def _progress(self, stage: _Stage, seen: StageProgress, now: float) -> Progress:
        done = self._done + stage.share * seen.share
        self._percent = max(self._percent, min(int(100 * done), 99))
        pace = self._pace(stage, seen.worked, now)
        eta = round((1 - done) / (stage.share * pace), 1) if pace else None
        return Progress(
            self._percent, stage.name, seen.done, seen.total, seen.unit, seen.samples_per_second, seen.loss, seen.best, eta
        )

    def _pace(self, stage: _Stage, worked: float, now: float) -> float | None:
        """How much of a stage is done in a second: since it was first seen to go on, or else since it began."""
        if self._first is None and worked > 0:
            self._first = (now, worked)
        for since, before in filter(None, (self._first, (stage.since, 0.0))):
            if worked - before >= _LEAST_SHARE and now > since:
                return (worked - before) / (now - since)
        return None


def tasks(context: SparkContext) -> Look:
    """Looks at how many tasks of Spark's running jobs are done."""
    tracker = context.statusTracker()

    def look() -> StageProgress:
        jobs = [tracker.getJobInfo(number) for number in tracker.getActiveJobsIds()]
        known = [tracker.getStageInfo(number) for job in jobs if job is not None for number in job.stageIds]
        stages = [stage for stage in known if stage is not None]
        done = sum(stage.numCompletedTasks for stage in stages)
        return (
            StageProgress(done, sum(stage.numTasks for stage in stages), "tasks") if done else StageProgress()
        )  # of many jobs of a task or two

    return look
