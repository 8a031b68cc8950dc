"""What a training step minimizes, said in Keras' own operations, so that it is the same on every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Objective:
    """Takes records apart into a network's inputs, labels and weights, and measures its outputs.

    Args:
        network: a Keras network whose inputs have fixed shapes.
        losses: Keras losses by name, one per output.
        label_sizes: labels per row, one number per output.
        loss_weights: what each output's loss counts.

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
        """A network's inputs from rows of features, (rows, num_features), in the structure it takes."""
        import keras

        parts, start = [], 0
        for shape, size in zip(self._shapes, self._sizes, strict=True):
            part = features if size == self.num_features else features[:, start : start + size]
            parts.append(part if len(shape) == 1 else keras.ops.reshape(part, (-1, *shape)))
            start += size
        return keras.tree.pack_sequence_as(self._structure, parts)

    def labels_of(self, records: Any) -> list[Any]:
        """The labels in records, one array per output; class numbers as (rows,), values as (rows, labels)."""
        found, start = [], self.num_features
        for end, sparse in zip(self._label_ends, self._sparse, strict=True):
            stop = self.num_features + end
            found.append(records[:, start] if sparse else records[:, start:stop])
            start = stop
        return found

    def row_losses(self, labels: Sequence[Any], outputs: Any) -> Any:
        """The loss of every row, all outputs together."""
        import keras

        total = 0.0
        for loss, wanted, output, weight in zip(
            self._losses, labels, keras.tree.flatten(outputs), self._loss_weights, strict=True
        ):
            predicted = keras.ops.cast(output, "float32")
            if len(wanted.shape) != 1 and len(predicted.shape) > 2:
                wanted = keras.ops.reshape(wanted, (-1, *predicted.shape[1:]))
            values = loss(wanted, predicted)
            if len(values.shape) > 1:
                values = keras.ops.mean(values, axis=tuple(range(1, len(values.shape))))
            total = total + (values if weight == 1.0 else weight * values)
        return total


def _structure(network: Any) -> Any:
    """The inputs as the network takes them: one, a list or a dict."""
    import keras

    return network.inputs[0] if isinstance(network, keras.Sequential) else network.input


def _is_sparse(loss: str, label_size: int) -> bool:
    return "categorical" in loss and label_size == 1


def _loss(name: str, label_size: int) -> Any:
    """The loss as a function of (labels, outputs); on class numbers, categorical cross entropy is its sparse form."""
    import keras

    return keras.losses.get("sparse_categorical_crossentropy" if _is_sparse(name, label_size) else name)


def meters(names: Sequence[str], losses: Sequence[str], label_sizes: Sequence[int]) -> list[Any]:
    """Newly made Keras metrics, for the first output; accuracies are those that fit its loss and its labels."""
    import keras

    sparse = _is_sparse(losses[0], label_sizes[0])

    def make(name: str) -> Any:
        if name in ("accuracy", "acc"):
            if losses[0] == "binary_crossentropy":
                return keras.metrics.BinaryAccuracy()
            if "categorical" in losses[0]:
                return keras.metrics.SparseCategoricalAccuracy() if sparse else keras.metrics.CategoricalAccuracy()
            return keras.metrics.Accuracy()
        if sparse and name in ("categorical_accuracy", "top_k_categorical_accuracy"):
            name = f"sparse_{name}"
        found = keras.metrics.get(name)
        return found if isinstance(found, keras.metrics.Metric) else keras.metrics.MeanMetricWrapper(found, name=name)

    return [make(name) for name in names]
