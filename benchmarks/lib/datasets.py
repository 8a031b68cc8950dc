"""Small data sets on which trainers are compared, each split into rows to train on and held-out rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """Rows of a problem.

    Attributes:
        features, labels: the rows to train on, (rows, features) and (rows,), standardized unless labels are classes.
        test_features, test_labels: the held-out rows.
        loss, units, activation: of the output layer.
    """

    features: Floats
    labels: Floats
    test_features: Floats
    test_labels: Floats
    loss: str = "mse"
    units: int = 1
    activation: str = "linear"

    @property
    def metric(self) -> str:
        """Return r2 of numbers, accuracy of classes."""
        return "r2" if self.loss == "mse" else "accuracy"

    def score(self, outputs: Floats) -> float:
        """Return the metric of a network's outputs for the held-out rows, (rows, units)."""
        labels = self.test_labels
        if self.loss == "mse":
            error, spread = outputs[:, 0] - labels, labels - labels.mean()
            return float(1 - (error.astype(float) ** 2).sum() / (spread.astype(float) ** 2).sum())
        classes = outputs.argmax(axis=1) if self.units > 1 else outputs[:, 0] > 0.5
        return float((classes == labels).mean())


def split(features: Floats, labels: Floats, **output: object) -> Dataset:
    """Return a data set of rows, a fifth of which are held out; features and numbers to predict are standardized."""
    order = np.random.default_rng(0).permutation(len(labels))
    train, test = np.split(order, [int(0.8 * len(order))])
    features = (features - features[train].mean(axis=0)) / (features[train].std(axis=0) + 1e-9)
    if not output:
        labels = (labels - labels[train].mean()) / labels[train].std()
    rows = [part.astype(np.float32) for part in (features[train], labels[train], features[test], labels[test])]
    return Dataset(*rows, **output)  # type: ignore[arg-type]


def smooth(rows: int) -> Dataset:
    """Return a smooth function of eight features, with a little noise."""
    chance = np.random.default_rng(1)
    x = chance.uniform(-1, 1, (rows, 8))
    y = np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2] + np.abs(x[:, 3]) + 0.5 * x[:, 4] + 0.1 * chance.standard_normal(rows)
    return split(x, y)


def outliers(rows: int) -> Dataset:
    """Return features and labels with heavy tails, as house prices or sales have."""
    chance = np.random.default_rng(2)
    x = chance.standard_normal((rows, 8))
    y = np.exp(0.5 * x[:, 0] + 0.3 * x[:, 1] * x[:, 2]) + 0.3 * chance.standard_t(3, rows)
    x[:, 4:] = np.sign(x[:, 4:]) * np.abs(x[:, 4:]) ** 3
    return split(x, y + 0.2 * np.tanh(x[:, 4]))


def imbalanced(rows: int) -> Dataset:
    """Return two classes, of which one has an eighth of the rows."""
    chance = np.random.default_rng(3)
    x = chance.standard_normal((rows, 10))
    score = x[:, 0] * x[:, 1] + x[:, 2] + 0.5 * x[:, 3] ** 2 + 0.3 * chance.standard_normal(rows)
    return split(x, score > np.quantile(score, 0.875), loss="binary_crossentropy", activation="sigmoid")


def ten_classes(rows: int) -> Dataset:
    """Return ten classes of two clouds each, which overlap a little."""
    chance = np.random.default_rng(4)
    centers, cloud = 2.2 * chance.standard_normal((20, 12)), chance.integers(0, 20, rows)
    x = centers[cloud] + 1.5 * chance.standard_normal((rows, 12))
    return split(x, cloud % 10, loss="sparse_categorical_crossentropy", units=10, activation="softmax")


#: The kinds, by name, from a number of rows.
GENERATED: dict[str, Callable[[int], Dataset]] = {
    "smooth": smooth, "outliers": outliers, "imbalanced": imbalanced, "ten_classes": ten_classes,
}  # fmt: skip
