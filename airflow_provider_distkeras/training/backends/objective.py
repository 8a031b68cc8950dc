"""Runs on executors. The objective of a training step, in Keras' own operations, so that it is the same on every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from airflow_provider_distkeras.contract.errors import SpecError, unknown_name
from airflow_provider_distkeras.contract.fields import is_import_path
from airflow_provider_distkeras.contract.params.losses import task_of
from airflow_provider_distkeras.training.backends import losses as loss_functions
from airflow_provider_distkeras.training.backends.structure import input_structure

#: What keras.metrics holds beside metrics.
_NO_METRICS = ("deserialize", "get", "serialize")


class Objective:
    """A network's objective: splits records into inputs and labels, and computes the losses of its outputs.

    Args:
        network: a Keras network whose inputs have fixed shapes.
        losses: the losses' texts, one per output.
        label_sizes: labels per row, one number per output.
        loss_weights: the weight of each output's loss.
        tasks: the outputs' tasks; empty for those that follow from the losses.

    Attributes:
        num_features: features per row, all inputs together.
    """

    def __init__(
        self,
        network: Any,
        losses: Sequence[str],
        label_sizes: Sequence[int],
        loss_weights: Sequence[float],
        tasks: Sequence[str] = (),
    ) -> None:
        self._structure = input_structure(network)
        self._label_ends = np.cumsum(label_sizes).tolist()
        self._sparse = _sparse(losses, label_sizes, tasks)
        self._losses = [
            loss_functions.build(loss, int(np.prod(tensor.shape[1:])) if sparse else None)
            for loss, sparse, tensor in zip(losses, self._sparse, network.outputs, strict=False)
        ]
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
            if len(expected.shape) != 1 and len(predicted.shape) > 2 and expected.shape[1] == np.prod(predicted.shape[1:]):
                expected = keras.ops.reshape(expected, (-1, *predicted.shape[1:]))
            values = loss(expected, predicted)
            if len(values.shape) > 1:
                values = keras.ops.mean(values, axis=tuple(range(1, len(values.shape))))
            total = total + (values if weight == 1.0 else weight * values)
        return total


def _sparse(losses: Sequence[str], label_sizes: Sequence[int], tasks: Sequence[str]) -> list[bool]:
    """Return per output whether its labels are class numbers."""
    tasks = tasks or [task_of(loss, labels=size) for loss, size in zip(losses, label_sizes, strict=True)]
    return [task == "multiclass" and size == 1 for task, size in zip(tasks, label_sizes, strict=True)]


def build_metrics(
    names: Sequence[str], losses: Sequence[str], label_sizes: Sequence[int], tasks: Sequence[str] = ()
) -> list[Any]:
    """Return new Keras metrics for the first output; an accuracy is the one that fits its task and its labels.

    Args:
        names: Keras metrics by name, or the user's by import path.
        losses: the losses' texts, one per output.
        label_sizes: labels per row, one number per output.
        tasks: the outputs' tasks; empty for those that follow from the losses.

    Raises:
        SpecError: Keras has no such metric, or one of the user's cannot be imported or made.
    """
    import keras

    sparse = _sparse(losses, label_sizes, tasks)[0]
    task = tasks[0] if tasks else task_of(losses[0], labels=label_sizes[0])

    def build(name: str) -> Any:
        if name in ("accuracy", "acc"):
            if task in ("binary", "multilabel"):
                return keras.metrics.BinaryAccuracy()
            if task == "multiclass":
                return keras.metrics.SparseCategoricalAccuracy() if sparse else keras.metrics.CategoricalAccuracy()
            return keras.metrics.Accuracy()
        if sparse and name in ("categorical_accuracy", "top_k_categorical_accuracy"):
            name = f"sparse_{name}"
        if is_import_path(name):
            metric = loss_functions.imported(name, {}, "metrics", keras.metrics.Metric)
        else:
            metric = _keras_metric(name)
        return metric if isinstance(metric, keras.metrics.Metric) else keras.metrics.MeanMetricWrapper(metric, name=name)

    return [build(name) for name in names]


def _keras_metric(name: str) -> Any:
    import keras

    try:
        return keras.metrics.get(name)
    except ValueError as error:
        valid = ["accuracy", *(each for each in vars(keras.metrics) if not each.startswith("_") and each not in _NO_METRICS)]
        raise SpecError(f"metrics: {unknown_name('metric', name, valid)} One of your own is 'package.module:name'.") from error
