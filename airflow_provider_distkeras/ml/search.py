"""The search of a train job: every cell of the grid cross-validated, the best refitted on all rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from pyspark.sql import DataFrame

from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.ml.estimator import DistKeras
from airflow_provider_distkeras.ml.evaluation import make_evaluator
from airflow_provider_distkeras.ml.model import DistKerasModel
from airflow_provider_distkeras.ml.tuning import CrossValidator
from airflow_provider_distkeras.training.summary import TrainingSummary

logger = logging.getLogger(__name__)

#: Columns that a prepared dataset may have, each with what it becomes.
_WEIGHT, _VALIDATION, _FOLD = "weight", "validation", "fold"


@dataclass(frozen=True)
class Cell:
    """One point of the grid: what varied, and the metric over the folds."""

    params: dict[str, Any]
    mean: float
    std: float

    def to_dict(self) -> dict[str, Any]:
        """The cell as plain JSON values; a metric that is not finite (training diverged) becomes None."""
        finite = {key: value if abs(value) < float("inf") else None for key, value in (("mean", self.mean), ("std", self.std))}
        return {**asdict(self), **finite}


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        model: the best cell's network, refitted on all rows.
        best: the best cell; cells: all of them, in the grid's order.
        best_params: the best cell's values and those that all cells share.
    """

    model: DistKerasModel
    best: Cell
    cells: list[Cell]
    best_params: dict[str, Any]

    @property
    def summary(self) -> TrainingSummary:
        """The account of the refit."""
        assert self.model.summary is not None  # a refit that diverges raises
        return self.model.summary


def search(data: DataFrame, spec: TrainSpec, details: Mapping[str, Any] | None = None) -> SearchResult:
    """Cross-validate every cell of the spec's grid and refit the best.

    Args:
        data: `features` and `label`; perhaps `weight`, `validation` and `fold`.
        spec: the grid, the folds and the metric.
        details: how the features were prepared, as a preprocess manifest's details tell.

    Raises:
        DivergenceError: the refit, or every cell, diverged.
    """
    estimator = DistKeras(spec.trainer, spec.trainer_params, **spec.hyperparameters, seed=spec.seed, backend=spec.backend)
    for column, param in ((_WEIGHT, "weightCol"), (_VALIDATION, "validationIndicatorCol")):
        if column in data.columns:
            estimator.setParams(**{param: column})
    cells = spec.cells()
    logger.info("%d cells x %d folds, metric %s", len(cells), spec.num_folds, spec.metric_name)
    validator = CrossValidator(
        estimator=estimator,
        estimatorParamMaps=[{estimator.getParam(name): value for name, value in cell.items()} for cell in cells],
        evaluator=make_evaluator(spec.evaluator, spec.metric_name),
        numFolds=spec.num_folds,
        seed=spec.seed,
        parallelism=spec.parallelism,
        foldCol=_FOLD if _FOLD in data.columns else "",
        preparation={key: (details or {}).get(key) for key in ("scaling", "layout")},
    )
    fitted = validator.fit(data)
    results = [Cell(*values) for values in zip(cells, fitted.avgMetrics, fitted.stdMetrics, strict=True)]
    pick = max if validator.getEvaluator().isLargerBetter() else min
    best = pick(results, key=lambda cell: cell.mean)
    logger.info("best %s %.4f (std %.4f) with %s", spec.metric_name, best.mean, best.std, best.params or "the one cell")
    model = cast(DistKerasModel, fitted.bestModel)
    return SearchResult(model, best, results, {**spec.trainer_params, **spec.hyperparameters, **best.params})
