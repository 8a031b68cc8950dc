"""Runs on executors. The window on PyTorch: an eager loop over the steps, whose weights are views of one flat tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import torch
from numpy.typing import NDArray

from airflow_provider_distkeras.spark.environment import task_cores
from airflow_provider_distkeras.training import dataset
from airflow_provider_distkeras.training.algorithms.rule import Vector
from airflow_provider_distkeras.training.backends import arguments
from airflow_provider_distkeras.training.backends.base import MAX_ITERATIONS, CompiledWindow, Matrix, NetworkPlan
from airflow_provider_distkeras.training.backends.objective import Objective


class TorchWindow(CompiledWindow):
    """A window as eager PyTorch operations; see `base.CompiledWindow`."""

    def __init__(self, plan: NetworkPlan, batch_size: int, window: int) -> None:
        torch.set_num_threads(task_cores())
        super().__init__(plan, batch_size, window)
        self._device = self.variables[0].value.device
        self._flat = torch.cat([variable.value.detach().reshape(-1) for variable in self.variables])
        for variable, part in zip(self.variables, torch.split(self._flat, self.sizes), strict=True):
            variable.value.data = part.view(tuple(variable.shape))

    def reset(self, seed: int) -> None:
        """Reset the optimizer's state and all random numbers, for a new fit."""
        torch.manual_seed(seed)  # some of Keras' layers draw from PyTorch's own generator
        super().reset(seed)

    def run(
        self, flat: Vector, window: dataset.WindowBatch, learning_rates: Vector, values: Sequence[float] = ()
    ) -> tuple[Vector, float]:
        """Train on a window; see `CompiledWindow.run`."""
        arguments.bound[:] = list(values)
        self._load(flat)
        records = torch.from_numpy(window.records).to(self._device)
        total = torch.zeros((), device=self._device)
        for step in range(window.steps):
            self.optimizer.learning_rate.assign(float(learning_rates[step]))
            total += self._step(records[step], float(window.counts[step]))
        self.optimizer.iterations.value.data.clamp_(max=MAX_ITERATIONS)
        return self._flat.cpu().numpy().copy(), float(total)

    def _step(self, records: Any, count: float) -> Any:
        features, labels = records[:, : self.objective.num_features], self.objective.labels_of(records)
        outputs = self.network(self.objective.inputs_of(features), training=True)
        loss = (self.objective.row_losses(labels, outputs) * records[:, -1]).sum()
        trainable = [v.value for v in self.network.trainable_variables]
        gradients = torch.autograd.grad(loss / count + sum(self.network.losses), trainable, allow_unused=True)
        with torch.no_grad():
            self.optimizer.apply(
                [g if g is not None else torch.zeros_like(v) for g, v in zip(gradients, trainable, strict=True)],
                self.network.trainable_variables,
            )
        return loss.detach()

    def _load(self, flat: Vector) -> None:
        with torch.no_grad():
            self._flat.copy_(torch.from_numpy(np.ascontiguousarray(flat)))

    def _predict(self, flat: Vector, features: Matrix) -> list[NDArray[Any]]:
        self._load(flat)
        with torch.no_grad():
            outputs = self.network(self.objective.inputs_of(torch.from_numpy(features).to(self._device)), training=False)
        return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]

    def _get_state(self) -> list[NDArray[Any]]:
        return [keras.ops.convert_to_numpy(variable).copy() for variable in (*self.optimizer.variables, *self.seed_states)]

    def _set_state(self, values: Sequence[NDArray[Any]]) -> None:
        for variable, value in zip((*self.optimizer.variables, *self.seed_states), values, strict=True):
            variable.assign(value)


def compile_window(plan: NetworkPlan, batch_size: int, window: int) -> TorchWindow:
    """Return a compiled window; see `backends.compile_window`."""
    return TorchWindow(plan, batch_size, window)


def compile_forward(network: Any, objective: Objective, batch_size: int) -> Callable[[Matrix], list[NDArray[np.float32]]]:
    """Return the prediction; see `backends.compile_forward`."""
    torch.set_num_threads(task_cores())

    def predict(rows: Matrix) -> list[NDArray[np.float32]]:
        inputs = objective.inputs_of(keras.ops.convert_to_tensor(rows))
        outputs = keras.tree.flatten(network(inputs, training=False))
        return [keras.ops.convert_to_numpy(keras.ops.cast(output, "float32")).reshape(len(rows), -1) for output in outputs]

    def forward(rows: Matrix) -> list[NDArray[np.float32]]:
        with torch.no_grad():
            parts = [predict(rows[start : start + batch_size]) for start in range(0, len(rows), batch_size)]
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    return forward
