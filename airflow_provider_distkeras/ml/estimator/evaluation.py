"""Metrics by the names of `contract.params`: Spark ML's evaluators over DataFrames, and the same metrics in NumPy over outputs.

A new metric is one entry of `contract.params.objectives.EVALUATORS` and one of `_REGRESSION_METRICS` or
`_CLASSIFICATION_METRICS`; one that Spark lacks is an entry of `_LARGER_IS_BETTER`, too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.ml.evaluation import (
    BinaryClassificationEvaluator,
    Evaluator,
    MulticlassClassificationEvaluator,
    RegressionEvaluator,
)
from pyspark.ml.functions import vector_to_array
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.ml.estimator.params import DistKerasParams
from airflow_provider_distkeras.ml.network.inference import OutputKind, class_probabilities

Vector64 = NDArray[np.float64]
#: From labels (rows,) and predictions (rows,), or class probabilities (rows, classes), to a metric.
Metric = Callable[[Vector64, Vector64], float]

#: Per evaluator name, Spark's class.
_EVALUATORS: dict[str, type[Evaluator]] = {
    "regression": RegressionEvaluator,
    "binary": BinaryClassificationEvaluator,
    "multiclass": MulticlassClassificationEvaluator,
}
#: The evaluators' Params that name a metric or a column. Any other one changes how a metric is computed.
_NAMING_PARAMS = ("metricName", "labelCol", "predictionCol", "rawPredictionCol", "weightCol")
#: The probability that logLoss takes 0 for, as Spark does.
_MIN_PROBABILITY = 1e-15
#: The most values, and the most rows, of the sample of predictions that a fit keeps for plots of its errors.
_SAMPLE_VALUES, _SAMPLE_ROWS = 3_000, 300


class MetricEvaluator(Evaluator):
    """Evaluates each metric of a name of `EVALUATORS`: by Spark's evaluator, or in this process if Spark has no such metric.

    In this process, it collects the labels and the predictions of all rows.

    Args:
        evaluator: the name of the evaluator.
        metric: the metric.
    """

    metricName: Param = Param(Params._dummy(), "metricName", "The metric, as contract.params names it.", TypeConverters.toString)

    def __init__(self, evaluator: str, metric: str) -> None:
        super().__init__()
        self.kind = _EVALUATORS[evaluator]
        self._set(metricName=metric)

    def isLargerBetter(self) -> bool:
        """Return whether a larger value of the metric is better."""
        metric = self.getOrDefault("metricName")
        return _LARGER_IS_BETTER[metric] if metric in _LARGER_IS_BETTER else self._of_spark(metric).isLargerBetter()

    def _of_spark(self, metric: str) -> Evaluator:
        kind: Any = self.kind
        evaluator: Evaluator = kind(metricName=metric)
        return evaluator

    def _evaluate(self, dataset: DataFrame) -> float:
        metric = self.getOrDefault("metricName")
        if metric not in _LARGER_IS_BETTER:
            return self._of_spark(metric).evaluate(dataset)
        regression = self.kind is RegressionEvaluator
        predictions = F.col("prediction") if regression else vector_to_array(F.col("probability"))
        rows = dataset.select(F.col("label").cast("double"), predictions.alias("predictions")).toArrow()
        labels, values = (column.combine_chunks() for column in rows.columns)
        if regression:
            return _REGRESSION_METRICS[metric](labels.to_numpy(), values.to_numpy())
        return _CLASSIFICATION_METRICS[metric](labels.to_numpy(), values.flatten().to_numpy().reshape(len(labels), -1))


def evaluate_predictions(predictions: DataFrame, classifies: bool) -> dict[str, float]:
    """Return the usual metrics of a DataFrame of predictions, in one pass by Spark.

    Args:
        predictions: columns `label` (null where it is missing) and `prediction`, both double.
        classifies: whether these are class numbers.

    Returns:
        r2, rmse and mae, or for classes accuracy and f1 (weighted by the classes' rows), equal to those of Spark's evaluators;
        empty where no row has a label.
    """
    labelled = predictions.dropna()
    return _evaluate_classes(labelled) if classifies else _evaluate_numbers(labelled)


def _evaluate_numbers(predictions: DataFrame) -> dict[str, float]:
    error = F.col("label") - F.col("prediction")
    mse, mae, variance = predictions.agg(F.avg(error * error), F.avg(F.abs(error)), F.var_pop("label")).collect()[0]
    if mse is None:
        return {}
    r2 = 1 - mse / variance if variance else float(mse == 0)
    return {"r2": r2, "rmse": math.sqrt(mse), "mae": mae}


def _evaluate_classes(predictions: DataFrame) -> dict[str, float]:
    labels: Counter[float] = Counter()
    predicted: Counter[float] = Counter()
    correct: Counter[float] = Counter()
    for label, prediction, rows in predictions.groupBy("label", "prediction").count().collect():
        labels[label] += rows
        predicted[prediction] += rows
        correct[label] += rows if label == prediction else 0
    total = labels.total()
    if not total:
        return {}
    f1 = sum(rows / total * 2 * correct[label] / (rows + predicted[label]) for label, rows in labels.items())
    return {"accuracy": correct.total() / total, "f1": f1}


def evaluate_outputs(
    names: Sequence[str], labels: Vector64, outputs: NDArray[np.float32], *, classifies: bool
) -> dict[str, float]:
    """Return metrics of a network's outputs in memory, equal to those of Spark's evaluators.

    Args:
        names: metrics of `contract.params.objectives.EVALUATORS`.
        labels: (rows,), numbers or class numbers.
        outputs: (rows, units), the network's outputs.
        classifies: whether the outputs are of classes.

    Raises:
        SpecError: a metric of the other kind of network.
    """
    functions = _CLASSIFICATION_METRICS if classifies else _REGRESSION_METRICS
    for name in names:
        if name not in functions:
            raise SpecError(f"metric: expected one of {', '.join(functions)} for this network, received {name!r}.")
    predictions = class_probabilities(outputs) if classifies else outputs[:, 0].astype(np.float64)
    return {name: float(functions[name](labels.astype(np.float64), predictions)) for name in names}


def can_evaluate_outputs(evaluator: Evaluator, names: Sequence[str], params: DistKerasParams, kind: OutputKind) -> bool:
    """Return whether `evaluate_outputs` gives what an evaluator gives for these metrics of a network's predictions.

    Args:
        evaluator: any evaluator; only a `MetricEvaluator` or Spark's own, with none but naming Params set, can be matched.
        names: its metrics.
        params: the estimator's, whose columns the evaluator must read.
        kind: the network's kind of output.
    """
    if isinstance(evaluator, MetricEvaluator):
        evaluator = evaluator.kind()  # it reads the same columns
    if type(evaluator) not in _EVALUATORS.values() or kind is OutputKind.ARRAYS or not _has_naming_params_only(evaluator):
        return False
    regression = type(evaluator) is RegressionEvaluator
    if evaluator.isDefined(evaluator.getParam("weightCol")) or regression != (kind is OutputKind.NUMBER):
        return False
    column = "rawPredictionCol" if type(evaluator) is BinaryClassificationEvaluator else "predictionCol"
    columns = [evaluator.getOrDefault(name) for name in ("labelCol", column)]
    functions = _REGRESSION_METRICS if regression else _CLASSIFICATION_METRICS
    return set(names) <= set(functions) and columns == [params.getLabelCol(), params.getOrDefault(column)]


def _has_naming_params_only(evaluator: Evaluator) -> bool:
    default = type(evaluator)()
    others = [param for param in evaluator.params if evaluator.isSet(param) and param.name not in _NAMING_PARAMS]
    return all(
        default.isDefined(param.name) and evaluator.getOrDefault(param) == default.getOrDefault(param.name) for param in others
    )


def sample_size(units: int) -> int:
    """Return how many rows of `units` outputs each are in the sample of predictions."""
    return min(_SAMPLE_ROWS, max(1, _SAMPLE_VALUES // (1 + units)))


def cumulative_positives(labels: Vector64, scores: Vector64) -> tuple[Vector64, Vector64]:
    """Return true and false positives with every distinct score as the threshold, from the highest score down.

    Args:
        labels: (rows,), 1 for the positive class.
        scores: (rows,), the higher the more likely positive.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_score = np.append(np.diff(scores[order]) != 0, True)
    positives = np.cumsum(labels[order] == 1)[last_of_score].astype(float)
    return positives, (np.flatnonzero(last_of_score) + 1.0) - positives


def _r2(labels: Vector64, predictions: Vector64) -> float:
    mse, variance = _mse(labels, predictions), float(labels.var())
    return 1.0 - mse / variance if variance else float(mse == 0)


def _mse(labels: Vector64, predictions: Vector64) -> float:
    return float(np.mean((labels - predictions) ** 2))


def _rmse(labels: Vector64, predictions: Vector64) -> float:
    return float(np.sqrt(_mse(labels, predictions)))


def _mae(labels: Vector64, predictions: Vector64) -> float:
    return float(np.mean(np.abs(labels - predictions)))


def _mape(labels: Vector64, predictions: Vector64) -> float:
    """Return the mean of |label - prediction| / |label|, a share; where the label is 0, it is huge, as in scikit-learn."""
    return float(np.mean(np.abs(labels - predictions) / np.maximum(np.abs(labels), np.finfo(np.float64).eps)))


def _explained_variance(labels: Vector64, predictions: Vector64) -> float:
    """Return the mean squared distance of predictions from the labels' mean, which Spark calls var."""
    return float(np.mean((predictions - labels.mean()) ** 2))


def _log_loss(labels: Vector64, probability: Vector64) -> float:
    likelihood = probability[np.arange(len(labels)), labels.astype(int)]
    return float(-np.log(np.clip(likelihood, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)).mean())


def _accuracy(labels: Vector64, probability: Vector64) -> float:
    return float(np.mean(probability.argmax(axis=1) == labels))


def _hamming_loss(labels: Vector64, probability: Vector64) -> float:
    return 1.0 - _accuracy(labels, probability)


def _count_classes(labels: Vector64, probability: Vector64) -> tuple[Vector64, Vector64, Vector64]:
    """Return rows per class: predicted correctly, predicted, labelled."""
    classes, predicted, truth = probability.shape[1], probability.argmax(axis=1), labels.astype(int)
    correct = truth[predicted == truth]
    counts = [np.bincount(rows, minlength=classes).astype(float) for rows in (correct, predicted, truth)]
    return counts[0], counts[1], counts[2]


def _ratio(part: Vector64, whole: Vector64) -> Vector64:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _weighted_mean(per_class: Vector64, truth: Vector64) -> float:
    return float(per_class @ truth / truth.sum())


def _f1(labels: Vector64, probability: Vector64) -> float:
    correct, predicted, truth = _count_classes(labels, probability)
    return _weighted_mean(_ratio(2 * correct, predicted + truth), truth)


def _precision(labels: Vector64, probability: Vector64) -> float:
    correct, predicted, truth = _count_classes(labels, probability)
    return _weighted_mean(_ratio(correct, predicted), truth)


def _recall(labels: Vector64, probability: Vector64) -> float:
    correct, _, truth = _count_classes(labels, probability)
    return _weighted_mean(_ratio(correct, truth), truth)


def _area_under_roc(labels: Vector64, probability: Vector64) -> float:
    positives, negatives = cumulative_positives(labels, probability[:, 1])
    rates = [_ratio(counts, np.full_like(counts, counts[-1])) for counts in (positives, negatives)]
    return float(np.trapezoid(np.append(0.0, rates[0]), np.append(0.0, rates[1])))


def _area_under_pr(labels: Vector64, probability: Vector64) -> float:
    positives, negatives = cumulative_positives(labels, probability[:, 1])
    recall, precision = _ratio(positives, np.full_like(positives, positives[-1])), _ratio(positives, positives + negatives)
    # As in Spark, the curve begins at recall 0 with the precision of its first point.
    return float(np.trapezoid(np.append(precision[0], precision), np.append(0.0, recall)))


_REGRESSION_METRICS: dict[str, Metric] = {
    "r2": _r2, "rmse": _rmse, "mse": _mse, "mae": _mae, "var": _explained_variance, "mape": _mape,
}  # fmt: skip
_CLASSIFICATION_METRICS: dict[str, Metric] = {
    "areaUnderROC": _area_under_roc, "areaUnderPR": _area_under_pr, "f1": _f1, "accuracy": _accuracy,
    "weightedPrecision": _precision, "weightedRecall": _recall, "logLoss": _log_loss, "hammingLoss": _hamming_loss,
}  # fmt: skip
#: Per metric that Spark's evaluators lack, whether a larger value is better.
_LARGER_IS_BETTER = {"mape": False}
