"""The compiled window on JAX: one jitted pure function whose loop over the steps runs inside the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from airflow_provider_distkeras.training import dataset
from airflow_provider_distkeras.training.algorithms import Vector
from airflow_provider_distkeras.training.steps.base import CompiledWindow, Matrix, NetworkPlan


class Window(CompiledWindow):
    """See `base.CompiledWindow`."""

    def __init__(self, plan: NetworkPlan, batch_size: int, window: int) -> None:
        super().__init__(plan, batch_size, window)
        self._trainable = len(self.network.trainable_variables)
        kept = {id(v): position for position, v in enumerate(self.variables)}
        # Where each of Keras' non-trainable variables is found: among the weights (>= 0) or among the seed states (None).
        self._sources = [kept.get(id(v)) for v in self.network.non_trainable_variables]
        self._rate_at = next(i for i, v in enumerate(self.optimizer.variables) if v is self.optimizer.learning_rate)
        self._compiled = jax.jit(self._window)
        self.reset(0)

    def reset(self, seed: int) -> None:
        self._optimizer_state = [jnp.asarray(value) for value in self._fresh_optimizer]
        self._seeds = [jnp.asarray(self._seed_value(v, seed, position)) for position, v in enumerate(self.seed_states)]

    def run(self, flat: Vector, window: dataset.Window, learning_rates: Vector) -> tuple[Vector, float]:
        after, self._optimizer_state, self._seeds, loss = self._compiled(
            flat, self._optimizer_state, self._seeds, window.features, window.labels, window.mask, learning_rates, window.steps
        )
        return np.asarray(after), float(loss)

    def _window(
        self, flat: Any, optimizer_state: Any, seeds: Any, features: Any, labels: Any, mask: Any, learning_rates: Any, steps: Any
    ) -> Any:
        def step(index: Any, carry: Any) -> Any:
            values, optimizer_state, seeds, total = carry
            gradient = jax.value_and_grad(self._objective, has_aux=True)
            batch = (features[index], labels[index], mask[index])
            (_, (state, seeds, loss)), gradients = gradient(values[: self._trainable], values[self._trainable :], seeds, batch)
            optimizer_state = list(optimizer_state)
            optimizer_state[self._rate_at] = learning_rates[index]
            trainable, optimizer_state = self.optimizer.stateless_apply(optimizer_state, gradients, values[: self._trainable])
            return [*trainable, *state], list(optimizer_state), seeds, total + loss

        values = [
            part.reshape(v.shape) for part, v in zip(jnp.split(flat, np.cumsum(self.sizes)[:-1]), self.variables, strict=True)
        ]
        start = (values, list(optimizer_state), seeds, jnp.float32(0.0))
        values, optimizer_state, seeds, total = jax.lax.fori_loop(0, steps, step, start)
        return jnp.concatenate([v.ravel() for v in values]), optimizer_state, seeds, total

    def _objective(self, trainable: Any, state: Any, seeds: Any, batch: Any) -> Any:
        features, labels, mask = batch
        if self.plan.label_rank == 2:
            labels = labels[:, None]
        seed_values = iter(seeds)
        non_trainable = [next(seed_values) if at is None else state[at - self._trainable] for at in self._sources]
        predicted, non_trainable, penalties = self.network.stateless_call(
            trainable, non_trainable, features, training=True, return_losses=True
        )
        losses = self.loss(labels, predicted).reshape(-1) * mask
        objective = losses.sum() / mask.sum() + sum(penalties)
        state = [value for at, value in zip(self._sources, non_trainable, strict=True) if at is not None]
        seeds = [value for at, value in zip(self._sources, non_trainable, strict=True) if at is None]
        return objective, (state, seeds, losses.sum())


def compile_forward(network: Any) -> Callable[[Matrix], Matrix]:
    """The network's prediction as a compiled function from rows to outputs; compiled again for another number of rows."""
    trainable = [v.value for v in network.trainable_variables]
    state = [v.value for v in network.non_trainable_variables]
    compiled = jax.jit(lambda trainable, state, rows: network.stateless_call(trainable, state, rows, training=False)[0])
    return lambda rows: np.asarray(compiled(trainable, state, rows))
