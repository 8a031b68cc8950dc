"""Runs on executors. The objective of a training step, in Keras' own operations, so that it is the same on every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Objective:
    """A network's objective: splits records into inputs and labels, and computes the losses of its outputs.

    Args:
        network: a Keras network whose inputs have fixed shapes.
        losses: Keras losses by name, one per output.
        label_sizes: labels per row, one number per output.
        loss_weights: the weight of each output's loss.

    Attributes:
        num_features: features per row, all inputs together.
    """

    def __init__(self, network: Any, losses: Sequence[str], label_sizes: Sequence[int], loss_weights: Sequence[float]) -> None:
        self._structure = _structure(network)
        self._label_ends = np.cumsum(label_sizes).tolist()
        self._losses = [_loss(name, size) for name, size in zip(losses, label_sizes, strict=True)]
        self._sparse = [_is_sparse(name, size) for name, size in zip(losses, label_sizes, strict=True)]
        self._loss_weights = [float(weight) for weight in loss_weights]
        self._shapes = [tuple(tensor.shape[1:]) for tensor in network.inputs]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        self.num_features = sum(self._sizes)

    def inputs_of(self, features: Any) -> Any:
        """Return a network's inputs from rows of features, (rows, num_features), in the network's structure."""
        import keras

        parts, start = [], 0
        for shape, size in zip(self._shapes, self._sizes, strict=True):
            part = features if size == self.num_features else features[:, start : start + size]
            parts.append(part if len(shape) == 1 else keras.ops.reshape(part, (-1, *shape)))
            start += size
        return keras.tree.pack_sequence_as(self._structure, parts)

    def labels_of(self, records: Any) -> list[Any]:
        """Return the labels in records, one array per output; class numbers as (rows,), values as (rows, labels)."""
        labels, start = [], self.num_features
        for end, sparse in zip(self._label_ends, self._sparse, strict=True):
            stop = self.num_features + end
            labels.append(records[:, start] if sparse else records[:, start:stop])
            start = stop
        return labels

    def row_losses(self, labels: Sequence[Any], outputs: Any) -> Any:
        """Return the loss of every row, all outputs together, (rows,)."""
        import keras

        total = 0.0
        for loss, expected, output, weight in zip(
            self._losses, labels, keras.tree.flatten(outputs), self._loss_weights, strict=True
        ):
            predicted = keras.ops.cast(output, "float32")
            if len(expected.shape) != 1 and len(predicted.shape) > 2:
                expected = keras.ops.reshape(expected, (-1, *predicted.shape[1:]))
            values = loss(expected, predicted)
            if len(values.shape) > 1:
                values = keras.ops.mean(values, axis=tuple(range(1, len(values.shape))))
            total = total + (values if weight == 1.0 else weight * values)
        return total


def _structure(network: Any) -> Any:
    """Return the structure of the network's inputs: one tensor, a list or a dict."""
    import keras

    return network.inputs[0] if isinstance(network, keras.Sequential) else network.input


def _is_sparse(loss: str, label_size: int) -> bool:
    return "categorical" in loss and label_size == 1


def _loss(name: str, label_size: int) -> Any:
    """Return the loss as a function of (labels, outputs); for class numbers, categorical cross entropy in its sparse form."""
    import keras

    return keras.losses.get("sparse_categorical_crossentropy" if _is_sparse(name, label_size) else name)


def build_metrics(names: Sequence[str], losses: Sequence[str], label_sizes: Sequence[int]) -> list[Any]:
    """Return new Keras metrics for the first output; an accuracy is the one that fits its loss and its labels.

    Args:
        names: Keras metrics by name.
        losses: Keras losses by name, one per output.
        label_sizes: labels per row, one number per output.
    """
    import keras

    sparse = _is_sparse(losses[0], label_sizes[0])

    def build(name: str) -> Any:
        if name in ("accuracy", "acc"):
            if losses[0] == "binary_crossentropy":
                return keras.metrics.BinaryAccuracy()
            if "categorical" in losses[0]:
                return keras.metrics.SparseCategoricalAccuracy() if sparse else keras.metrics.CategoricalAccuracy()
            return keras.metrics.Accuracy()
        if sparse and name in ("categorical_accuracy", "top_k_categorical_accuracy"):
            name = f"sparse_{name}"
        metric = keras.metrics.get(name)
        return metric if isinstance(metric, keras.metrics.Metric) else keras.metrics.MeanMetricWrapper(metric, name=name)

    return [build(name) for name in names]
