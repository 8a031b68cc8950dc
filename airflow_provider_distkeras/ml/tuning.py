"""Cross validation whose folds are honest: what features were prepared with is fitted anew on what a fold trains on."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from pyspark import keyword_only
from pyspark.ml import Estimator, Model, tuning
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.param import Param, Params
from pyspark.ml.util import DefaultParamsReader, MLReader
from pyspark.sql import DataFrame

from airflow_provider_distkeras.contract import errors
from airflow_provider_distkeras.contract.fields import json_value, mapping_of
from airflow_provider_distkeras.ml.estimator import DistKeras
from airflow_provider_distkeras.ml.folds import Fold, Folds, count_parts
from airflow_provider_distkeras.ml.refit import Preparation, fold_maps, refitted
from airflow_provider_distkeras.ml.trials import FoldRows, Outcome, Trial, Trials

logger = logging.getLogger(__name__)


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

    def _fit(self, dataset: DataFrame) -> tuning.CrossValidatorModel:
        estimator, cells, evaluator = self.getEstimator(), self.getEstimatorParamMaps(), self.getEvaluator()
        folds = self._folds(estimator)
        preparation = Preparation.of(self.getOrDefault("preparation")) if self.isDefined("preparation") else None
        with _dealt(dataset, folds, folds.folds, estimator, preparation) as rows:
            outcomes = _run(self, rows, self.getCollectSubModels())
        metrics = [[_value(outcomes[Trial(cell, fold)], evaluator) for cell in range(len(cells))] for fold in range(len(rows))]
        means, stds = self._gen_avg_and_std_metrics(metrics)
        best = _best(means, evaluator, outcomes)
        models: Any = None
        if self.getCollectSubModels():
            models = [[_model(outcomes[Trial(cell, fold)], estimator) for cell in range(len(cells))] for fold in range(len(rows))]
        return self._copyValues(tuning.CrossValidatorModel(estimator.fit(dataset, cells[best]), means, models, stds))

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


@contextmanager
def _dealt(
    dataset: DataFrame, folds: Folds, asked: Sequence[Fold], estimator: Estimator, preparation: Preparation | None
) -> Iterator[list[FoldRows]]:
    """The rows of the folds asked for, their features by the statistics of what each trains on."""
    features = estimator.getOrDefault("featuresCol") if estimator.hasParam("featuresCol") else "features"
    dealt = folds.assign(dataset).persist()
    try:
        folds.check_sizes(count_parts(dealt))
        maps = fold_maps(dealt, features, preparation, asked)
        yield [
            FoldRows(
                f"fold {number}",
                refitted(fold.training_rows(dealt), features, mapping),
                refitted(fold.held_out_rows(dealt), features, mapping),
            )
            for number, (fold, mapping) in enumerate(zip(asked, maps, strict=True))
        ]
    finally:
        dealt.unpersist()


def _run(validator: Any, rows: list[FoldRows], keeps_models: bool) -> dict[Trial, Outcome]:
    """Every cell on every fold."""
    cells, evaluator = validator.getEstimatorParamMaps(), validator.getEvaluator()
    # Folds take turns, so that the first cells do not wait for the same rows.
    asked = [Trial(cell, fold) for cell in range(len(cells)) for fold in range(len(rows))]
    metric = evaluator.getOrDefault("metricName") if evaluator.hasParam("metricName") else "metric"
    progress = _Progress(evaluator, len(asked))
    at_once = validator.getParallelism() if validator.isSet("parallelism") else None
    with Trials(validator.getEstimator(), cells, evaluator, [metric], rows, keeps_models) as trials:
        return trials.run(asked, at_once, progress.ended)


def _value(outcome: Outcome, evaluator: Evaluator) -> float:
    """The metric that decides; the worst there is for a trial that failed."""
    if outcome.error is not None:
        return -math.inf if evaluator.isLargerBetter() else math.inf
    return next(iter(outcome.metrics.values()))


def _best(values: Sequence[float], evaluator: Evaluator, outcomes: Mapping[Trial, Outcome]) -> int:
    """The cell with the best metric. Raises what most cells met if every cell failed."""
    best = int(np.argmax(values) if evaluator.isLargerBetter() else np.argmin(values))
    if math.isinf(values[best]):
        causes = Counter(outcome.error for outcome in outcomes.values() if outcome.error is not None)
        raise _all_failed(*causes.most_common(1)[0][0].split(": ", 1))
    return best


def _all_failed(kind: str, cause: str) -> Exception:
    known = getattr(errors, kind, errors.TrainingError)
    fix = " Lower learning_rate, or scale the features (scaling='standard')." if known is errors.DivergenceError else ""
    return known(f"Every cell of the grid failed, most of them so: {cause}{fix}")


def _model(outcome: Outcome, estimator: Estimator) -> Model | None:
    """The trial's model; of one that failed, one that predicts the worst."""
    if outcome.model is None and isinstance(estimator, DistKeras):
        return estimator.diverged()
    return outcome.model


class _Progress:
    """Tells how far the search is."""

    def __init__(self, evaluator: Evaluator, total: int) -> None:
        self._evaluator = evaluator
        self._total = total
        self._found: list[float] = []

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Take a trial that has ended."""
        value = _value(outcome, self._evaluator)
        self._found.append(value)
        best = (max if self._evaluator.isLargerBetter() else min)(self._found)
        logger.info(
            "cell %d, fold %d: %.4f in %.1f s (fit %d of %d, best so far %.4f)",
            trial.cell, trial.fold, value, outcome.seconds, len(self._found), self._total, best,
        )  # fmt: skip
