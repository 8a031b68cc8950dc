"""Runs on executors. The compiled window on TensorFlow: one tf.function whose loop over the steps runs inside the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from airflow_provider_distkeras.training import dataset
from airflow_provider_distkeras.training.algorithms.rule import Vector
from airflow_provider_distkeras.training.backends import arguments
from airflow_provider_distkeras.training.backends.base import CompiledWindow, Matrix, NetworkPlan
from airflow_provider_distkeras.training.backends.objective import Objective

#: Batches per call of the compiled prediction: enough to hide a call's cost, few enough to keep its outputs small.
_BATCHES_PER_CALL = 32


class TensorFlowWindow(CompiledWindow):
    """A window as a TensorFlow graph; see `base.CompiledWindow`."""

    def __init__(self, plan: NetworkPlan, batch_size: int, window: int) -> None:
        super().__init__(plan, batch_size, window)
        # XLA is many times slower on a CPU, so the graph is left to TensorFlow's own kernels.
        self._compiled = tf.function(self._window, autograph=True, jit_compile=False)
        self._forward = tf.function(self._outputs, autograph=False, jit_compile=False)

    def run(
        self, flat: Vector, window: dataset.WindowBatch, learning_rates: Vector, values: Sequence[float] = ()
    ) -> tuple[Vector, float]:
        """Train on a window; see `CompiledWindow.run`."""
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
    """Return a compiled window; see `backends.compile_window`."""
    return TensorFlowWindow(plan, batch_size, window)


def compile_forward(network: Any, objective: Objective, batch_size: int) -> Callable[[Matrix], list[NDArray[np.float32]]]:
    """Return the compiled prediction; see `backends.compile_forward`.

    The loop over batches runs inside the graph: a call from Python costs as much as a batch.
    """
    count = len(network.outputs)

    def predict(rows: Any) -> list[Any]:
        starts = tf.range(0, tf.shape(rows)[0], batch_size)
        batches = tf.size(starts)

        def step(batch: Any, arrays: list[Any]) -> tuple[Any, list[Any]]:
            part = rows[starts[batch] : starts[batch] + batch_size]
            values = tf.nest.flatten(network(objective.inputs_of(part), training=False))
            flat = [tf.reshape(tf.cast(value, tf.float32), [tf.shape(part)[0], -1]) for value in values]
            return batch + 1, [array.write(batch, value) for array, value in zip(arrays, flat, strict=True)]

        # The last batch may be shorter than the others. One iteration at a time bounds the memory.
        arrays = [tf.TensorArray(tf.float32, batches, infer_shape=False, element_shape=[None, None]) for _ in range(count)]
        arrays = tf.while_loop(lambda batch, _: batch < batches, step, (0, arrays), parallel_iterations=1)[1]
        return [array.concat() for array in arrays]

    # A spec for any number of rows, so that TensorFlow traces the function once.
    rows_spec = tf.TensorSpec([None, objective.num_features], tf.float32)
    compiled = tf.function(predict, [rows_spec], autograph=False, jit_compile=False)

    def forward(rows: Matrix) -> list[NDArray[np.float32]]:
        rows_per_call = _BATCHES_PER_CALL * batch_size
        parts = [compiled(rows[start : start + rows_per_call]) for start in range(0, len(rows), rows_per_call)]
        return [np.concatenate([part.numpy() for part in output]) for output in zip(*parts, strict=True)]

    return forward
