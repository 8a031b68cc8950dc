"""The search of a train job: trials measured on folds or once, the best one tested on rows set aside and refitted on all rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pyspark.ml import Model
from pyspark.sql import DataFrame

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import is_import_path
from airflow_provider_distkeras.contract.label_columns import label_names, label_roles
from airflow_provider_distkeras.contract.params.trainers import trainer_fields
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.contract.specs.feature_scaling import FeatureScaling
from airflow_provider_distkeras.ml.data.feature_statistics import FeaturePreparation
from airflow_provider_distkeras.ml.estimator.estimator import DistKeras
from airflow_provider_distkeras.ml.estimator.evaluation import MetricEvaluator
from airflow_provider_distkeras.ml.estimator.model import DistKerasModel
from airflow_provider_distkeras.ml.tuning.fold_data import FoldData
from airflow_provider_distkeras.ml.tuning.fold_fitter import FoldFitter
from airflow_provider_distkeras.ml.tuning.journal import Journal
from airflow_provider_distkeras.ml.tuning.progress import SearchProgress
from airflow_provider_distkeras.ml.tuning.runner import TrialRunner
from airflow_provider_distkeras.ml.tuning.samplers import AshaSampler, GridSampler, Sampler, TpeSampler
from airflow_provider_distkeras.ml.tuning.splitters import Splitter
from airflow_provider_distkeras.ml.tuning.study import Study, StudyLimits
from airflow_provider_distkeras.ml.tuning.trial import FoldFit, FoldResult, Trial
from airflow_provider_distkeras.spark import cluster
from airflow_provider_distkeras.spark.columns import mark_standardized
from airflow_provider_distkeras.spark.imports import import_object
from airflow_provider_distkeras.spark.progress import ProgressReporter
from airflow_provider_distkeras.training.summary import TrainingSummary

logger = logging.getLogger(__name__)

#: Standard deviation of labels beyond which a network may not learn them at usual rates.
_WIDE = 100.0
#: Columns of a prepared dataset besides features and label; each is there or not.
_WEIGHT, _VALIDATION, _FOLD, _GROUP, _TIME = "weight", "validation", "fold", "group", "time"


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Attributes:
        model: the best trial's network, refitted on all rows unless the spec says otherwise.
        best: the best trial.
        trials: all trials, in the order they were begun.
        best_params: the best trial's values and those that all trials share.
        larger_is_better: whether a larger metric is better.
        test_result: the best trial's result on the rows set aside; None if none are.
    """

    model: DistKerasModel
    best: Trial
    trials: list[Trial]
    best_params: dict[str, Any]
    larger_is_better: bool
    test_result: FoldResult | None

    @property
    def summary(self) -> TrainingSummary:
        """The summary of the refit."""
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
    """Measure trials and refit the best one on all rows; a single one that no rows are set aside for is just fitted.

    Args:
        data: `features` and `label`, or a column for each of several labels; perhaps `weight`, `validation`, and one of `fold`,
            `group` and `time`.
        spec: the trials, the folds and the metrics.
        details: how the features were prepared, as the details of a preprocess manifest.
        journal: records fits, and gives those of an earlier search.
        reporter: of the job's progress.
        rows: the number of rows, for the speed in the progress.

    Raises:
        DivergenceError, SpecError, DataError, TrainingError: the refit or every trial failed, or more trials than allowed.
    """
    data = _with_scaling(data, spec, details or {})
    labels = label_roles(label_names((details or {}).get("label_col") or "label"))
    if spec.stratified and len(labels) > 1:
        raise SpecError(f"stratified: the dataset has {len(labels)} labels, none of which decides a row's fold; leave it out.")
    estimator = _make_estimator(spec, data.columns, labels)
    study = _make_study(spec, journal)
    splitter = make_splitter(spec, data.columns)
    parallel_fits = _parallel_fits(spec, cluster.slots(data.sparkSession.sparkContext))
    progress = SearchProgress(
        reporter or ProgressReporter(), study, spec.metric_name, len(splitter.folds), rows, parallel_fits,
        has_test=bool(splitter.test_fold), has_refit=spec.refit,
    )  # fmt: skip
    test_result, model = None, None
    if splitter.folds:
        best, test_result, model = _measure(estimator, study, splitter, progress, data, spec, details)
    else:
        best = _only_trial(spec)
    if model is None:
        progress.begin_refit()
        model = estimator.fit(data, estimator.param_map(best.params))
    logger.info("%s", model.summary)
    best_params = {**spec.trainer_params, **spec.hyperparameters, **best.params}
    return SearchResult(model, best, study.trials or [best], best_params, spec.larger_is_better, test_result)


def _measure(
    estimator: DistKeras,
    study: Study,
    splitter: Splitter,
    progress: SearchProgress,
    data: DataFrame,
    spec: TrainSpec,
    details: Mapping[str, Any] | None,
) -> tuple[Trial, FoldResult | None, DistKerasModel | None]:
    """Return the best trial, its result on the rows set aside for it alone, and its model, where it is not fitted again."""
    logger.info("%s search, folds: %d, metric %s", spec.search, spec.num_folds, spec.metric_name)
    if spec.initial_model:
        logger.warning(
            "initial_model may have been trained on rows that this search measures on: then metrics are better than on new rows. "
            "Compare models by rows that are newer than both, as a DistKerasPromoteOperator does."
        )
    progress.begin_search()
    folds = [*splitter.folds, *([splitter.test_fold] if splitter.test_fold else [])]
    evaluator = _make_evaluator(spec, data.columns)
    # A model that is kept takes features as the pipeline makes them: by the statistics of all rows.
    preparation = FeaturePreparation.of(details or {}) if spec.refit else None
    models: dict[FoldFit, Model] | None = None if spec.refit else {}
    with (
        FoldData(data, splitter, folds, "features", preparation) as fold_data,
        FoldFitter(estimator, evaluator, spec.metric_names, fold_data, models) as fitter,
    ):
        TrialRunner(data.sparkSession, study, fitter, estimator.param_map, spec.parallelism).run()
        number = study.best_number()
        best, test_result, model = study.trials[number], None, None
        if splitter.test_fold:
            progress.begin_test()
            test_result = fitter.run(FoldFit(number, spec.num_folds), estimator.param_map(best.params))
        if models is not None:  # an earlier attempt's fit has left its result only
            model = models.get(FoldFit(number, 0)) or estimator.fit(fold_data.training(0), estimator.param_map(best.params))
    logger.info("best %s %.4f with %s", spec.metric_name, best.mean(spec.metric_name), best.params or "the params as they are")
    return best, test_result, cast("DistKerasModel | None", model)


def _only_trial(spec: TrainSpec) -> Trial:
    """Return the only trial, where no rows are set aside to measure it. Raise SpecError if there are several."""
    trials = spec.trials()
    if len(trials) != 1:
        count = f"{len(trials)} trials" if trials else "optuna"
        raise SpecError(
            f"num_folds: no rows are set aside, by which {count} could be compared. Set test_share, such as 0.2, more folds, or "
            "validation_col in the preprocess task."
        )
    logger.warning("No rows are set aside: nothing is measured. Set test_share, more folds, or validation_col in preprocessing.")
    return Trial(trials[0])


def make_splitter(spec: TrainSpec, columns: list[str]) -> Splitter:
    """Return the splitter of a spec: by a column of the dataset, if it has one for that."""
    return Splitter(
        num_folds=spec.num_folds,
        seed=spec.seed,
        fold_col=_FOLD if _FOLD in columns else None,
        group_col=_GROUP if _GROUP in columns else None,
        time_col=_TIME if _TIME in columns else None,
        stratified="label" if spec.stratified else None,
        test_share=spec.test_share,
        gap=spec.fold_gap,
        validation_col=_VALIDATION if _VALIDATION in columns else None,
    )


def _with_scaling(data: DataFrame, spec: TrainSpec, details: Mapping[str, Any]) -> DataFrame:
    """Return the data with a mark if their features were standardized, by which labels are, too; else warn of labels' unit."""
    if FeatureScaling.of(details.get("scaling")).standardizes:
        return mark_standardized(data, "features")
    warn_of_label_unit(spec, details)
    return data


def warn_of_label_unit(spec: TrainSpec, details: Mapping[str, Any]) -> None:
    """Warn of labels in a unit in which a network hardly learns, if nothing is said of a transform and none is the default."""
    profile = details.get("profile", {})
    std = max(profile.get(name, {}).get("std", 0.0) for name in label_names(details.get("label_col") or "label"))
    unset = all("label_transform" not in values for values in (spec.hyperparameters, spec.distributions))
    if unset and spec.evaluator == "regression" and std > _WIDE:
        logger.warning(
            "Labels have a standard deviation of %.4g: a network that learns them as they are may learn little at usual rates. "
            "Set label_transform='standardize' among the hyperparameters, or 'none' if they are to stay so.", std,
        )  # fmt: skip


def _make_estimator(spec: TrainSpec, columns: list[str], labels: Mapping[str, str]) -> DistKeras:
    estimator = DistKeras(
        spec.trainer, spec.trainer_params, **spec.hyperparameters, seed=spec.seed, backend=spec.backend,
        initial_model=spec.initial_model,
    )  # fmt: skip
    if len(labels) > 1:
        estimator.setParams(labelCols={name: column for column, name in labels.items()})
    for column, param in ((_WEIGHT, "weightCol"), (_VALIDATION, "validationIndicatorCol")):
        if column in columns:
            estimator.setParams(**{param: column})
    return estimator


def _make_evaluator(spec: TrainSpec, columns: list[str]) -> MetricEvaluator:
    """Return the evaluator, which weighs rows as training does. Raise SpecError for a metric that cannot be imported."""
    evaluator = MetricEvaluator(spec.evaluator, spec.metric_name, spec.metric_direction)
    for name in filter(is_import_path, spec.metric_names):
        import_object(name, "metric")
    return evaluator.setWeightCol(_WEIGHT) if _WEIGHT in columns else evaluator


def _make_study(spec: TrainSpec, journal: Journal | None) -> Study:
    larger_is_better = spec.larger_is_better
    limits = StudyLimits(spec.max_failed_trials, spec.max_minutes and spec.max_minutes * 60)
    sampler = _make_sampler(spec, journal, larger_is_better)
    return Study(sampler, spec.num_folds, spec.metric_name, larger_is_better=larger_is_better, limits=limits, journal=journal)


def _make_sampler(spec: TrainSpec, journal: Journal | None, larger_is_better: bool) -> Sampler:
    if spec.search == "optuna":
        begun = journal.begun if journal else []
        return TpeSampler(spec.distributions, spec.num_trials or 0, spec.seed, larger_is_better, begun)
    if spec.halving_factor is None:
        return GridSampler(spec.trials())
    num_epoch = spec.trainer_params.get("num_epoch", trainer_fields(spec.trainer)["num_epoch"].default)
    return AshaSampler(spec.trials(), num_epoch, spec.halving_factor, larger_is_better)


def _parallel_fits(spec: TrainSpec, slots: int) -> int:
    """Return the fits that run at the same time, about: trials may vary the number of workers."""
    field = trainer_fields(spec.trainer).get("num_workers")
    workers = spec.trainer_params.get("num_workers", field.default if field else 1)
    return max(1, min(spec.parallelism or slots, slots) // workers)
