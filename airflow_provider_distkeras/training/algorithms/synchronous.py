"""Runs on executors. Rules that move the server weights by the updates of all workers at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from airflow_provider_distkeras.training.algorithms.rule import Matrix, UpdateRule, Vector


@dataclass(frozen=True)
class SynchronousRule(UpdateRule):
    """Synchronous local SGD: an outer optimizer moves C by the workers' mean, each weighted by the rows of its window.

    M <- mean of W - C; V <- momentum V + M; C <- C + rate (M + momentum V), with Nesterov momentum; by default C is the mean.

    Source: S. Stich, "Local SGD Converges Fast and Communicates Little", ICLR 2019 (arXiv 1805.09767); the outer momentum is
    that of A. Douillard et al., "DiLoCo" (arXiv 2311.08105).

    Attributes:
        outer_learning_rate: `rate` above.
        outer_momentum: `momentum` above.
    """

    outer_learning_rate: float = 1.0
    outer_momentum: float = 0.0

    def open(self, initial: Matrix) -> Matrix:
        """Return a row for C and one for V, (2, weights)."""
        return np.vstack([initial[:1], np.zeros_like(initial[:1])])

    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        """Return the worker's weights."""
        return after

    def combine(self, store: Matrix, updates: Sequence[Vector], rows: Sequence[int]) -> None:
        """Move the server weights by one update from each worker.

        Args:
            store: the rule's matrix, changed in place.
            updates: the workers' updates, (weights,) each.
            rows: the rows of each worker's window; those without rows do not count.
        """
        total = sum(rows)
        if not total:
            return
        server, velocity = store
        shares = [(update, np.float32(count / total)) for update, count in zip(updates, rows, strict=True) if count]
        mean = np.asarray(sum(update * share for update, share in shares))
        # What no worker moves, such as a frozen layer, stays as it is, bit for bit: a mean of equal weights may be rounded.
        state = slice(self.trainable, None)
        mean[state] = server[state] + sum((update[state] - server[state]) * share for update, share in shares)
        if self.outer_learning_rate == 1.0 and not self.outer_momentum:
            server[:] = mean
            return
        move = mean - server
        if self.outer_momentum:
            velocity[: self.trainable] *= np.float32(self.outer_momentum)
            velocity[: self.trainable] += move[: self.trainable]
            move[: self.trainable] += np.float32(self.outer_momentum) * velocity[: self.trainable]
        move[: self.trainable] *= np.float32(self.outer_learning_rate)
        server += move
