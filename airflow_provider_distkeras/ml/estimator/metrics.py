"""Spark's evaluators' metrics as NumPy, for whoever has labels and outputs in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.ml.network.inference import class_probabilities

Vector64 = NDArray[np.float64]

#: What logLoss takes a probability of 0 for, as Spark does.
_LEAST = 1e-15


#: Values of a sample of rows that is kept to draw errors from, and its rows at most.
_SAMPLED, _SAMPLED_ROWS = 3_000, 300


def sample_size(units: int) -> int:
    """How many rows of so many outputs are kept to draw errors from."""
    return min(_SAMPLED_ROWS, max(1, _SAMPLED // (1 + units)))


def are_known(names: Sequence[str], *, classifies: bool) -> bool:
    """Whether `measure` knows these metrics."""
    return set(names) <= set(_OF_CLASSES if classifies else _OF_NUMBERS)


def measure(names: Sequence[str], labels: Vector64, outputs: NDArray[np.float32], *, classifies: bool) -> dict[str, float]:
    """The metrics of a network's outputs.

    Args:
        names: metrics of `contract.params.EVALUATORS`.
        labels: (rows,), numbers or class numbers.
        outputs: (rows, units), what the network says.
        classifies: whether it tells classes apart.

    Raises:
        SpecError: a metric that does not fit.
    """
    known = _OF_CLASSES if classifies else _OF_NUMBERS
    for name in names:
        if name not in known:
            raise SpecError(f"metric: expected one of {', '.join(known)} for this network, received {name!r}.")
    said = class_probabilities(outputs) if classifies else outputs[:, 0].astype(np.float64)
    return {name: float(known[name](labels.astype(np.float64), said)) for name in names}


def _r2(labels: Vector64, predictions: Vector64) -> float:
    error, spread = _mse(labels, predictions), float(labels.var())
    return 1.0 - error / spread if spread else float(error == 0)


def _mse(labels: Vector64, predictions: Vector64) -> float:
    return float(np.mean((labels - predictions) ** 2))


def _rmse(labels: Vector64, predictions: Vector64) -> float:
    return float(np.sqrt(_mse(labels, predictions)))


def _mae(labels: Vector64, predictions: Vector64) -> float:
    return float(np.mean(np.abs(labels - predictions)))


def _explained(labels: Vector64, predictions: Vector64) -> float:
    """What Spark calls var: how far predictions lie from the labels' mean."""
    return float(np.mean((predictions - labels.mean()) ** 2))


def _log_loss(labels: Vector64, probability: Vector64) -> float:
    likely = probability[np.arange(len(labels)), labels.astype(int)]
    return float(-np.log(np.clip(likely, _LEAST, 1 - _LEAST)).mean())


def _accuracy(labels: Vector64, probability: Vector64) -> float:
    return float(np.mean(probability.argmax(axis=1) == labels))


def _hamming_loss(labels: Vector64, probability: Vector64) -> float:
    return 1.0 - _accuracy(labels, probability)


def _counts(labels: Vector64, probability: Vector64) -> tuple[Vector64, Vector64, Vector64]:
    """Per class, how often it was right, said and true."""
    classes, predicted, truth = probability.shape[1], probability.argmax(axis=1), labels.astype(int)
    counted = [np.bincount(which, minlength=classes).astype(float) for which in (truth[predicted == truth], predicted, truth)]
    return counted[0], counted[1], counted[2]


def _ratio(part: Vector64, whole: Vector64) -> Vector64:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _weighted(per_class: Vector64, truth: Vector64) -> float:
    return float(per_class @ truth / truth.sum())


def _f1(labels: Vector64, probability: Vector64) -> float:
    right, said, truth = _counts(labels, probability)
    return _weighted(_ratio(2 * right, said + truth), truth)


def _precision(labels: Vector64, probability: Vector64) -> float:
    right, said, truth = _counts(labels, probability)
    return _weighted(_ratio(right, said), truth)


def _recall(labels: Vector64, probability: Vector64) -> float:
    right, _, truth = _counts(labels, probability)
    return _weighted(_ratio(right, truth), truth)


def curve(labels: Vector64, scores: Vector64) -> tuple[Vector64, Vector64]:
    """True and false positives at every distinct score taken as the least of a positive, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    last_of_score = np.append(np.diff(scores[order]) != 0, True)
    positives = np.cumsum(labels[order] == 1)[last_of_score].astype(float)
    return positives, (np.flatnonzero(last_of_score) + 1.0) - positives


def _area_under_roc(labels: Vector64, probability: Vector64) -> float:
    positives, negatives = curve(labels, probability[:, 1])
    rates = _ratio(positives, np.full_like(positives, positives[-1])), _ratio(negatives, np.full_like(negatives, negatives[-1]))
    return float(np.trapezoid(np.append(0.0, rates[0]), np.append(0.0, rates[1])))


def _area_under_pr(labels: Vector64, probability: Vector64) -> float:
    positives, negatives = curve(labels, probability[:, 1])
    recall, precision = _ratio(positives, np.full_like(positives, positives[-1])), _ratio(positives, positives + negatives)
    # As in Spark, the curve begins at recall 0 with the precision of its first point.
    return float(np.trapezoid(np.append(precision[0], precision), np.append(0.0, recall)))


_OF_NUMBERS: dict[str, Callable[[Vector64, Vector64], float]] = {
    "r2": _r2, "rmse": _rmse, "mse": _mse, "mae": _mae, "var": _explained,
}  # fmt: skip
_OF_CLASSES: dict[str, Callable[[Vector64, Vector64], float]] = {
    "areaUnderROC": _area_under_roc, "areaUnderPR": _area_under_pr, "f1": _f1, "accuracy": _accuracy,
    "weightedPrecision": _precision, "weightedRecall": _recall, "logLoss": _log_loss, "hammingLoss": _hamming_loss,
}  # fmt: skip
