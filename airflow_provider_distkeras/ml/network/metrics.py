"""Runs on executors. Metrics of a network's outputs, in NumPy: equal to those of Spark's evaluators, with weights of rows.

A new metric is one entry of `contract.params.metrics.EVALUATORS` and one of `_METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import is_import_path
from airflow_provider_distkeras.contract.params.metrics import metric_parts
from airflow_provider_distkeras.ml.network.inference import class_probabilities
from airflow_provider_distkeras.spark.imports import import_object

Vector64 = NDArray[np.float64]
#: From labels, (rows,), predictions, (rows,), or class probabilities, (rows, classes), and weights, (rows,), to a metric.
Metric = Callable[[Vector64, Vector64, Vector64], float]

#: The probability that logLoss takes 0 for, as Spark does.
_MIN_PROBABILITY = 1e-15
_EPSILON = np.finfo(np.float64).eps


@dataclass(frozen=True)
class Measurement:
    """Metrics of the outputs of a network, as plain values for a task.

    Attributes:
        evaluator: a name of `contract.params.metrics.EVALUATORS`.
        names: its metrics, or the user's by import path.
        classifies: whether the outputs are of classes.
        weighted: whether rows count by their weights.
    """

    evaluator: str
    names: tuple[str, ...]
    classifies: bool
    weighted: bool = False

    def __call__(
        self, labels: NDArray[np.floating], outputs: NDArray[np.floating], weights: NDArray[np.floating]
    ) -> dict[str, float]:
        """Return the metrics by name.

        Args:
            labels: (rows,), numbers or class numbers; of several, (rows, labels), numbers or 0 and 1.
            outputs: (rows, units), the network's outputs; of several labels, one value for each.
            weights: (rows,).
        """
        counts = weights if self.weighted else np.ones(len(labels))
        if labels.ndim > 1:
            return {name: _of_labels(self.evaluator, name, labels, outputs.astype(np.float64), counts) for name in self.names}
        predictions = class_probabilities(outputs) if self.classifies else outputs[:, 0].astype(np.float64)
        return {name: measure(self.evaluator, name, labels, predictions, counts) for name in self.names}


def measure(
    evaluator: str, name: str, labels: NDArray[np.floating], predictions: Vector64, weights: NDArray[np.floating]
) -> float:
    """Return a metric.

    Args:
        evaluator: a name of `contract.params.metrics.EVALUATORS`.
        name: one of its metrics, or the user's by import path.
        labels: (rows,), numbers or class numbers; for a metric of the user's also (rows, labels).
        predictions: (rows,), or class probabilities, (rows, classes); for a metric of the user's also (rows, outputs).
        weights: (rows,).

    Raises:
        SpecError: the user's metric cannot be imported, raises an error, or gives no number.
    """
    if is_import_path(name):
        return _own(name, labels.astype(np.float64), predictions, weights.astype(np.float64))
    kind, argument = metric_parts(name)
    function = _METRICS[evaluator][kind]
    arguments = () if argument is None else (argument,)
    return float(function(labels.astype(np.float64), predictions, weights.astype(np.float64), *arguments))


def _of_labels(
    evaluator: str, name: str, labels: NDArray[np.floating], outputs: Vector64, weights: NDArray[np.floating]
) -> float:
    """Return a metric of several labels: the mean of each label's, or one of the user's of all of them."""
    if is_import_path(name):
        return measure(evaluator, name, labels, outputs, weights)
    predictions = outputs.T if evaluator == "regression" else [class_probabilities(output[:, None]) for output in outputs.T]
    pairs = zip(labels.T, predictions, strict=True)
    return float(np.mean([measure(evaluator, name, label, prediction, weights) for label, prediction in pairs]))


def _own(path: str, labels: Vector64, predictions: Vector64, weights: Vector64) -> float:
    function = import_object(path, "metric")
    try:
        return float(function(labels, predictions, weights))
    except Exception as error:  # the user's function may raise anything
        raise SpecError(
            f"metric: {path!r} raised {type(error).__name__} for labels of shape {labels.shape}, outputs of shape "
            f"{predictions.shape} and weights of shape {weights.shape}: {error}. It must return a number."
        ) from error


def cumulative_positives(labels: Vector64, scores: Vector64, weights: Vector64 | None = None) -> tuple[Vector64, Vector64]:
    """Return true and false positives with every distinct score as the threshold, from the highest score down.

    Args:
        labels: (rows,), 1 for the positive class.
        scores: (rows,), the higher the more likely positive.
        weights: (rows,); None for 1 each.
    """
    counts = np.ones(len(labels)) if weights is None else weights
    order = np.argsort(-scores, kind="stable")
    last_of_score = np.append(np.diff(scores[order]) != 0, True)
    positives = np.cumsum(counts[order] * (labels[order] == 1))[last_of_score]
    return positives, np.cumsum(counts[order])[last_of_score] - positives


def _r2(labels: Vector64, predictions: Vector64, weights: Vector64) -> float:
    mse = _mse(labels, predictions, weights)
    variance = _mse(labels, np.full_like(labels, np.average(labels, weights=weights)), weights)
    return 1.0 - mse / variance if variance else float(mse == 0)


def _mse(labels: Vector64, predictions: Vector64, weights: Vector64) -> float:
    return float(np.average((labels - predictions) ** 2, weights=weights))


def _rmse(labels: Vector64, predictions: Vector64, weights: Vector64) -> float:
    return float(np.sqrt(_mse(labels, predictions, weights)))


def _mae(labels: Vector64, predictions: Vector64, weights: Vector64) -> float:
    return float(np.average(np.abs(labels - predictions), weights=weights))


def _mape(labels: Vector64, predictions: Vector64, weights: Vector64) -> float:
    """Return the mean of |label - prediction| / |label|, a share; where the label is 0, it is huge, as in scikit-learn."""
    return float(np.average(np.abs(labels - predictions) / np.maximum(np.abs(labels), _EPSILON), weights=weights))


def _wape(labels: Vector64, predictions: Vector64, weights: Vector64) -> float:
    """Return the sum of |label - prediction| over the sum of |label|, a share."""
    return float(weights @ np.abs(labels - predictions)) / max(float(weights @ np.abs(labels)), float(_EPSILON))


def _explained_variance(labels: Vector64, predictions: Vector64, weights: Vector64) -> float:
    """Return the mean squared distance of predictions from the labels' mean, which Spark calls var."""
    return float(np.average((predictions - np.average(labels, weights=weights)) ** 2, weights=weights))


def _log_loss(labels: Vector64, probability: Vector64, weights: Vector64) -> float:
    likelihood = probability[np.arange(len(labels)), labels.astype(int)]
    return float(np.average(-np.log(np.clip(likelihood, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)), weights=weights))


def _accuracy(labels: Vector64, probability: Vector64, weights: Vector64) -> float:
    return float(np.average(probability.argmax(axis=1) == labels, weights=weights))


def _hamming_loss(labels: Vector64, probability: Vector64, weights: Vector64) -> float:
    return 1.0 - _accuracy(labels, probability, weights)


def _count_classes(labels: Vector64, probability: Vector64, weights: Vector64) -> tuple[Vector64, Vector64, Vector64]:
    """Return the weight of the rows per class: predicted correctly, predicted, labelled."""
    classes, predicted, truth = probability.shape[1], probability.argmax(axis=1), labels.astype(int)
    counts: list[Vector64] = [
        np.bincount(rows, kept, minlength=classes).astype(np.float64)
        for rows, kept in ((truth, weights * (predicted == truth)), (predicted, weights), (truth, weights))
    ]
    return counts[0], counts[1], counts[2]


def _ratio(part: Vector64, whole: Vector64) -> Vector64:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _per_class(labels: Vector64, probability: Vector64, weights: Vector64) -> dict[str, Vector64]:
    """Return the F1, precision and recall of each class, and its share of the rows."""
    correct, predicted, truth = _count_classes(labels, probability, weights)
    return {
        "f1": _ratio(2 * correct, predicted + truth),
        "precision": _ratio(correct, predicted),
        "recall": _ratio(correct, truth),
        "share": truth / truth.sum(),
    }


def _mean_of_classes(name: str) -> Metric:
    """Return the metric that is the mean of each class', by the classes' rows."""

    def metric(labels: Vector64, probability: Vector64, weights: Vector64) -> float:
        values = _per_class(labels, probability, weights)
        return float(values[name] @ values["share"])

    return metric


def _of_positives(name: str) -> Metric:
    """Return the metric of the second of two classes."""
    return lambda labels, probability, weights: float(_per_class(labels, probability, weights)[name][1])


def _rates(labels: Vector64, probability: Vector64, weights: Vector64) -> tuple[Vector64, Vector64, Vector64]:
    """Return true positives, false positives and all negatives or positives that there are, by threshold, as shares.

    Returns:
        The true positive rate (recall), the false positive rate and the precision.
    """
    positives, negatives = cumulative_positives(labels, probability[:, 1], weights)
    recall, fall_out = (_ratio(counts, np.full_like(counts, counts[-1])) for counts in (positives, negatives))
    return recall, fall_out, _ratio(positives, positives + negatives)


def _area_under_roc(labels: Vector64, probability: Vector64, weights: Vector64) -> float:
    recall, fall_out, _ = _rates(labels, probability, weights)
    return float(np.trapezoid(np.append(0.0, recall), np.append(0.0, fall_out)))


def _area_under_pr(labels: Vector64, probability: Vector64, weights: Vector64) -> float:
    recall, _, precision = _rates(labels, probability, weights)
    # As in Spark, the curve begins at recall 0 with the precision of its first point.
    return float(np.trapezoid(np.append(precision[0], precision), np.append(0.0, recall)))


def _precision_at_recall(labels: Vector64, probability: Vector64, weights: Vector64, least: float) -> float:
    """Return the highest precision of any threshold with at least this recall; 0 where no row is positive."""
    recall, _, precision = _rates(labels, probability, weights)
    return float(precision[recall >= least].max(initial=0.0))


_METRICS: dict[str, dict[str, Callable[..., float]]] = {
    "regression": {
        "r2": _r2, "rmse": _rmse, "mse": _mse, "mae": _mae, "var": _explained_variance, "mape": _mape, "wape": _wape,
    },
    "binary": {
        "areaUnderROC": _area_under_roc, "areaUnderPR": _area_under_pr, "logLoss": _log_loss, "accuracy": _accuracy,
        "f1": _of_positives("f1"), "precision": _of_positives("precision"), "recall": _of_positives("recall"),
        "precisionAtRecall": _precision_at_recall,
    },
    "multiclass": {
        "f1": _mean_of_classes("f1"), "accuracy": _accuracy, "weightedPrecision": _mean_of_classes("precision"),
        "weightedRecall": _mean_of_classes("recall"), "logLoss": _log_loss, "hammingLoss": _hamming_loss,
    },
}  # fmt: skip
