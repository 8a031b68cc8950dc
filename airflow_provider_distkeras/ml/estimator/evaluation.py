"""Spark ML's evaluators, by the names of `contract.params`."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from pyspark.ml.evaluation import (
    BinaryClassificationEvaluator,
    Evaluator,
    MulticlassClassificationEvaluator,
    RegressionEvaluator,
)
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

_EVALUATORS: dict[str, Any] = {
    "regression": RegressionEvaluator,
    "binary": BinaryClassificationEvaluator,
    "multiclass": MulticlassClassificationEvaluator,
}


def make_evaluator(name: str, metric: str, label_col: str = "label") -> Evaluator:
    """The evaluator of a name, set to one of its metrics."""
    evaluator: Evaluator = _EVALUATORS[name](metricName=metric, labelCol=label_col)
    return evaluator


def measure(predictions: DataFrame, classifies: bool) -> dict[str, float]:
    """The usual metrics of predictions whose label is known, in one pass.

    Args:
        predictions: columns `label` (null where it is not known) and `prediction`, both double.
        classifies: whether these are class numbers.

    Returns:
        r2, rmse and mae, for classes accuracy and f1 (weighted by the classes' rows), as Spark's evaluators give them; nothing
        where no label is known.
    """
    known = predictions.dropna()
    return _measure_classes(known) if classifies else _measure_numbers(known)


def _measure_numbers(predictions: DataFrame) -> dict[str, float]:
    error = F.col("label") - F.col("prediction")
    mse, mae, variance = predictions.agg(F.avg(error * error), F.avg(F.abs(error)), F.var_pop("label")).collect()[0]
    if mse is None:
        return {}
    r2 = 1 - mse / variance if variance else float(mse == 0)
    return {"r2": r2, "rmse": math.sqrt(mse), "mae": mae}


def _measure_classes(predictions: DataFrame) -> dict[str, float]:
    labels: Counter[float] = Counter()
    predicted: Counter[float] = Counter()
    right: Counter[float] = Counter()
    for label, prediction, rows in predictions.groupBy("label", "prediction").count().collect():
        labels[label] += rows
        predicted[prediction] += rows
        right[label] += rows if label == prediction else 0
    total = labels.total()
    if not total:
        return {}
    f1 = sum(rows / total * 2 * right[label] / (rows + predicted[label]) for label, rows in labels.items())
    return {"accuracy": right.total() / total, "f1": f1}
