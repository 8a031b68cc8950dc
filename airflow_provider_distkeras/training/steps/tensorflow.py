"""The compiled window on TensorFlow: one tf.function whose loop over the steps runs inside the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from airflow_provider_distkeras.training import dataset
from airflow_provider_distkeras.training.algorithms import Vector
from airflow_provider_distkeras.training.steps import arguments
from airflow_provider_distkeras.training.steps.base import CompiledWindow, Matrix, NetworkPlan


class Window(CompiledWindow):
    """See `base.CompiledWindow`."""

    def __init__(self, plan: NetworkPlan, batch_size: int, window: int) -> None:
        super().__init__(plan, batch_size, window)
        # XLA is many times slower on a CPU, so the graph is left to TensorFlow's own kernels.
        self._compiled = tf.function(self._window, autograph=True, jit_compile=False)
        self._forward = tf.function(self._outputs, autograph=False, jit_compile=False)

    def run(
        self, flat: Vector, window: dataset.Window, learning_rates: Vector, values: Sequence[float] = ()
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


def compile_forward(network: Any) -> Callable[[Matrix], list[NDArray[Any]]]:
    """The network's prediction as a compiled function from rows to outputs, for any number of rows."""
    compiled = tf.function(lambda inputs: tf.nest.flatten(network(inputs, training=False)), jit_compile=False)
    return lambda inputs: [output.numpy() for output in compiled(inputs)]
