"""Runs on executors. Rules that add the update of each worker to the server weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from airflow_provider_distkeras.training.algorithms.rule import AsynchronousRule, Matrix, Vector


class DownpourRule(AsynchronousRule):
    """DOWNPOUR SGD: C <- C + (W - C_pulled), then W <- C.

    Source: J. Dean et al., "Large Scale Distributed Deep Networks", NIPS 2012.
    """

    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        """Return W - C_pulled, followed by the layer state."""
        update = after.copy()
        update[: self.trainable] -= before[: self.trainable]
        return update

    def exchange(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        """Add the update to the server weights; return a copy of them."""
        server = store[0]
        server[: self.trainable] += self._step(store, worker, update[: self.trainable], staleness)
        self._mix_state(server, update[self.trainable :])
        return server.copy()

    def _step(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        """Return the change of the trainable server weights by an update, (trainable,)."""
        return update


class AdagRule(DownpourRule):
    """Accumulated gradient normalization: C <- C + (W - C_pulled) / steps, then W <- C.

    A window that the end of the data cuts short is divided by the steps that it really took.

    Source: J. Hermans, G. Spanakis, R. Moeckel, "Accumulated Gradient Normalization", ACML 2017 (arXiv 1710.02368).
    """

    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        """Return (W - C_pulled) / steps, followed by the layer state."""
        update = super().update(before, after, steps)
        update[: self.trainable] /= np.float32(max(steps, 1))
        return update


@dataclass(frozen=True)
class DynSGDRule(DownpourRule):
    """Dynamic SGD: C <- C + (W - C_pulled) / (staleness + 1), then W <- C.

    Source: J. Jiang et al., "Heterogeneity-aware Distributed Parameter Servers", SIGMOD 2017; its revision of earlier updates is
    left out.

    Attributes:
        per_staleness: the updates that count as one of staleness: 1, or as many as workers that take their steps together.
    """

    per_staleness: int = 1

    def _step(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        return update / np.float32(staleness // self.per_staleness + 1)


@dataclass(frozen=True)
class ExperimentalRule(AdagRule):
    """ADAG that moves an entry less, the more the server weights have moved there since the worker's pull.

    C <- C + (W - C_pulled) / steps / ((C - C_pulled)^2 / rate + 1), then W <- C.

    Source: the trainer of this name in dist-keras.

    Attributes:
        learning_rate: `rate` above; the larger, the more of a stale update counts.
    """

    learning_rate: float

    def open(self, initial: Matrix) -> Matrix:
        """Return a row for C and one for every worker's C_pulled, (1 + num_workers, weights)."""
        return np.repeat(initial[:1], 1 + self.num_workers, axis=0)

    def pull(self, store: Matrix, worker: int) -> Vector:
        """Return a copy of the server weights, (weights,), and record it as the worker's C_pulled."""
        store[1 + worker] = store[0]
        return super().pull(store, worker)

    def exchange(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        """Add the damped update to the server weights; return a copy of them, the worker's next C_pulled."""
        received = super().exchange(store, worker, update, staleness)
        store[1 + worker] = received
        return received

    def _step(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        moved = store[0, : self.trainable] - store[1 + worker, : self.trainable]
        damping = moved * moved / self.learning_rate + 1.0
        return np.asarray(update / damping, np.float32)
