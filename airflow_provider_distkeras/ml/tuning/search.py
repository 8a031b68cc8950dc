"""The search of a train job: cells cross-validated, the best measured on rows set aside and refitted on all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame

from airflow_provider_distkeras.contract.params import trainer_fields
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.ml.data.feature_statistics import FeaturePreparation
from airflow_provider_distkeras.ml.estimator.estimator import DistKeras
from airflow_provider_distkeras.ml.estimator.evaluation import make_evaluator
from airflow_provider_distkeras.ml.estimator.model import DistKerasModel
from airflow_provider_distkeras.ml.tuning.fold_data import FoldData
from airflow_provider_distkeras.ml.tuning.journal import Journal
from airflow_provider_distkeras.ml.tuning.progress import SearchProgress
from airflow_provider_distkeras.ml.tuning.runner import TrialRunner
from airflow_provider_distkeras.ml.tuning.samplers import AshaSampler, GridSampler, Sampler, TpeSampler
from airflow_provider_distkeras.ml.tuning.splitters import Splitter
from airflow_provider_distkeras.ml.tuning.study import Study, StudyLimits
from airflow_provider_distkeras.ml.tuning.trial import FoldFit, FoldResult, Trial
from airflow_provider_distkeras.spark import cluster
from airflow_provider_distkeras.spark.progress import ProgressReporter
from airflow_provider_distkeras.training.summary import TrainingSummary

logger = logging.getLogger(__name__)

#: Columns that a prepared dataset may have, each with what it becomes.
_WEIGHT, _VALIDATION, _FOLD, _GROUP, _TIME = "weight", "validation", "fold", "group", "time"


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        model: the best cell's network, refitted on all rows.
        best: the best cell; trials: all of them, in the order they were begun.
        best_params: the best cell's values and those that all cells share.
        larger_is_better: whether a larger metric is better.
        test_result: what the best cell came to on the rows set aside, if some were.
    """

    model: DistKerasModel
    best: Trial
    trials: list[Trial]
    best_params: dict[str, Any]
    larger_is_better: bool
    test_result: FoldResult | None

    @property
    def summary(self) -> TrainingSummary:
        """The account of the refit."""
        assert self.model.summary is not None  # a refit that diverges raises
        return self.model.summary


def search(
    data: DataFrame,
    spec: TrainSpec,
    details: Mapping[str, Any] | None = None,
    journal: Journal | None = None,
    reporter: ProgressReporter | None = None,
    rows: int | None = None,
) -> SearchResult:
    """Cross-validate cells and refit the best on all rows.

    Args:
        data: `features` and `label`; perhaps `weight`, `validation`, and one of `fold`, `group` and `time`.
        spec: the cells, the folds and the metrics.
        details: how the features were prepared, as a preprocess manifest's details tell.
        journal: where fits are recorded, and those of an earlier search are known from.
        reporter: whom to tell how far it is; rows: how many there are, for it to tell the speed.

    Raises:
        DivergenceError, SpecError, DataError, TrainingError: the refit, or every cell, failed; or more cells than may.
    """
    estimator = DistKeras(spec.trainer, spec.trainer_params, **spec.hyperparameters, seed=spec.seed, backend=spec.backend)
    for column, param in ((_WEIGHT, "weightCol"), (_VALIDATION, "validationIndicatorCol")):
        if column in data.columns:
            estimator.setParams(**{param: column})
    evaluator = make_evaluator(spec.evaluator, spec.metric_name)
    folds = _folds(spec, data.columns)
    logger.info("%s search, %d folds, metric %s", spec.search, spec.num_folds, spec.metric_name)
    study = Study(
        _strategy(spec, journal, larger_is_better=evaluator.isLargerBetter()),
        spec.num_folds,
        spec.metric_name,
        larger_is_better=evaluator.isLargerBetter(),
        limits=StudyLimits(spec.max_failed_cells, spec.max_minutes and spec.max_minutes * 60),
        journal=journal,
    )
    params_of = lambda params: {estimator.getParam(name): value for name, value in params.items()}  # noqa: E731 - used twice
    asked = [*folds.folds, *([folds.test_fold] if folds.test_fold else [])]
    preparation = FeaturePreparation.of(details or {})
    at_once = _fits_at_once(spec, cluster.slots(data.sparkSession.sparkContext))
    outlook = SearchProgress(
        reporter or ProgressReporter(), study, spec.metric_name, spec.num_folds, rows, at_once, tests=bool(folds.test_fold)
    )
    outlook.begin_search()
    tested = None
    with (
        FoldData(data, folds, asked, "features", preparation) as dealt,
        TrialRunner(estimator, evaluator, spec.metric_names, dealt) as trials,
    ):
        trials.run(study, spec.parallelism, params_of)
        number = study.best()
        best = study.trials[number]
        if folds.test_fold:
            outlook.begin_test()
            tested = trials.run_one(FoldFit(number, spec.num_folds), params_of(best.params))
    logger.info("best %s %.4f with %s", spec.metric_name, best.mean(spec.metric_name), best.params or "the one cell")
    outlook.begin_refit()
    model = estimator.fit(data, params_of(best.params))
    logger.info("%s", model.summary)
    best_params = {**spec.trainer_params, **spec.hyperparameters, **best.params}
    return SearchResult(model, best, study.trials, best_params, evaluator.isLargerBetter(), tested)


def _fits_at_once(spec: TrainSpec, slots: int) -> int:
    """Cells that are trained at the same time, about: a grid may have cells of other numbers of workers."""
    known = trainer_fields(spec.trainer).get("num_workers")
    workers = spec.trainer_params.get("num_workers", known.default if known else 1)
    return max(1, min(spec.parallelism or slots, slots) // workers)


def _folds(spec: TrainSpec, columns: list[str]) -> Splitter:
    """How rows are dealt: as a column of the dataset says, if it has one."""
    return Splitter(
        num_folds=spec.num_folds,
        seed=spec.seed,
        fold_col=_FOLD if _FOLD in columns else None,
        group_col=_GROUP if _GROUP in columns else None,
        time_col=_TIME if _TIME in columns else None,
        stratified="label" if spec.stratified else None,
        test_share=spec.test_share,
        validation_col=_VALIDATION if _VALIDATION in columns else None,
    )


def _strategy(spec: TrainSpec, journal: Journal | None, *, larger_is_better: bool) -> Sampler:
    if spec.search == "optuna":
        begun = journal.cells if journal else []
        return TpeSampler(spec.distributions, spec.num_cells or 0, spec.seed, larger_is_better, begun)
    if spec.halving_factor is None:
        return GridSampler(spec.cells())
    num_epoch = spec.trainer_params.get("num_epoch", trainer_fields(spec.trainer)["num_epoch"].default)
    return AshaSampler(spec.cells(), num_epoch, spec.halving_factor, larger_is_better)
