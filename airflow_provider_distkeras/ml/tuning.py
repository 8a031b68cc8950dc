"""Cross validation whose folds are honest: what features were prepared with is fitted anew on what a fold trains on."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from pyspark import keyword_only
from pyspark.ml import Estimator, Model, tuning
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.param import Param, Params
from pyspark.ml.util import DefaultParamsReader, MLReader
from pyspark.sql import DataFrame

from airflow_provider_distkeras.contract.fields import json_value, mapping_of
from airflow_provider_distkeras.ml.agenda import Agenda, Trial
from airflow_provider_distkeras.ml.estimator import DistKeras
from airflow_provider_distkeras.ml.fold_rows import fold_rows
from airflow_provider_distkeras.ml.folds import Folds
from airflow_provider_distkeras.ml.refit import Preparation
from airflow_provider_distkeras.ml.strategies import Listed
from airflow_provider_distkeras.ml.trials import Trials


class CrossValidator(tuning.CrossValidator):
    """`pyspark.ml.tuning.CrossValidator`, with honest folds, on the whole cluster.

    All folds of all cells are fitted side by side, as many as the cluster has slots for; cells that need one worker as plain
    tasks on rows that every machine reads once. A cell that fails or diverges ranks last and does not stop the others.

    In every fold, the statistics that features were prepared with are fitted anew on the rows it trains on, and rows that
    `validationIndicatorCol` of the estimator marks take part in every fit, as those to validate on, but are never held out.
    A row's fold is decided by its values and the seed, so equal rows share one.

    Args:
        preparation: how the features were prepared, as the details of a preprocess manifest tell: `scaling` and `layout`.
        parallelism: cells trained at the same time, at most; by default as many as there are slots.
        estimator, estimatorParamMaps, evaluator, numFolds, seed, collectSubModels, foldCol: as Spark's.

    Raises:
        DivergenceError, SpecError, DataError, TrainingError: every cell failed.
    """

    preparation: Param = Param(
        Params._dummy(),
        "preparation",
        "How the features were prepared: 'scaling' and 'layout' of a preprocess manifest's details.",
        typeConverter=partial(mapping_of(json_value), "preparation"),
    )

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
        return CrossValidatorReader()

    def search(self, dataset: DataFrame, models: dict[Trial, Model] | None = None) -> Agenda:
        """Fit every cell on every fold, and nothing on all rows.

        Args:
            dataset: the rows.
            models: gets the models, if they are wanted; a trial's cell is its place among estimatorParamMaps.

        Returns:
            What every cell came to, and which is the best.
        """
        estimator, cells, evaluator = self.getEstimator(), self.getEstimatorParamMaps(), self.getEvaluator()
        folds = self._folds(estimator)
        preparation = Preparation.of(self.getOrDefault("preparation")) if self.isDefined("preparation") else None
        features = estimator.getOrDefault("featuresCol") if estimator.hasParam("featuresCol") else "features"
        places, larger = [{"cell": place} for place in range(len(cells))], evaluator.isLargerBetter()
        agenda = Agenda(Listed(places), folds.num_folds, self._metric(), larger_is_better=larger)
        at_once = self.getParallelism() if self.isSet("parallelism") else None
        with (
            fold_rows(dataset, folds, folds.folds, features, preparation) as rows,
            Trials(estimator, evaluator, [self._metric()], rows, models) as trials,
        ):
            trials.run(agenda, at_once, lambda params: cells[params["cell"]])
        return agenda

    def _fit(self, dataset: DataFrame) -> tuning.CrossValidatorModel:
        estimator, cells = self.getEstimator(), self.getEstimatorParamMaps()
        models: dict[Trial, Model] | None = {} if self.getCollectSubModels() else None
        agenda = self.search(dataset, models)
        best = estimator.fit(dataset, cells[agenda.best()])
        worst = -math.inf if self.getEvaluator().isLargerBetter() else math.inf
        means = [worst if (mean := cell.mean(self._metric())) is None else mean for cell in agenda.cells]
        stds = [math.nan if (std := cell.std(self._metric())) is None else std for cell in agenda.cells]
        kept: Any = None
        if models is not None:
            kept = [
                [models.get(Trial(cell, fold), _stand_in(estimator)) for cell in range(len(cells))]
                for fold in range(self.getNumFolds())
            ]
        return self._copyValues(tuning.CrossValidatorModel(best, means, kept, stds))

    def _metric(self) -> str:
        evaluator = self.getEvaluator()
        return str(evaluator.getOrDefault("metricName")) if evaluator.hasParam("metricName") else "metric"

    def _folds(self, estimator: Estimator) -> Folds:
        marks = estimator.hasParam("validationIndicatorCol") and estimator.isDefined("validationIndicatorCol")
        return Folds(
            num_folds=self.getNumFolds(),
            seed=self.getSeed(),
            fold_col=self.getFoldCol() or None,
            validation_col=estimator.getOrDefault("validationIndicatorCol") if marks else None,
        )


class CrossValidatorReader(MLReader[CrossValidator]):
    """Reads a CrossValidator."""

    def load(self, path: str) -> CrossValidator:
        shared = tuning._ValidatorSharedReadWrite
        metadata = DefaultParamsReader.loadMetadata(path, self.sparkSession)
        theirs = {**metadata, "class": "pyspark.ml.tuning.CrossValidator"}  # of others they think that Java wrote them
        _, estimator, evaluator, cells = shared.load(path, self.sparkSession, theirs)
        validator = CrossValidator(estimator=estimator, estimatorParamMaps=cells, evaluator=evaluator)
        validator._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(validator, metadata, skipParams=["estimatorParamMaps"])
        return validator


def _stand_in(estimator: Estimator) -> Model | None:
    """What is kept of a fit that failed: a model that predicts the worst."""
    return estimator.diverged() if isinstance(estimator, DistKeras) else None
