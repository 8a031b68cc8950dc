"""The fits of a search: every cell on every fold, as many at a time as the cluster has slots for."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from typing import Any

from pyspark import inheritable_thread_target
from pyspark.ml import Estimator, Model
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.functions import vector_to_array
from pyspark.ml.param import Param
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import NumericType

from airflow_provider_distkeras.contract.errors import DivergenceError, SpecError
from airflow_provider_distkeras.ml.estimator.estimator import DistKeras
from airflow_provider_distkeras.ml.estimator.evaluation import can_evaluate_outputs, sample_size
from airflow_provider_distkeras.ml.estimator.fit import FitCache, FitPlan, trainer_of
from airflow_provider_distkeras.ml.estimator.local_pool import FitRequest, LocalFitPool
from airflow_provider_distkeras.ml.estimator.model import DistKerasModel
from airflow_provider_distkeras.ml.tuning.fold_data import FoldData
from airflow_provider_distkeras.ml.tuning.samplers import Params
from airflow_provider_distkeras.ml.tuning.study import Study
from airflow_provider_distkeras.ml.tuning.trial import FoldFit, FoldResult
from airflow_provider_distkeras.spark import cluster

#: What trials of one task take together, at most: what a job that is killed may lose per slot.
_TASK_SECONDS = 4.0
#: Seconds that it takes to start a task.
_TASK_COSTS = 0.05

ParamMap = dict[Param, Any]


class TrialRunner:
    """Fits cells of an estimator on folds; use it as a context manager.

    Args:
        estimator: any estimator; a DistKeras whose cell needs one worker is fitted as a plain task.
        evaluator: measures.
        metrics: the metrics to measure, as the evaluator names them; the first decides.
        rows: the rows of every fold.
        models: gets the models by trial, if they are wanted.
    """

    def __init__(
        self,
        estimator: Estimator,
        evaluator: Evaluator,
        metrics: Sequence[str],
        rows: FoldData,
        models: dict[FoldFit, Model] | None = None,
    ) -> None:
        self._estimator, self._evaluator = estimator, evaluator
        self._metrics, self._rows, self._models = tuple(metrics), rows, models
        self._spark = rows.data.sparkSession
        self._sharing = LocalFitPool(rows.data)
        self._surveying = threading.Lock()
        self._known = FitCache()
        self._seconds: deque[float] = deque(maxlen=9)

    def __enter__(self) -> TrialRunner:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._sharing.__exit__(*exception)

    def run(self, study: Study, at_once: int | None, params_of: Callable[[Params], ParamMap]) -> None:
        """Run an study's trials until it has no more.

        Args:
            at_once: trials at the same time, at most; None for as many as there are slots.
            params_of: the Params of a cell.
        """
        slots = cluster.slots(self._spark.sparkContext)
        spare = 1 if at_once is None else 0  # a task that is on its way when a slot becomes free
        threads = min(at_once or slots, slots)
        free = _Slots(slots + spare)

        def work(_: int) -> None:
            try:
                take_turns()
            except BaseException:
                study.stop()  # others may be waiting for what this one would have ended
                raise

        def take_turns() -> None:
            while (first := study.ask()) is not None:
                batch = [first, *study.more(self._at_once(1 + study.ahead, threads) - 1)]
                cells = {trial: params_of(study.trials[trial.trial].params) for trial in batch}
                alone = {trial: fitting for trial in batch if (fitting := self._alone(cells[trial])) is not None}
                self._survey(alone)
                if alone:
                    with free.taken(1):
                        outcomes = self._fit_together(alone)
                    for trial, outcome in outcomes.items():
                        study.tell(trial, outcome)
                for trial in batch:
                    if trial not in alone:
                        with free.taken(min(self._workers(cells[trial]), slots) + spare):
                            outcome = self._fit(trial, cells[trial])
                        study.tell(trial, outcome)

        with ThreadPool(threads + spare) as pool:
            try:
                pool.map(inheritable_thread_target(self._spark)(work), range(threads + spare), chunksize=1)
            finally:
                study.stop()  # whoever interrupts the search does not want the rest of it, either

    def run_one(self, trial: FoldFit, cell: ParamMap) -> FoldResult:
        """Fit and measure; what goes wrong with a cell is part of its outcome."""
        fitting = self._alone(cell)
        return self._fit(trial, cell) if fitting is None else self._fit_together({trial: fitting})[trial]

    def _at_once(self, ahead: int, threads: int) -> int:
        """Trials that a task is given: two thirds of its share of what is ahead, so that all end together.

        But some seconds' worth at most, which is what a job that is killed may lose, and at least what a task costs.
        """
        if not self._seconds:
            return 1
        each = max(statistics.median(self._seconds), 1e-3)
        wanted = max(math.ceil(2 * ahead / (3 * threads)), math.ceil(_TASK_COSTS / each))
        return max(1, min(wanted, math.ceil(ahead / threads), int(_TASK_SECONDS / each)))

    def _workers(self, cell: ParamMap) -> int:
        """The tasks that a cell trains on at the same time."""
        if not isinstance(self._estimator, DistKeras):
            return 1
        try:
            return trainer_of(self._estimator.copy(cell)).num_workers
        except SpecError:  # it will fail when it is its turn
            return 1

    def _survey(self, alone: Mapping[FoldFit, FitPlan]) -> None:
        """Find out what the rows are like, if that is not known: from the task that reads them for these fits, if it can."""
        with self._surveying:
            if self._rows.is_known:
                return
            survey = None
            if alone:
                with suppress(Exception):  # it may be the cell's fault, and the fit will meet it again
                    survey = self._sharing.survey(next(iter(alone.values())), describes=self._rows.is_refitted)
            self._rows.learn(survey or self._rows.survey())

    def _alone(self, cell: ParamMap) -> FitPlan | None:
        """The fit, if a plain task can do and measure it; what is wrong with it, if anything, `_fit` will tell."""
        if not isinstance(self._estimator, DistKeras):
            return None
        try:
            fitting = FitPlan.of(self._estimator.copy(cell), self._rows.data, self._known)
        except Exception:
            return None
        if self._rows.is_refitted and [*fitting.estimator.feature_columns().values()] != [self._rows.features]:
            return None  # a task holds all features of a row as one
        return fitting if fitting.runs_in_one_task and self._is_known(fitting) else None

    def _fit_together(self, alone: dict[FoldFit, FitPlan]) -> dict[FoldFit, FoldResult]:
        """Fit and measure in one task."""
        keeps = self._models is not None
        started = time.perf_counter()
        try:
            wanted = [FitRequest(fitting, self._rows.cut(trial.fold, fitting.class_weights)) for trial, fitting in alone.items()]
            fits = self._sharing.run(wanted, self._metrics, keeps_weights=keeps)
        except Exception as error:
            if len(alone) > 1:  # one of them may have brought it down
                return {trial: self._fit_together({trial: fitting})[trial] for trial, fitting in alone.items()}
            fits = [error]
        outcomes = {}
        for (trial, fitting), fitted in zip(alone.items(), fits, strict=True):
            if isinstance(fitted, Exception):
                outcomes[trial] = _failed(fitted, (time.perf_counter() - started) / len(alone))
                continue
            self._seconds.append(fitted.seconds)
            if self._models is not None:
                self._models[trial] = fitting.model(fitted.members, fitted.summary)
            outcomes[trial] = self._judged(FoldResult(**fitted.measured, history=fitted.summary.history, seconds=fitted.seconds))
        return outcomes

    def _fit(self, trial: FoldFit, cell: ParamMap) -> FoldResult:
        """Fit on as many workers as the cell says, and measure; as Spark's evaluators do."""
        started, rows = time.perf_counter(), self._rows.training(trial.fold)
        try:
            estimator = self._estimator.copy(cell)
            fitting: Any = estimator
            if isinstance(estimator, DistKeras):  # what `_alone` has found out and built serves here too
                fitting = FitPlan.of(estimator, rows, self._known)
            outcome = self._measure(trial, fitting.fit(rows))
        except Exception as error:  # whatever a cell's values, its network or its tasks may raise
            return _failed(error, time.perf_counter() - started)
        return self._judged(replace(outcome, seconds=time.perf_counter() - started))

    def _judged(self, outcome: FoldResult) -> FoldResult:
        """The outcome; of one whose metric is no number, a failure."""
        decides = outcome.metrics[self._metrics[0]]
        if math.isfinite(decides):
            return outcome
        return _failed(DivergenceError(f"{self._metrics[0]} is {decides}."), outcome.seconds)

    def _measure(self, trial: FoldFit, model: Model) -> FoldResult:
        predictions = model.transform(self._rows.held_out(trial.fold))
        metric: Any = self._evaluator
        found = {
            name: self._evaluator.evaluate(predictions, {metric.metricName: name} if metric.hasParam("metricName") else None)
            for name in self._metrics
        }
        if self._models is not None:
            self._models[trial] = model
        if not isinstance(model, DistKerasModel) or model.summary is None:
            return FoldResult(found)
        return FoldResult(found, history=model.summary.history, sample=_sample(predictions, model))

    def _is_known(self, fitting: FitPlan) -> bool:
        """Whether the task itself can measure what the evaluator would."""
        return fitting.network.plan.label_sizes == (1,) and can_evaluate_outputs(
            self._evaluator, self._metrics, fitting.estimator, fitting.kind
        )


def _sample(predictions: DataFrame, model: DistKerasModel) -> list[list[float]]:
    """Some rows' labels and predictions, for classes their probabilities; none of a network that tells something else."""
    label, probability, prediction = model.getLabelCol(), model.getProbabilityCol(), model.getPredictionCol()
    columns = {name: predictions.schema[name].dataType for name in predictions.columns}
    if not isinstance(columns.get(label), NumericType) or not isinstance(columns.get(prediction), NumericType):
        return []
    said = vector_to_array(F.col(probability)) if probability in columns else F.array(F.col(prediction))
    rows = predictions.select(F.array_insert(said, 1, F.col(label).cast("double")).alias("row"))
    first = rows.orderBy(F.xxhash64("row")).limit(sample_size(1)).collect()
    return [list(row.row) for row in first]


def _failed(error: Exception, seconds: float) -> FoldResult:
    return FoldResult(error=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", seconds=seconds)


class _Slots:
    """The tasks that can run at the same time, handed out in the order they are asked for."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._queue: list[object] = []
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, count: int) -> Iterator[None]:
        """Wait for so many slots; they are free again at the end."""
        me = object()
        with self._changed:
            self._queue.append(me)
            self._changed.wait_for(lambda: self._queue[0] is me and self._free >= count)
            self._queue.pop(0)
            self._free -= count
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += count
                self._changed.notify_all()
