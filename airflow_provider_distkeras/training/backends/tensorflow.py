"""The compiled window on TensorFlow: one tf.function whose loop over the steps runs inside the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from airflow_provider_distkeras.training import dataset
from airflow_provider_distkeras.training.algorithms import Vector
from airflow_provider_distkeras.training.backends import arguments
from airflow_provider_distkeras.training.backends.base import CompiledWindow, Matrix, NetworkPlan
from airflow_provider_distkeras.training.backends.objective import Objective

#: Batches that a prediction takes at once: enough that what a call costs is little, and its outputs too.
_BATCHES_PER_CALL = 32


class TensorFlowWindow(CompiledWindow):
    """See `base.CompiledWindow`."""

    def __init__(self, plan: NetworkPlan, batch_size: int, window: int) -> None:
        super().__init__(plan, batch_size, window)
        # XLA is many times slower on a CPU, so the graph is left to TensorFlow's own kernels.
        self._compiled = tf.function(self._window, autograph=True, jit_compile=False)
        self._forward = tf.function(self._outputs, autograph=False, jit_compile=False)

    def run(
        self, flat: Vector, window: dataset.WindowBatch, learning_rates: Vector, values: Sequence[float] = ()
    ) -> tuple[Vector, float]:
        after, loss = self._compiled(
            tf.constant(flat),
            tf.constant(window.records),
            tf.constant(window.counts),
            tf.constant(learning_rates),
            tf.constant(window.steps),
            tf.constant(values, tf.float32, shape=(len(values),)),
        )
        return after.numpy(), float(loss)

    def _window(self, flat: Any, records: Any, counts: Any, learning_rates: Any, steps: Any, values: Any) -> tuple[Any, Any]:
        arguments.bound[:] = tf.unstack(values)
        self._assign(flat)
        total = tf.constant(0.0)
        for step in tf.range(steps):
            total += self._step(records[step], counts[step], learning_rates[step])
        return tf.concat([tf.reshape(v.value, [-1]) for v in self.variables], axis=0), total

    def _step(self, records: Any, count: Any, learning_rate: Any) -> Any:
        features, labels = records[:, : self.objective.num_features], self.objective.labels_of(records)
        with tf.GradientTape() as tape:
            outputs = self.network(self.objective.inputs_of(features), training=True)
            loss = tf.reduce_sum(self.objective.row_losses(labels, outputs) * records[:, -1])
            minimized = loss / count + sum(self.network.losses)
        gradients = tape.gradient(minimized, [v.value for v in self.network.trainable_variables])
        self.optimizer.learning_rate.assign(learning_rate)
        self.optimizer.apply(gradients, self.network.trainable_variables)
        return loss

    def _assign(self, flat: Any) -> None:
        for variable, part in zip(self.variables, tf.split(flat, self.sizes), strict=True):
            variable.assign(tf.reshape(part, variable.shape))

    def _outputs(self, flat: Any, features: Any) -> Any:
        self._assign(flat)
        return tf.nest.flatten(self.network(self.objective.inputs_of(features), training=False))

    def _predict(self, flat: Vector, features: Matrix) -> list[NDArray[Any]]:
        return [output.numpy() for output in self._forward(tf.constant(flat), tf.constant(features))]

    def _get_state(self) -> list[NDArray[Any]]:
        return [np.asarray(variable) for variable in (*self.optimizer.variables, *self.seed_states)]

    def _set_state(self, values: Sequence[NDArray[Any]]) -> None:
        for variable, value in zip((*self.optimizer.variables, *self.seed_states), values, strict=True):
            variable.assign(value)


def compile_window(plan: NetworkPlan, batch_size: int, window: int) -> TensorFlowWindow:
    """See `backends.compile_window`."""
    return TensorFlowWindow(plan, batch_size, window)


def compile_forward(network: Any, objective: Objective, batch_size: int) -> Callable[[Matrix], list[NDArray[np.float32]]]:
    """See `backends.compile_forward`. The loop over batches runs inside the graph: a call from Python costs as much."""
    outputs = len(network.outputs)

    def predict(rows: Any) -> list[Any]:
        starts = tf.range(0, tf.shape(rows)[0], batch_size)
        batches = tf.size(starts)

        def step(batch: Any, told: list[Any]) -> tuple[Any, list[Any]]:
            part = rows[starts[batch] : starts[batch] + batch_size]
            values = tf.nest.flatten(network(objective.inputs_of(part), training=False))
            flat = [tf.reshape(tf.cast(value, tf.float32), [tf.shape(part)[0], -1]) for value in values]
            return batch + 1, [array.write(batch, value) for array, value in zip(told, flat, strict=True)]

        # The last batch may be shorter than the others. One at a time, so that one batch's activations are held, not ten's.
        told = [tf.TensorArray(tf.float32, batches, infer_shape=False, element_shape=[None, None]) for _ in range(outputs)]
        told = tf.while_loop(lambda batch, _: batch < batches, step, (0, told), parallel_iterations=1)[1]
        return [array.concat() for array in told]

    # For any number of rows, so that it is traced once.
    rows_of_any_number = tf.TensorSpec([None, objective.num_features], tf.float32)
    compiled = tf.function(predict, [rows_of_any_number], autograph=False, jit_compile=False)

    def forward(rows: Matrix) -> list[NDArray[np.float32]]:
        most = _BATCHES_PER_CALL * batch_size
        parts = [compiled(rows[start : start + most]) for start in range(0, len(rows), most)]
        return [np.concatenate([part.numpy() for part in output]) for output in zip(*parts, strict=True)]

    return forward
