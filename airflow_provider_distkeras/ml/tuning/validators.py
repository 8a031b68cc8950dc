"""Spark ML's validators on the whole cluster, with features prepared anew by the statistics of each fold's training rows."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from pyspark import keyword_only
from pyspark.ml import Estimator, Model, tuning
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasCollectSubModels, HasParallelism
from pyspark.ml.util import DefaultParamsReader, MLReader
from pyspark.sql import DataFrame

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import integer, json_value, mapping_of, number
from airflow_provider_distkeras.ml.data.feature_statistics import FeaturePreparation
from airflow_provider_distkeras.ml.estimator.estimator import DistKeras
from airflow_provider_distkeras.ml.tuning.fold_data import FoldData
from airflow_provider_distkeras.ml.tuning.fold_fitter import FoldFitter
from airflow_provider_distkeras.ml.tuning.runner import TrialRunner
from airflow_provider_distkeras.ml.tuning.samplers import GridSampler
from airflow_provider_distkeras.ml.tuning.splitters import Splitter
from airflow_provider_distkeras.ml.tuning.study import Study
from airflow_provider_distkeras.ml.tuning.trial import FoldFit


class HasFolds(Params):
    """How rows are split into folds, and how their features were prepared."""

    preparation: Param = Param(
        Params._dummy(),
        "preparation",
        "How the features were prepared: 'scaling' and 'layout' of a preprocess manifest's details.",
        typeConverter=partial(mapping_of(json_value), "preparation"),
    )
    stratified: Param = Param(
        Params._dummy(),
        "stratified",
        "Whether every fold gets the same share of each label.",
        typeConverter=TypeConverters.toBoolean,
    )
    groupCol: Param = Param(
        Params._dummy(), "groupCol", "A column whose equal values stay in one fold.", typeConverter=TypeConverters.toString
    )
    foldGap: Param = Param(
        Params._dummy(),
        "foldGap",
        "With timeCol, how long before the rows that it is evaluated on a fold trains: seconds, or numbers.",
        typeConverter=TypeConverters.toFloat,
    )
    timeCol: Param = Param(
        Params._dummy(),
        "timeCol",
        "A column to order by: a fold trains on rows before those that it is evaluated on.",
        typeConverter=TypeConverters.toString,
    )

    def _value(self, name: str) -> Any:
        """Return a Param's value, None if it has none."""
        return self.getOrDefault(name) if self.isDefined(name) else None


class Validator(HasFolds, tuning._ValidatorParams, HasParallelism, HasCollectSubModels):
    """Base of both validators: fits every fold of every trial, side by side, and the best trial on all rows.

    A trial is one of estimatorParamMaps. As many fits run at once as the cluster has slots; those of one worker as plain tasks
    on rows that every machine reads once. A trial that fails or diverges ranks last and does not stop the others.
    """

    def search(self, dataset: DataFrame, models: dict[FoldFit, Model] | None = None) -> Study:
        """Fit every trial on every fold, and none on all rows.

        Args:
            dataset: the rows.
            models: gets the model of each fit; None drops them. A trial's number is its index in estimatorParamMaps.

        Returns:
            The study, with the results of every trial.
        """
        estimator, param_maps, evaluator = self.getEstimator(), self.getEstimatorParamMaps(), self.getEvaluator()
        _check_param_maps(param_maps)
        if self.isSet("parallelism"):
            integer(1)("parallelism", self.getParallelism())
        splitter = self._splitter()
        preparation = FeaturePreparation.of(self.getOrDefault("preparation")) if self.isDefined("preparation") else None
        features = estimator.getOrDefault("featuresCol") if estimator.hasParam("featuresCol") else "features"
        sampler = GridSampler([{"index": index} for index in range(len(param_maps))])
        study = Study(sampler, len(splitter.folds), self._metric(), larger_is_better=evaluator.isLargerBetter())
        parallelism = self.getParallelism() if self.isSet("parallelism") else None
        with (
            FoldData(dataset, splitter, splitter.folds, features, preparation) as rows,
            FoldFitter(estimator, evaluator, [self._metric()], rows, models) as fitter,
        ):
            TrialRunner(dataset.sparkSession, study, fitter, lambda params: param_maps[params["index"]], parallelism).run()
        return study

    def _splitter(self) -> Splitter:
        """Return how rows are split."""
        raise NotImplementedError

    def _fit_best(self, dataset: DataFrame) -> tuple[Model, Study, list[list[Any]] | None]:
        """Return the best trial's model, the study, and the models of all trials by fold, if they are collected."""
        estimator, param_maps = self.getEstimator(), self.getEstimatorParamMaps()
        models: dict[FoldFit, Model] | None = {} if self.getCollectSubModels() else None
        study = self.search(dataset, models)
        best = estimator.fit(dataset, param_maps[study.best_number()])
        if models is None:
            return best, study, None
        trials, folds, missing = range(len(param_maps)), range(len(self._splitter().folds)), _model_of_failure(estimator)
        return best, study, [[models.get(FoldFit(trial, fold), missing) for trial in trials] for fold in folds]

    def _means(self, study: Study) -> list[float]:
        """Return every trial's mean of the metric; the worst value there is for one that failed."""
        worst = -math.inf if self.getEvaluator().isLargerBetter() else math.inf
        return [worst if (mean := trial.mean(self._metric())) is None else mean for trial in study.trials]

    def _metric(self) -> str:
        evaluator = self.getEvaluator()
        return str(evaluator.getOrDefault("metricName")) if evaluator.hasParam("metricName") else "metric"

    def _split_options(self) -> dict[str, Any]:
        """Return the arguments of `Splitter` that both validators have as Params."""
        estimator = self.getEstimator()
        validates = estimator.hasParam("validationIndicatorCol") and estimator.isDefined("validationIndicatorCol")
        return {
            "seed": self.getSeed(),
            "group_col": self._value("groupCol"),
            "time_col": self._value("timeCol"),
            "gap": number(0.0)("foldGap", self._value("foldGap") or 0.0),
            "stratified": self._label() if self._value("stratified") else None,
            "validation_col": estimator.getOrDefault("validationIndicatorCol") if validates else None,
        }

    def _label(self) -> str:
        if self.getEstimator().hasParam("labelCols") and self.getEstimator().isDefined("labelCols"):
            raise SpecError("stratified: with labelCols no single label decides which fold a row is in; leave stratified out.")
        for stage in (self.getEstimator(), self.getEvaluator()):
            if stage.hasParam("labelCol") and stage.isDefined("labelCol"):
                return str(stage.getOrDefault("labelCol"))
        raise SpecError("stratified: neither the estimator nor the evaluator has a labelCol; leave stratified out.")


class CrossValidator(Validator, tuning.CrossValidator):
    """`pyspark.ml.tuning.CrossValidator` without leaks between folds, on the whole cluster (see `Validator`).

    In every fold, the statistics that features were prepared with are fitted anew on the training rows. Rows that
    `validationIndicatorCol` of the estimator marks are validated on in every fit, and never held out. A row's fold is decided
    by its values and the seed, so equal rows share one.

    Args:
        preparation: how the features were prepared: `scaling` and `layout` of the details of a preprocess manifest.
        parallelism: the most fits at the same time; by default as many as there are slots.
        foldCol, groupCol, timeCol, stratified: how rows are split into folds, one of them at most: by a column of fold numbers,
            all rows of a group together, by time with a fold evaluated on later rows, or the same share of each label. Groups and
            time go together: whole groups by their first row.
        foldGap: how long before the rows that a fold is evaluated on its training rows end, with timeCol.
        estimator, estimatorParamMaps, evaluator, numFolds, seed, collectSubModels: as Spark's.

    Raises:
        DivergenceError, SpecError, DataError, TrainingError: every trial failed.
    """

    __module__ = "airflow_provider_distkeras.ml"  # the public path, which Spark ML persistence writes

    @keyword_only
    def __init__(
        self,
        *,
        estimator: Estimator | None = None,
        estimatorParamMaps: list[Any] | None = None,
        evaluator: Evaluator | None = None,
        numFolds: int = 3,
        seed: int | None = None,
        parallelism: int | None = None,
        collectSubModels: bool = False,
        foldCol: str = "",
        groupCol: str | None = None,
        timeCol: str | None = None,
        foldGap: float | None = None,
        stratified: bool = False,
        preparation: dict[str, Any] | None = None,
    ) -> None:
        params = self._input_kwargs  # which Spark's constructor replaces
        super().__init__()
        self._setDefault(seed=0)  # Spark's default is another one in every process
        self._set(**{name: value for name, value in params.items() if value is not None})

    @keyword_only
    def setParams(self, **params: Any) -> CrossValidator:
        """Set Params by name."""
        self._set(**self._input_kwargs)
        return self

    @classmethod
    def read(cls) -> MLReader[CrossValidator]:  # type: ignore[override]
        """Return a reader of what `write` wrote."""
        return ValidatorReader(cls)

    def _fit(self, dataset: DataFrame) -> tuning.CrossValidatorModel:
        best, study, models = self._fit_best(dataset)
        stds = [math.nan if (std := trial.std(self._metric())) is None else std for trial in study.trials]
        return self._copyValues(tuning.CrossValidatorModel(best, self._means(study), models, stds))

    def _splitter(self) -> Splitter:
        if self.getNumFolds() == 1:
            raise SpecError(
                "numFolds: expected at least 2, received 1. For one share of rows to measure on, use TrainValidationSplit."
            )
        return Splitter(
            num_folds=integer(2)("numFolds", self.getNumFolds()), fold_col=self.getFoldCol() or None, **self._split_options()
        )


class TrainValidationSplit(Validator, tuning.TrainValidationSplit):
    """`pyspark.ml.tuning.TrainValidationSplit` without leaks, on the whole cluster (see `Validator`).

    Args:
        trainRatio: the share of the rows to train on; trials are evaluated on the others.
        groupCol, timeCol, stratified: how rows are split, one of them at most: all rows of a group together, the last ones to
            be evaluated on, or the same share of each label.
        foldGap: as `CrossValidator`'s.
        preparation, parallelism: as `CrossValidator`'s.
        estimator, estimatorParamMaps, evaluator, seed, collectSubModels: as Spark's.

    Raises:
        DivergenceError, SpecError, DataError, TrainingError: every trial failed.
    """

    __module__ = "airflow_provider_distkeras.ml"  # the public path, which Spark ML persistence writes

    @keyword_only
    def __init__(
        self,
        *,
        estimator: Estimator | None = None,
        estimatorParamMaps: list[Any] | None = None,
        evaluator: Evaluator | None = None,
        trainRatio: float = 0.75,
        seed: int | None = None,
        parallelism: int | None = None,
        collectSubModels: bool = False,
        groupCol: str | None = None,
        timeCol: str | None = None,
        foldGap: float | None = None,
        stratified: bool = False,
        preparation: dict[str, Any] | None = None,
    ) -> None:
        params = self._input_kwargs
        super().__init__()
        self._setDefault(seed=0)
        self._set(**{name: value for name, value in params.items() if value is not None})

    @keyword_only
    def setParams(self, **params: Any) -> TrainValidationSplit:
        """Set Params by name."""
        self._set(**self._input_kwargs)
        return self

    @classmethod
    def read(cls) -> MLReader[TrainValidationSplit]:  # type: ignore[override]
        """Return a reader of what `write` wrote."""
        return ValidatorReader(cls)

    def _fit(self, dataset: DataFrame) -> tuning.TrainValidationSplitModel:
        best, study, models = self._fit_best(dataset)
        return self._copyValues(tuning.TrainValidationSplitModel(best, self._means(study), models[0] if models else None))

    def _splitter(self) -> Splitter:
        return Splitter(num_folds=1, test_share=1 - self.getTrainRatio(), **self._split_options())


class ValidatorReader(MLReader[Any]):
    """Spark ML's reader of a validator.

    Args:
        kind: the validator's class.
    """

    def __init__(self, kind: type[CrossValidator] | type[TrainValidationSplit]) -> None:
        super().__init__()
        self._kind = kind

    def load(self, path: str) -> Any:
        """Return the validator at a path."""
        shared = tuning._ValidatorSharedReadWrite
        metadata = DefaultParamsReader.loadMetadata(path, self.sparkSession)
        # Spark takes any class but its own for one that Java wrote.
        as_spark = {**metadata, "class": f"pyspark.ml.tuning.{self._kind.__name__}"}
        _, estimator, evaluator, param_maps = shared.load(path, self.sparkSession, as_spark)
        validator = self._kind(estimator=estimator, estimatorParamMaps=param_maps, evaluator=evaluator)
        validator._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(validator, metadata, skipParams=["estimatorParamMaps"])
        return validator


def _check_param_maps(param_maps: Any) -> None:
    """Raise SpecError for anything but a list of at least one dict of Params."""
    if not isinstance(param_maps, (list, tuple)) or not param_maps or not all(isinstance(each, dict) for each in param_maps):
        raise SpecError(
            f"estimatorParamMaps: expected at least one dict of Params, received {param_maps!r}. "
            "Build them with ParamGridBuilder; [{}] is the estimator as it is."
        )
    for name in (name for each in param_maps for name in each if not isinstance(name, Param)):
        raise SpecError(f"estimatorParamMaps: expected Params, such as estimator.learning_rate, received {name!r}.")


def _model_of_failure(estimator: Estimator) -> Model | None:
    """Return the model that stands for a fit that failed, which predicts the worst; None for another estimator than DistKeras."""
    return estimator.diverged() if isinstance(estimator, DistKeras) else None
