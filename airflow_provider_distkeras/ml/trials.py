"""The fits of a search: every cell on every fold, as many at a time as the cluster has slots for."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.pool import ThreadPool
from typing import Any

from pyspark import inheritable_thread_target
from pyspark.ml import Estimator, Model
from pyspark.ml.evaluation import (
    BinaryClassificationEvaluator,
    Evaluator,
    MulticlassClassificationEvaluator,
    RegressionEvaluator,
)
from pyspark.ml.param import Param
from pyspark.sql import DataFrame

from airflow_provider_distkeras.contract.errors import DivergenceError, SpecError
from airflow_provider_distkeras.ml.estimator import DistKeras
from airflow_provider_distkeras.ml.fitting import Fitting, trainer_of
from airflow_provider_distkeras.ml.predict import Kind
from airflow_provider_distkeras.ml.sharing import Sharing
from airflow_provider_distkeras.training import cluster
from airflow_provider_distkeras.training.summary import TrainingSummary

logger = logging.getLogger(__name__)

#: Evaluators whose metrics `ml.metrics` knows, with the columns they must read.
_KNOWN = (RegressionEvaluator, BinaryClassificationEvaluator, MulticlassClassificationEvaluator)

ParamMap = dict[Param, Any]


@dataclass(frozen=True)
class FoldRows:
    """The rows of a fold: to train on, and to measure on."""

    name: str
    training: DataFrame
    held_out: DataFrame


@dataclass(frozen=True)
class Trial:
    """One fit of a search: the cell, by its place in the grid, and the fold, by its number."""

    cell: int
    fold: int


@dataclass(frozen=True)
class Outcome:
    """What a trial came to.

    Attributes:
        metrics: by name; empty if it failed.
        error: why it failed.
        seconds: it took.
        history: per epoch, what `TrainingSummary` says.
        model: the model, if models are kept.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    seconds: float = 0.0
    history: dict[str, list[float]] = field(default_factory=dict)
    model: Model | None = None


class Trials:
    """Fits an estimator's cells on folds; use it as a context manager.

    Args:
        estimator: any estimator; a DistKeras whose cell needs one worker is fitted as a plain task.
        cells: the Params of every cell.
        evaluator: measures; its metric is the first of `metrics`.
        metrics: the metrics to measure, as the evaluator names them.
        folds: the rows of every fold.
        keeps_models: whether the models are wanted.
    """

    def __init__(
        self,
        estimator: Estimator,
        cells: Sequence[ParamMap],
        evaluator: Evaluator,
        metrics: Sequence[str],
        folds: Sequence[FoldRows],
        keeps_models: bool = False,
    ) -> None:
        self._estimator, self._cells, self._evaluator = estimator, cells, evaluator
        self._metrics, self._folds, self._keeps_models = tuple(metrics), folds, keeps_models
        self._spark = folds[0].training.sparkSession
        self._sharing = Sharing(self._spark)
        self._sizes: dict[str, int] = {}

    def __enter__(self) -> Trials:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._sharing.__exit__(*exception)

    def run(self, trials: Sequence[Trial], at_once: int | None, ended: Callable[[Trial, Outcome], None]) -> dict[Trial, Outcome]:
        """Run trials in about this order.

        Args:
            trials: what to run.
            at_once: how many at the same time; None for as many as there are slots.
            ended: called after each of them, one call at a time; what it raises ends the search.
        """
        slots = cluster.slots(self._spark.sparkContext)
        free, lock, found = _Slots(slots), threading.Lock(), dict[Trial, Outcome]()

        def run_one(trial: Trial) -> None:
            with free.taken(min(self._workers(trial.cell), slots)):
                outcome = self.run_one(trial)
            with lock:
                found[trial] = outcome
                ended(trial, outcome)

        with ThreadPool(max(1, min(at_once or slots, len(trials)))) as pool:
            for _ in pool.imap_unordered(inheritable_thread_target(self._spark)(run_one), trials):
                pass
        return found

    def run_one(self, trial: Trial) -> Outcome:
        """Fit and measure; what goes wrong with a cell is part of its outcome."""
        started, rows = time.perf_counter(), self._folds[trial.fold]
        try:
            outcome = self._fit(self._cells[trial.cell], rows)
            if not math.isfinite(outcome.metrics[self._metrics[0]]):
                raise DivergenceError(f"{self._metrics[0]} is {outcome.metrics[self._metrics[0]]}.")
        except Exception as error:  # whatever a cell's values, its network or its tasks may raise
            outcome = Outcome(error=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            logger.warning("Cell %d failed on fold %d: %s", trial.cell, trial.fold, outcome.error)
        return replace(outcome, seconds=time.perf_counter() - started)

    def _workers(self, cell: int) -> int:
        """The tasks that a cell trains on at the same time."""
        if not isinstance(self._estimator, DistKeras):
            return 1
        try:
            return trainer_of(self._estimator.copy(self._cells[cell])).num_workers
        except SpecError:  # it will fail when it is its turn
            return 1

    def _fit(self, cell: ParamMap, rows: FoldRows) -> Outcome:
        if not isinstance(self._estimator, DistKeras):
            return self._outcome(self._estimator.fit(rows.training, cell), rows)
        fitting = Fitting.of(self._estimator.copy(cell), rows.training, self._sizes)
        if not (fitting.is_alone and self._is_known(fitting)):
            return self._outcome(fitting.fit(rows.training), rows)
        metrics, summary, members = self._sharing.run(
            fitting, rows.name, rows.training, rows.held_out, self._metrics, keeps_weights=self._keeps_models
        )
        model = fitting.model(members, summary) if self._keeps_models else None
        return Outcome(metrics, history=summary.history, model=model)

    def _outcome(self, model: Model, rows: FoldRows) -> Outcome:
        predictions = model.transform(rows.held_out)
        metric: Any = self._evaluator
        metrics = {
            name: self._evaluator.evaluate(predictions, {metric.metricName: name} if metric.hasParam("metricName") else None)
            for name in self._metrics
        }
        summary = getattr(model, "summary", None)
        history = summary.history if isinstance(summary, TrainingSummary) else {}
        return Outcome(metrics, history=history, model=model if self._keeps_models else None)

    def _is_known(self, fitting: Fitting) -> bool:
        """Whether the task itself can measure what the evaluator would."""
        evaluator: Any = self._evaluator
        if type(evaluator) not in _KNOWN or fitting.kind is Kind.ARRAYS or fitting.network.plan.label_sizes != (1,):
            return False
        if evaluator.isDefined("weightCol") or (type(evaluator) is RegressionEvaluator) != (fitting.kind is Kind.NUMBER):
            return False
        estimator = fitting.estimator
        said = "rawPredictionCol" if type(evaluator) is BinaryClassificationEvaluator else "predictionCol"
        columns = evaluator.getOrDefault("labelCol"), evaluator.getOrDefault(said)
        return columns == (estimator.getLabelCol(), estimator.getOrDefault(said))


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
