"""Spark ML's evaluators, by the names of `contract.vocabulary`."""

from __future__ import annotations

from typing import Any

from pyspark.ml.evaluation import (
    BinaryClassificationEvaluator,
    Evaluator,
    MulticlassClassificationEvaluator,
    RegressionEvaluator,
)
from pyspark.sql import DataFrame

_EVALUATORS: dict[str, Any] = {
    "regression": RegressionEvaluator,
    "binary": BinaryClassificationEvaluator,
    "multiclass": MulticlassClassificationEvaluator,
}


def make_evaluator(name: str, metric: str, label_col: str = "label") -> Evaluator:
    """The evaluator of a name, set to one of its metrics."""
    evaluator: Evaluator = _EVALUATORS[name](metricName=metric, labelCol=label_col)
    return evaluator


def measure(predictions: DataFrame, classifies: bool, label_col: str = "label") -> dict[str, float]:
    """The usual metrics of predictions whose label is known."""
    name, metrics = ("multiclass", ("accuracy", "f1")) if classifies else ("regression", ("r2", "rmse", "mae"))
    return {metric: make_evaluator(name, metric, label_col).evaluate(predictions) for metric in metrics}
