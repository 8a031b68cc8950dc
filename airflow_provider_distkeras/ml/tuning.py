"""The grid search of a train job: every cell cross-validated, the best refitted on all rows."""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from pyspark.ml.evaluation import Evaluator
from pyspark.ml.tuning import CrossValidator
from pyspark.sql import DataFrame

from airflow_provider_distkeras.contract.errors import DivergenceError
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.ml.estimator import DistKeras
from airflow_provider_distkeras.ml.evaluation import make_evaluator
from airflow_provider_distkeras.ml.model import DistKerasModel
from airflow_provider_distkeras.training.summary import TrainingSummary

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)


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


def search(data: DataFrame, estimator: DistKeras, spec: TrainSpec) -> SearchResult:
    """Cross-validate every cell of the spec's grid and refit the best.

    Args:
        data: `features` and `label`.
        estimator: with the values all cells share.
        spec: the grid, the folds and the metric.

    Raises:
        DivergenceError: the refit, or every cell, diverged.
    """
    cells = spec.cells()
    evaluator = _Progress(make_evaluator(spec.evaluator, spec.metric_name), spec.metric_name, spec.num_folds * len(cells))
    logger.info("%d cells x %d folds, metric %s", len(cells), spec.num_folds, spec.metric_name)
    validator = CrossValidator(
        estimator=estimator,
        estimatorParamMaps=[{estimator.getParam(name): value for name, value in cell.items()} for cell in cells],
        evaluator=evaluator,
        numFolds=spec.num_folds,
        seed=spec.seed,
        parallelism=spec.parallelism,
    )
    fitted = validator.fit(data)
    model = cast(DistKerasModel, fitted.bestModel)
    results = [Cell(*values) for values in zip(cells, fitted.avgMetrics, fitted.stdMetrics, strict=True)]
    best = _best(results, evaluator.isLargerBetter())
    logger.info("best %s %.4f (std %.4f) with %s", spec.metric_name, best.mean, best.std, best.params or "the one cell")
    return SearchResult(model, best, results, {**spec.trainer_params, **spec.hyperparameters, **best.params})


def _best(cells: Sequence[Cell], larger_is_better: bool) -> Cell:
    """The cell that CrossValidator refitted: the first of the best."""
    best = (max if larger_is_better else min)(cells, key=lambda cell: cell.mean)
    if abs(best.mean) == float("inf"):
        raise DivergenceError("Every cell of the grid diverged. Lower learning_rate, or scale the features (scaling='standard').")
    return best


class _Progress(Evaluator):
    """An evaluator that tells how far the search is."""

    def __init__(self, inner: Evaluator, metric: str, total: int) -> None:
        super().__init__()
        self._inner = inner
        self._metric = metric
        self._total = total
        self._done = 0
        self._best: float | None = None
        self._lock = threading.Lock()

    def isLargerBetter(self) -> bool:
        return self._inner.isLargerBetter()

    def _evaluate(self, dataset: DataFrame) -> float:
        value = self._inner.evaluate(dataset)
        if not math.isfinite(value):  # the cell diverged
            value = -math.inf if self.isLargerBetter() else math.inf
        with self._lock:
            self._done += 1
            better = max if self.isLargerBetter() else min
            self._best = value if self._best is None else better(self._best, value)
            logger.info("fit %d of %d: %s %.4f (best so far %.4f)", self._done, self._total, self._metric, value, self._best)
        return value
