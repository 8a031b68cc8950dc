"""The compiled window on TensorFlow: one tf.function whose loop over the steps runs inside the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from airflow_provider_distkeras.training import dataset
from airflow_provider_distkeras.training.algorithms import Vector
from airflow_provider_distkeras.training.steps.base import CompiledWindow, Matrix, NetworkPlan


class Window(CompiledWindow):
    """See `base.CompiledWindow`."""

    def __init__(self, plan: NetworkPlan, batch_size: int, window: int) -> None:
        super().__init__(plan, batch_size, window)
        # XLA is many times slower on a CPU, so the graph is left to TensorFlow's own kernels.
        self._compiled = tf.function(self._window, autograph=True, jit_compile=False)

    def reset(self, seed: int) -> None:
        for variable, value in zip(self.optimizer.variables, self._fresh_optimizer, strict=True):
            variable.assign(value)
        for position, state in enumerate(self.seed_states):
            state.assign(self._seed_value(state, seed, position))

    def run(self, flat: Vector, window: dataset.Window, learning_rates: Vector) -> tuple[Vector, float]:
        after, loss = self._compiled(
            tf.constant(flat),
            tf.constant(window.features),
            tf.constant(window.labels),
            tf.constant(window.mask),
            tf.constant(learning_rates),
            tf.constant(window.steps),
        )
        return after.numpy(), float(loss)

    def _window(self, flat: Any, features: Any, labels: Any, mask: Any, learning_rates: Any, steps: Any) -> tuple[Any, Any]:
        for variable, part in zip(self.variables, tf.split(flat, self.sizes), strict=True):
            variable.assign(tf.reshape(part, variable.shape))
        total = tf.constant(0.0)
        for step in tf.range(steps):
            total += self._step(features[step], labels[step], mask[step], learning_rates[step])
        return tf.concat([tf.reshape(v.value, [-1]) for v in self.variables], axis=0), total

    def _step(self, features: Any, labels: Any, mask: Any, learning_rate: Any) -> Any:
        if self.plan.label_rank == 2:
            labels = labels[:, None]
        with tf.GradientTape() as tape:
            losses = tf.reshape(self.loss(labels, self.network(features, training=True)), [-1]) * mask
            objective = tf.reduce_sum(losses) / tf.reduce_sum(mask) + sum(self.network.losses)
        gradients = tape.gradient(objective, [v.value for v in self.network.trainable_variables])
        self.optimizer.learning_rate.assign(learning_rate)
        self.optimizer.apply(gradients, self.network.trainable_variables)
        return tf.reduce_sum(losses)


def compile_forward(network: Any) -> Callable[[Matrix], Matrix]:
    """The network's prediction as a compiled function from rows to outputs, for any number of rows."""
    signature = [tf.TensorSpec([None, *network.input_shape[1:]], tf.float32)]
    compiled = tf.function(lambda rows: network(rows, training=False), input_signature=signature, jit_compile=False)
    return lambda rows: compiled(tf.constant(rows)).numpy()
