"""Runs on executors. The compiled window on JAX: one jitted pure function whose loop over the steps runs inside the program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.training import dataset
from airflow_provider_distkeras.training.algorithms.rule import Vector
from airflow_provider_distkeras.training.backends import arguments
from airflow_provider_distkeras.training.backends.base import MAX_ITERATIONS, CompiledWindow, Matrix, NetworkPlan
from airflow_provider_distkeras.training.backends.objective import Objective


class JaxWindow(CompiledWindow):
    """A window as a jitted JAX function; see `base.CompiledWindow`."""

    def __init__(self, plan: NetworkPlan, batch_size: int, window: int) -> None:
        super().__init__(plan, batch_size, window)
        self._trainable = len(self.network.trainable_variables)
        positions = {id(v): position for position, v in enumerate(self.variables)}
        # The position of each of Keras' non-trainable variables among the weights; None for a seed state.
        self._sources = [positions.get(id(v)) for v in self.network.non_trainable_variables]
        self._rate_at = next(i for i, v in enumerate(self.optimizer.variables) if v is self.optimizer.learning_rate)
        self._iterations_at = next(i for i, v in enumerate(self.optimizer.variables) if v is self.optimizer.iterations)
        self._compiled = jax.jit(self._window)
        self._forward = jax.jit(self._outputs)
        self._optimizer_state: list[Any] = []
        self._seeds: list[Any] = []
        self.reset(0)

    def run(
        self, flat: Vector, window: dataset.WindowBatch, learning_rates: Vector, values: Sequence[float] = ()
    ) -> tuple[Vector, float]:
        """Train on a window; see `CompiledWindow.run`."""
        after, self._optimizer_state, self._seeds, loss = self._compiled(
            flat,
            self._optimizer_state,
            self._seeds,
            window.records,
            window.counts,
            learning_rates,
            window.steps,
            np.asarray(values, np.float32),
        )
        return np.asarray(after), float(loss)

    def _window(
        self,
        flat: Any,
        optimizer_state: Any,
        seeds: Any,
        records: Any,
        counts: Any,
        learning_rates: Any,
        steps: Any,
        values: Any,
    ) -> Any:
        def step(index: Any, carry: Any) -> Any:
            arguments.bound[:] = [values[position] for position in range(values.shape[0])]
            weights, optimizer_state, seeds, total = carry
            gradient = jax.value_and_grad(self._objective, has_aux=True)
            batch = (records[index], counts[index])
            (_, (state, seeds, loss)), gradients = gradient(weights[: self._trainable], weights[self._trainable :], seeds, batch)
            optimizer_state = list(optimizer_state)
            optimizer_state[self._rate_at] = learning_rates[index]
            trainable, optimizer_state = self.optimizer.stateless_apply(optimizer_state, gradients, weights[: self._trainable])
            return [*trainable, *state], list(optimizer_state), seeds, total + loss

        start = (self._split(flat), list(optimizer_state), seeds, jnp.float32(0.0))
        weights, optimizer_state, seeds, total = jax.lax.fori_loop(0, steps, step, start)
        optimizer_state[self._iterations_at] = jnp.minimum(optimizer_state[self._iterations_at], MAX_ITERATIONS)
        return jnp.concatenate([v.ravel() for v in weights]), optimizer_state, seeds, total

    def _objective(self, trainable: Any, state: Any, seeds: Any, batch: Any) -> Any:
        records, count = batch
        features, labels = records[:, : self.objective.num_features], self.objective.labels_of(records)
        outputs, non_trainable, penalties = self.network.stateless_call(
            trainable, self._non_trainable(state, seeds), self.objective.inputs_of(features), training=True, return_losses=True
        )
        loss = (self.objective.row_losses(labels, outputs) * records[:, -1]).sum()
        state = [value for at, value in zip(self._sources, non_trainable, strict=True) if at is not None]
        seeds = [value for at, value in zip(self._sources, non_trainable, strict=True) if at is None]
        return loss / count + sum(penalties), (state, seeds, loss)

    def _split(self, flat: Any) -> list[Any]:
        parts = jnp.split(flat, np.cumsum(self.sizes)[:-1])
        return [part.reshape(v.shape) for part, v in zip(parts, self.variables, strict=True)]

    def _non_trainable(self, state: Any, seeds: Any) -> list[Any]:
        """Return the network's non-trainable variables in Keras' order."""
        seed_values = iter(seeds)
        return [next(seed_values) if at is None else state[at - self._trainable] for at in self._sources]

    def _outputs(self, flat: Any, seeds: Any, features: Any) -> Any:
        weights = self._split(flat)
        state = self._non_trainable(weights[self._trainable :], seeds)
        inputs = self.objective.inputs_of(features)
        return jax.tree.leaves(self.network.stateless_call(weights[: self._trainable], state, inputs, training=False)[0])

    def _predict(self, flat: Vector, features: Matrix) -> list[NDArray[Any]]:
        return [np.asarray(output) for output in self._forward(flat, self._seeds, features)]

    def _get_state(self) -> list[NDArray[Any]]:
        return [np.asarray(value) for value in (*self._optimizer_state, *self._seeds)]

    def _set_state(self, values: Sequence[NDArray[Any]]) -> None:
        count = len(self._fresh_optimizer)
        self._optimizer_state = [jnp.asarray(value) for value in values[:count]]
        self._seeds = [jnp.asarray(value) for value in values[count:]]


def compile_window(plan: NetworkPlan, batch_size: int, window: int) -> JaxWindow:
    """Return a compiled window; see `backends.compile_window`."""
    return JaxWindow(plan, batch_size, window)


def compile_forward(network: Any, objective: Objective, batch_size: int) -> Callable[[Matrix], list[NDArray[np.float32]]]:
    """Return the compiled prediction; see `backends.compile_forward`. The last batch is padded, so that it compiles once."""
    trainable = [v.value for v in network.trainable_variables]
    state = [v.value for v in network.non_trainable_variables]

    @jax.jit
    def compiled(trainable: Any, state: Any, rows: Any) -> list[Any]:
        outputs = network.stateless_call(trainable, state, objective.inputs_of(rows), training=False)[0]
        return [output.astype(jnp.float32).reshape(len(rows), -1) for output in jax.tree.leaves(outputs)]

    def forward(rows: Matrix) -> list[NDArray[np.float32]]:
        parts = []
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            missing = batch_size - len(part)
            padded = np.pad(part, ((0, missing), (0, 0))) if missing else part
            parts.append([np.asarray(output)[: len(part)] for output in compiled(trainable, state, padded)])
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    return forward
