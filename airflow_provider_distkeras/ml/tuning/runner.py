"""Runs the fits of a study, as many at a time as the cluster has slots for."""

from __future__ import annotations

import math
import statistics
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool

from pyspark import inheritable_thread_target
from pyspark.sql import SparkSession

from airflow_provider_distkeras.ml.tuning.fold_fitter import FoldFitter, ParamMap, PlannedFit
from airflow_provider_distkeras.ml.tuning.study import Study
from airflow_provider_distkeras.ml.tuning.trial import FoldFit, FoldResult, TrialParams
from airflow_provider_distkeras.spark import cluster

#: The most seconds of fits that one task is given: what a killed job may lose per slot.
_MAX_TASK_SECONDS = 4.0
#: The seconds that starting a task takes.
_TASK_START_SECONDS = 0.05


class TrialRunner:
    """Runs the fits of a study until it has no more.

    Fits that a plain task can run are given to tasks in batches. Each thread keeps a slot of the cluster busy; without a limit,
    there is one thread more, whose task is on its way when a slot becomes free.

    Args:
        spark: the session.
        study: hands out fits.
        fitter: runs single fits.
        param_map_of: returns the estimator's Params of a trial.
        parallelism: the most fits at the same time; None for as many as there are slots.
    """

    def __init__(
        self,
        spark: SparkSession,
        study: Study,
        fitter: FoldFitter,
        param_map_of: Callable[[TrialParams], ParamMap],
        parallelism: int | None = None,
    ) -> None:
        self._spark, self._study, self._fitter = spark, study, fitter
        self._param_map_of = param_map_of
        self._num_slots = cluster.slots(spark.sparkContext)
        self._spare = 1 if parallelism is None else 0
        self._parallelism = min(parallelism or self._num_slots, self._num_slots)
        self._slots = _Slots(self._num_slots + self._spare)
        self._seconds: deque[float] = deque(maxlen=9)  # of the last fits in tasks

    def run(self) -> None:
        """Run all fits. Raise what ends the study, such as DataError for folds without rows, or TrainingError by its limits."""
        threads = self._parallelism + self._spare
        with ThreadPool(threads) as pool:
            try:
                pool.map(inheritable_thread_target(self._spark)(self._work), range(threads), chunksize=1)
            finally:
                self._study.stop()  # an interrupt ends the study too

    def _work(self, _thread: int) -> None:
        try:
            while (first := self._study.ask()) is not None:
                self._run_batch([first, *self._study.ask_more(self._batch_size(1 + self._study.remaining) - 1)])
        except BaseException:
            self._study.stop()  # other threads may wait for the result of this one
            raise

    def _run_batch(self, fits: Sequence[FoldFit]) -> None:
        """Run fits and report their results: first those that one plain task can run, then the others one by one."""
        planned: list[PlannedFit] = []
        for fit in fits:
            plan = self._fitter.plan(fit, self._param_map_of(self._study.trials[fit.trial].params))
            if isinstance(plan, FoldResult):
                self._study.tell(fit, plan)
            else:
                planned.append(plan)
        if not planned:
            return
        self._fitter.summarize(planned)
        in_task = [plan for plan in planned if plan.in_task]
        if in_task:
            with self._slots.taken(1):
                results = self._fitter.fit_together(in_task)
            self._seconds.extend(result.seconds for result in results if result.error is None)
            for plan, result in zip(in_task, results, strict=True):
                self._study.tell(plan.fit, result)
        for plan in planned:
            if not plan.in_task:
                with self._slots.taken(min(plan.num_workers, self._num_slots) + self._spare):
                    result = self._fitter.fit(plan)
                self._study.tell(plan.fit, result)

    def _batch_size(self, remaining: int) -> int:
        """Return the number of fits for one task: two thirds of its share of the remaining ones, so that all tasks end together.

        It is limited to fits of some seconds, which is what a killed job may lose, and is at least what starting a task takes.
        """
        if not self._seconds:
            return 1
        seconds = max(statistics.median(self._seconds), 1e-3)
        share = max(math.ceil(2 * remaining / (3 * self._parallelism)), math.ceil(_TASK_START_SECONDS / seconds))
        return max(1, min(share, math.ceil(remaining / self._parallelism), int(_MAX_TASK_SECONDS / seconds)))


class _Slots:
    """The tasks that can run at the same time, handed out in the order of the requests."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._queue: list[object] = []
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, count: int) -> Iterator[None]:
        """Wait for so many slots, and free them at the end."""
        request = object()
        with self._changed:
            self._queue.append(request)
            self._changed.wait_for(lambda: self._queue[0] is request and self._free >= count)
            self._queue.pop(0)
            self._free -= count
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += count
                self._changed.notify_all()
