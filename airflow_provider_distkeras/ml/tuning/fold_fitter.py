"""Single fits of a search: an estimator with the params of a trial, fitted and evaluated on a fold."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.ml import Estimator, Model
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.functions import vector_to_array
from pyspark.ml.param import Param
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import NumericType

from airflow_provider_distkeras.contract.errors import DistKerasError, DivergenceError
from airflow_provider_distkeras.ml.estimator.estimator import DistKeras
from airflow_provider_distkeras.ml.estimator.evaluation import collected, measurement_of, sample_size
from airflow_provider_distkeras.ml.estimator.fit import FitPlan
from airflow_provider_distkeras.ml.estimator.local_pool import FitRequest, FitResult, LocalFitPool
from airflow_provider_distkeras.ml.estimator.model import DistKerasModel
from airflow_provider_distkeras.ml.estimator.network_cache import NetworkCache
from airflow_provider_distkeras.ml.network.metrics import Measurement
from airflow_provider_distkeras.ml.tuning.fold_data import FoldData
from airflow_provider_distkeras.ml.tuning.trial import FoldFit, FoldResult

logger = logging.getLogger(__name__)

#: An estimator's Params with the values of a trial.
ParamMap = dict[Param, Any]


@dataclass(frozen=True)
class PlannedFit:
    """A fit that is ready to run.

    Attributes:
        fit: the trial and the fold.
        estimator: with the params of the trial.
        plan: the plan of a DistKeras; None for another estimator.
        measurement: what computes the metrics in place of the evaluator, where that can be: of several labels in any case.
        in_task: whether a plain Spark task runs and evaluates it.
    """

    fit: FoldFit
    estimator: Estimator
    plan: FitPlan | None = None
    measurement: Measurement | None = None
    in_task: bool = False

    @property
    def num_workers(self) -> int:
        """The Spark tasks that it trains in at the same time."""
        return 1 if self.plan is None else self.plan.trainer.num_workers


class FoldFitter:
    """Fits an estimator with the params of trials on folds, and evaluates it; a context manager that frees the stored rows.

    Args:
        estimator: any estimator; a DistKeras whose trial needs one worker is fitted in a plain task.
        evaluator: of predictions.
        metrics: the metrics to compute, as the evaluator names them; the first decides.
        rows: the rows of every fold.
        models: gets the model of each fit; None drops them.
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
        self._pool = LocalFitPool(rows.data)
        self._networks = NetworkCache()
        self._summary_lock = threading.Lock()

    def __enter__(self) -> FoldFitter:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._pool.__exit__(*exception)

    def plan(self, fit: FoldFit, param_map: ParamMap) -> PlannedFit | FoldResult:
        """Return the fit of a trial on a fold, validated; or its failure, if it cannot be validated."""
        started = time.perf_counter()
        try:
            estimator = self._estimator.copy(param_map)
            if not isinstance(estimator, DistKeras):
                return PlannedFit(fit, estimator)
            plan = FitPlan.of(estimator, self._rows.data, self._networks)
            measurement = measurement_of(self._evaluator, self._metrics, plan.params, plan.kind, plan.tasks_of_labels)
        except Exception as error:  # a user's network may raise anything; one trial must not stop the others
            return FoldResult.failure(error, time.perf_counter() - started)
        return PlannedFit(fit, estimator, plan, measurement, in_task=measurement is not None and self._fits_in_task(plan))

    def run(self, fit: FoldFit, param_map: ParamMap) -> FoldResult:
        """Plan, fit and evaluate one trial on one fold, after `summarize`; an error is part of the result."""
        planned = self.plan(fit, param_map)
        return planned if isinstance(planned, FoldResult) else self.fit(planned)

    def summarize(self, fits: Sequence[PlannedFit]) -> None:
        """Give the rows of the folds their summary, if they have none: from the task that reads them for a fit, if one does.

        Raises:
            DataError: a fold has no rows to train on, or none to be evaluated on.
        """
        with self._summary_lock:
            if self._rows.has_summary:
                return
            plan = next((fit.plan for fit in fits if fit.in_task), None)
            summary = None
            if plan is not None:
                try:
                    summary = self._pool.summarize(plan, with_moments=self._rows.has_fold_features)
                except (
                    DistKerasError,
                    PySparkException,
                    Py4JJavaError,
                ) as error:  # the fit will report it
                    logger.debug("the rows are counted by Spark: %s", error)
            self._rows.set_summary(summary or self._rows.summarize())

    def fit(self, planned: PlannedFit) -> FoldResult:
        """Fit and evaluate; an error is part of the result."""
        if planned.in_task:
            return self.fit_together([planned])[0]
        started, rows = time.perf_counter(), self._rows.training(planned.fit.fold)
        try:
            model = planned.estimator.fit(rows) if planned.plan is None else planned.plan.fit(rows)
            result = self._evaluate(planned, model)
        except Exception as error:  # a network, an evaluator or a task may raise anything; one trial must not stop the others
            return FoldResult.failure(error, time.perf_counter() - started)
        return self._checked(replace(result, seconds=time.perf_counter() - started))

    def fit_together(self, fits: Sequence[PlannedFit]) -> list[FoldResult]:
        """Fit and evaluate in one plain task, one after the other; each alone, if the task fails."""
        started = time.perf_counter()
        results: Sequence[FitResult | Exception]
        try:
            requests = [self._request(planned) for planned in fits]
            results = self._pool.run(requests, returns_weights=self._models is not None)
        except Exception as error:  # one of the fits may have ended the task's process
            if len(fits) > 1:
                return [self.fit(planned) for planned in fits]
            results = [error]
        seconds = (time.perf_counter() - started) / len(fits)
        return [self._collect(planned, result, seconds) for planned, result in zip(fits, results, strict=True)]

    def _request(self, planned: PlannedFit) -> FitRequest:
        assert planned.plan is not None  # it is `in_task`
        plan = planned.plan
        rows = self._rows.fold_slice(planned.fit.fold, plan.class_weights, plan.class_sampling)
        return FitRequest(plan, rows, planned.measurement)

    def _collect(self, planned: PlannedFit, result: FitResult | Exception, seconds: float) -> FoldResult:
        """Return the result of a fit in a task, and collect its model, if models are collected."""
        if isinstance(result, Exception):
            return FoldResult.failure(result, seconds)
        if self._models is not None and planned.plan is not None:
            self._models[planned.fit] = planned.plan.model(result.members, result.summary)
        return self._checked(FoldResult(result.metrics, None, result.seconds, result.summary.history, result.sample))

    def _checked(self, result: FoldResult) -> FoldResult:
        """Return the result, or a failure if the metric that decides is not finite."""
        value = result.metrics[self._metrics[0]]
        if math.isfinite(value):
            return result
        return FoldResult.failure(DivergenceError(f"{self._metrics[0]} is {value}."), result.seconds)

    def _evaluate(self, planned: PlannedFit, model: Model) -> FoldResult:
        """Evaluate a model on the held-out rows of its fold: by Spark, or of several labels in this process."""
        held_out, plan = self._rows.held_out(planned.fit.fold), planned.plan
        if plan is not None and plan.tasks_of_labels and planned.measurement is not None:
            assert isinstance(model, DistKerasModel)  # it has a plan
            metrics, sample = _measure(planned.measurement, plan, model, held_out), []
        else:
            predictions = model.transform(held_out)
            evaluator: Any = self._evaluator
            chosen = evaluator.hasParam("metricName")
            metrics = {
                name: evaluator.evaluate(predictions, {evaluator.metricName: name} if chosen else None) for name in self._metrics
            }
            sample = _sample(predictions, model) if isinstance(model, DistKerasModel) else []
        if self._models is not None:
            self._models[planned.fit] = model
        history = model.summary.history if isinstance(model, DistKerasModel) and model.summary is not None else {}
        return FoldResult(metrics, history=history, sample=sample)

    def _fits_in_task(self, plan: FitPlan) -> bool:
        """Return whether a plain task can train the fit, and give its rows to what computes the metrics."""
        if self._rows.has_fold_features and [*plan.params.feature_columns().values()] != [self._rows.features]:
            return False  # a task maps all features of a row as one array
        return plan.is_single_task and (plan.network.plan.label_sizes == (1,) or bool(plan.tasks_of_labels))


def _measure(measurement: Measurement, plan: FitPlan, model: DistKerasModel, held_out: DataFrame) -> dict[str, float]:
    """Return the metrics of a model of several labels."""
    weights = F.col(plan.params.getWeightCol()) if measurement.weighted else F.lit(1.0)
    return measurement(*collected(held_out, plan.labels(held_out), model.outputs(held_out), weights))


def _sample(predictions: DataFrame, model: DistKerasModel) -> list[list[float]]:
    """Return some rows' labels and predictions, for classes their probabilities; none of a network with other outputs."""
    label, probability, prediction = model.getLabelCol(), model.getProbabilityCol(), model.getPredictionCol()
    types = {name: predictions.schema[name].dataType for name in predictions.columns}
    if not isinstance(types.get(label), NumericType) or not isinstance(types.get(prediction), NumericType):
        return []
    values = vector_to_array(F.col(probability)) if probability in types else F.array(F.col(prediction))
    rows = predictions.select(F.array_insert(values, 1, F.col(label).cast("double")).alias("row"))
    return [list(row.row) for row in rows.orderBy(F.xxhash64("row")).limit(sample_size(1)).collect()]
