"""Spark's validators on the whole cluster, with honest folds: features are prepared anew by what a fold trains on."""

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
from airflow_provider_distkeras.contract.fields import integer, json_value, mapping_of
from airflow_provider_distkeras.ml.data.feature_statistics import FeaturePreparation
from airflow_provider_distkeras.ml.estimator.estimator import DistKeras
from airflow_provider_distkeras.ml.tuning.fold_data import FoldData
from airflow_provider_distkeras.ml.tuning.runner import TrialRunner
from airflow_provider_distkeras.ml.tuning.samplers import GridSampler
from airflow_provider_distkeras.ml.tuning.splitters import Splitter
from airflow_provider_distkeras.ml.tuning.study import Study
from airflow_provider_distkeras.ml.tuning.trial import FoldFit


class HasFolds(Params):
    """How rows are dealt to folds, and what their features were prepared with."""

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
    timeCol: Param = Param(
        Params._dummy(),
        "timeCol",
        "A column to order by: a fold trains on what came before what it is measured on.",
        typeConverter=TypeConverters.toString,
    )

    def _said(self, name: str) -> Any:
        return self.getOrDefault(name) if self.isDefined(name) else None


class Validator(HasFolds, tuning._ValidatorParams, HasParallelism, HasCollectSubModels):
    """What both validators do: fit all folds of all cells side by side, and the best cell on all rows.

    As many are fitted at once as the cluster has slots for; cells that need one worker as plain tasks on rows that every
    machine reads once. A cell that fails or diverges ranks last and does not stop the others.
    """

    def search(self, dataset: DataFrame, models: dict[FoldFit, Model] | None = None) -> Study:
        """Fit every cell on every fold, and nothing on all rows.

        Args:
            dataset: the rows.
            models: gets the models, if they are wanted; a trial's cell is its place among estimatorParamMaps.

        Returns:
            What every cell came to, and which is the best.
        """
        estimator, cells, evaluator = self.getEstimator(), self.getEstimatorParamMaps(), self.getEvaluator()
        _check_cells(cells)
        if self.isSet("parallelism"):
            integer(1)("parallelism", self.getParallelism())
        folds = self._folds()
        preparation = FeaturePreparation.of(self.getOrDefault("preparation")) if self.isDefined("preparation") else None
        features = estimator.getOrDefault("featuresCol") if estimator.hasParam("featuresCol") else "features"
        places, larger = [{"cell": place} for place in range(len(cells))], evaluator.isLargerBetter()
        study = Study(GridSampler(places), len(folds.folds), self._metric(), larger_is_better=larger)
        at_once = self.getParallelism() if self.isSet("parallelism") else None
        with (
            FoldData(dataset, folds, folds.folds, features, preparation) as rows,
            TrialRunner(estimator, evaluator, [self._metric()], rows, models) as trials,
        ):
            trials.run(study, at_once, lambda params: cells[params["cell"]])
        return study

    def _folds(self) -> Splitter:
        """How rows are dealt."""
        raise NotImplementedError

    def _searched(self, dataset: DataFrame) -> tuple[Model, Study, list[list[Any]] | None]:
        """The best cell's model, what every cell came to, and per fold the models of all cells, if they are wanted."""
        estimator, cells = self.getEstimator(), self.getEstimatorParamMaps()
        models: dict[FoldFit, Model] | None = {} if self.getCollectSubModels() else None
        study = self.search(dataset, models)
        best = estimator.fit(dataset, cells[study.best()])
        if models is None:
            return best, study, None
        folds = range(len(self._folds().folds))
        return (
            best,
            study,
            [[models.get(FoldFit(cell, fold), _stand_in(estimator)) for cell in range(len(cells))] for fold in folds],
        )

    def _means(self, study: Study) -> list[float]:
        """Every cell's metric; of one that failed, the worst there is."""
        worst = -math.inf if self.getEvaluator().isLargerBetter() else math.inf
        return [worst if (mean := cell.mean(self._metric())) is None else mean for cell in study.trials]

    def _metric(self) -> str:
        evaluator = self.getEvaluator()
        return str(evaluator.getOrDefault("metricName")) if evaluator.hasParam("metricName") else "metric"

    def _dealt(self) -> dict[str, Any]:
        """What `Splitter` is told by the Params that both validators have, and by the estimator's."""
        estimator = self.getEstimator()
        marks = estimator.hasParam("validationIndicatorCol") and estimator.isDefined("validationIndicatorCol")
        return {
            "seed": self.getSeed(),
            "group_col": self._said("groupCol"),
            "time_col": self._said("timeCol"),
            "stratified": self._label() if self._said("stratified") else None,
            "validation_col": estimator.getOrDefault("validationIndicatorCol") if marks else None,
        }

    def _label(self) -> str:
        for asked in (self.getEstimator(), self.getEvaluator()):
            if asked.hasParam("labelCol") and asked.isDefined("labelCol"):
                return str(asked.getOrDefault("labelCol"))
        raise SpecError("stratified: neither the estimator nor the evaluator has a labelCol; leave stratified out.")


class CrossValidator(Validator, tuning.CrossValidator):
    """`pyspark.ml.tuning.CrossValidator`, with honest folds, on the whole cluster (see `Validator`).

    In every fold, the statistics that features were prepared with are fitted anew on the rows it trains on, and rows that
    `validationIndicatorCol` of the estimator marks take part in every fit, as those to validate on, but are never held out.
    A row's fold is decided by its values and the seed, so equal rows share one.

    Args:
        preparation: how the features were prepared, as the details of a preprocess manifest tell: `scaling` and `layout`.
        parallelism: cells trained at the same time, at most; by default as many as there are slots.
        foldCol, groupCol, timeCol, stratified: how rows are dealt to folds, one of them at most: by a column of fold numbers,
            all rows of a group together, by time with a fold measured on what came later, or the same share of each label.
        estimator, estimatorParamMaps, evaluator, numFolds, seed, collectSubModels: as Spark's.

    Raises:
        DivergenceError, SpecError, DataError, TrainingError: every cell failed.
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
        stratified: bool = False,
        preparation: dict[str, Any] | None = None,
    ) -> None:
        said = self._input_kwargs
        super().__init__()
        self._setDefault(seed=0)  # Spark's own is another one in every process
        self._set(**{name: value for name, value in said.items() if value is not None})

    @keyword_only
    def setParams(self, **said: Any) -> CrossValidator:
        """Set Params by name."""
        self._set(**self._input_kwargs)
        return self

    @classmethod
    def read(cls) -> MLReader[CrossValidator]:  # type: ignore[override]
        """A reader of what `write` wrote."""
        return ValidatorReader(cls)

    def _fit(self, dataset: DataFrame) -> tuning.CrossValidatorModel:
        best, study, kept = self._searched(dataset)
        stds = [math.nan if (std := cell.std(self._metric())) is None else std for cell in study.trials]
        return self._copyValues(tuning.CrossValidatorModel(best, self._means(study), kept, stds))

    def _folds(self) -> Splitter:
        return Splitter(num_folds=integer(2)("numFolds", self.getNumFolds()), fold_col=self.getFoldCol() or None, **self._dealt())


class TrainValidationSplit(Validator, tuning.TrainValidationSplit):
    """`pyspark.ml.tuning.TrainValidationSplit`, with an honest split, on the whole cluster (see `Validator`).

    Args:
        trainRatio: the share of the rows to train on; the others are what cells are measured on.
        groupCol, timeCol, stratified: how rows are dealt, one of them at most: all rows of a group together, the last ones to
            be measured on, or the same share of each label.
        preparation, parallelism: as `CrossValidator`'s.
        estimator, estimatorParamMaps, evaluator, seed, collectSubModels: as Spark's.

    Raises:
        DivergenceError, SpecError, DataError, TrainingError: every cell failed.
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
        stratified: bool = False,
        preparation: dict[str, Any] | None = None,
    ) -> None:
        said = self._input_kwargs
        super().__init__()
        self._setDefault(seed=0)
        self._set(**{name: value for name, value in said.items() if value is not None})

    @keyword_only
    def setParams(self, **said: Any) -> TrainValidationSplit:
        """Set Params by name."""
        self._set(**self._input_kwargs)
        return self

    @classmethod
    def read(cls) -> MLReader[TrainValidationSplit]:  # type: ignore[override]
        """A reader of what `write` wrote."""
        return ValidatorReader(cls)

    def _fit(self, dataset: DataFrame) -> tuning.TrainValidationSplitModel:
        best, study, kept = self._searched(dataset)
        return self._copyValues(tuning.TrainValidationSplitModel(best, self._means(study), kept[0] if kept else None))

    def _folds(self) -> Splitter:
        return Splitter(num_folds=1, test_share=1 - self.getTrainRatio(), **self._dealt())


class ValidatorReader(MLReader[Any]):
    """Reads a validator."""

    def __init__(self, kind: type[CrossValidator] | type[TrainValidationSplit]) -> None:
        super().__init__()
        self._kind = kind

    def load(self, path: str) -> Any:
        shared = tuning._ValidatorSharedReadWrite
        metadata = DefaultParamsReader.loadMetadata(path, self.sparkSession)
        # Of others than its own, Spark thinks that Java wrote them.
        theirs = {**metadata, "class": f"pyspark.ml.tuning.{self._kind.__name__}"}
        _, estimator, evaluator, cells = shared.load(path, self.sparkSession, theirs)
        validator = self._kind(estimator=estimator, estimatorParamMaps=cells, evaluator=evaluator)
        validator._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(validator, metadata, skipParams=["estimatorParamMaps"])
        return validator


def _check_cells(cells: Any) -> None:
    """Raise SpecError for what is no grid."""
    if not isinstance(cells, (list, tuple)) or not cells or not all(isinstance(cell, dict) for cell in cells):
        raise SpecError(
            f"estimatorParamMaps: expected at least one cell, a dict of Params, received {cells!r}. "
            "Build them with ParamGridBuilder; [{}] is the estimator as it is."
        )
    for name in (name for cell in cells for name in cell if not isinstance(name, Param)):
        raise SpecError(f"estimatorParamMaps: expected Params, such as estimator.learning_rate, received {name!r}.")


def _stand_in(estimator: Estimator) -> Model | None:
    """What is kept of a fit that failed: a model that predicts the worst."""
    return estimator.diverged() if isinstance(estimator, DistKeras) else None
