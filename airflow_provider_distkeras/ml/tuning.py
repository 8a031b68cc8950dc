"""Cross validation whose folds are honest: what features were prepared with is fitted anew on what a fold trains on."""

from __future__ import annotations

import logging
import math
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
from pyspark import inheritable_thread_target, keyword_only
from pyspark.ml import Estimator, Model, tuning
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.param import Param, Params
from pyspark.ml.util import DefaultParamsReader, MLReader
from pyspark.sql import DataFrame

from airflow_provider_distkeras.contract.errors import DivergenceError
from airflow_provider_distkeras.contract.fields import json_value, mapping_of
from airflow_provider_distkeras.ml.folds import Fold, Folds, count_parts
from airflow_provider_distkeras.ml.refit import FeatureMap, Preparation, fold_maps, refitted

logger = logging.getLogger(__name__)


class CrossValidator(tuning.CrossValidator):
    """`pyspark.ml.tuning.CrossValidator`, with honest folds.

    In every fold, the statistics that features were prepared with are fitted anew on the rows it trains on, and rows that
    `validationIndicatorCol` of the estimator marks take part in every fit, as those to validate on, but are never held out.
    A row's fold is decided by its values and the seed, so equal rows share one.

    Args:
        preparation: how the features were prepared, as the details of a preprocess manifest tell: `scaling` and `layout`.
        estimator, estimatorParamMaps, evaluator, numFolds, seed, parallelism, collectSubModels, foldCol: as Spark's.
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
        parallelism: int = 1,
        collectSubModels: bool = False,
        foldCol: str = "",
        preparation: dict[str, Any] | None = None,
    ) -> None:
        said = self._input_kwargs
        super().__init__()
        self._setDefault(seed=0)  # Spark's own is another one in every process
        self._set(**said)

    @keyword_only
    def setParams(self, **said: Any) -> CrossValidator:
        """Set Params by name."""
        self._set(**self._input_kwargs)
        return self

    @classmethod
    def read(cls) -> MLReader[CrossValidator]:  # type: ignore[override]
        """A reader of what `write` wrote."""
        return CrossValidatorReader()

    def _fit(self, dataset: DataFrame) -> tuning.CrossValidatorModel:
        estimator, cells, evaluator = self.getEstimator(), self.getEstimatorParamMaps(), self.getEvaluator()
        folds = self._folds(estimator)
        dealt = folds.assign(dataset).persist()
        try:
            folds.check_sizes(count_parts(dealt))
            preparation = Preparation.of(self.getOrDefault("preparation")) if self.isDefined("preparation") else None
            features = estimator.getOrDefault("featuresCol") if estimator.hasParam("featuresCol") else "features"
            maps = fold_maps(dealt, features, preparation, folds.folds)
            progress = _Progress(evaluator, len(cells) * folds.num_folds)
            with ThreadPool(min(self.getParallelism(), len(cells))) as pool:
                found = [
                    self._fit_fold(dealt, features, fold, mapping, progress, pool)
                    for fold, mapping in zip(folds.folds, maps, strict=True)
                ]
        finally:
            dealt.unpersist()
        metrics = [[metric for metric, _ in cells_of_fold] for cells_of_fold in found]
        means, stds = self._gen_avg_and_std_metrics(metrics)
        best = int(np.argmax(means) if evaluator.isLargerBetter() else np.argmin(means))
        if math.isinf(means[best]):
            raise DivergenceError(
                "Every cell of the grid diverged. Lower learning_rate, or scale the features (scaling='standard')."
            )
        models = [[model for _, model in cells_of_fold] for cells_of_fold in found] if self.getCollectSubModels() else None
        return self._copyValues(tuning.CrossValidatorModel(estimator.fit(dataset, cells[best]), means, models, stds))

    def _folds(self, estimator: Estimator) -> Folds:
        marks = estimator.hasParam("validationIndicatorCol") and estimator.isDefined("validationIndicatorCol")
        return Folds(
            num_folds=self.getNumFolds(),
            seed=self.getSeed(),
            fold_col=self.getFoldCol() or None,
            validation_col=estimator.getOrDefault("validationIndicatorCol") if marks else None,
        )

    def _fit_fold(
        self, dealt: DataFrame, features: str, fold: Fold, mapping: FeatureMap | None, progress: _Progress, pool: ThreadPool
    ) -> list[tuple[float, Model]]:
        """Per cell, the metric of what was held out, and the model."""
        estimator, cells = self.getEstimator(), self.getEstimatorParamMaps()
        training = refitted(fold.training_rows(dealt), features, mapping)
        held_out = refitted(fold.held_out_rows(dealt), features, mapping)
        models = estimator.fitMultiple(training, cells)

        def fit_next(_: int) -> tuple[int, float, Model]:
            index, model = next(models)
            return index, progress.evaluate(model.transform(held_out, cells[index])), model

        task = inheritable_thread_target(dealt.sparkSession)(fit_next)
        found = sorted(pool.imap_unordered(task, range(len(cells))), key=lambda result: result[0])
        return [(metric, model) for _, metric, model in found]


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


class _Progress:
    """Evaluates, and tells how far the search is."""

    def __init__(self, evaluator: Evaluator, total: int) -> None:
        self._evaluator = evaluator
        self._total = total
        self._found: list[float] = []

    def evaluate(self, predictions: DataFrame) -> float:
        """The metric; the worst there is for a cell that diverged."""
        larger = self._evaluator.isLargerBetter()
        value = self._evaluator.evaluate(predictions)
        if not math.isfinite(value):
            value = -math.inf if larger else math.inf
        self._found.append(value)
        best = (max if larger else min)(self._found)
        logger.info("fit %d of %d: %.4f (best so far %.4f)", len(self._found), self._total, value, best)
        return value
