"""Runs on executors. The interface of an update rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class UpdateRule(ABC):
    """How a worker's window moves the server weights, and which weights the worker continues from.

    Attributes:
        trainable: the number of trainable weights; they are a vector's first entries.
        num_workers: the number of workers that share the server weights.
    """

    trainable: int
    num_workers: int

    #: Whether the answer to a commit is the server weights, so that newer ones may take their place.
    answers_with_weights = True
    #: Whether every worker trains a network of its own, so that its steps are the clock of its learning rate.
    is_independent = False

    @property
    def workers_per_clock(self) -> int:
        """Number of workers whose steps one clock counts."""
        return 1 if self.is_independent else self.num_workers

    def open(self, initial: Matrix) -> Matrix:
        """Return the store of a new run, (rows, weights).

        Args:
            initial: the initial weights of the members, (members, weights).
        """
        return initial[:1].copy()

    def result(self, store: Matrix) -> Matrix:
        """Return the trained weights of each member, (members, weights)."""
        return store[:1]

    def server_weights(self, store: Matrix, worker: int) -> Vector:
        """Return a copy of the server weights of a worker, (weights,)."""
        return store[0].copy()

    def pull(self, store: Matrix, worker: int) -> Vector:
        """Return a copy of the weights that a worker's next window starts from, (weights,)."""
        return self.server_weights(store, worker)

    @abstractmethod
    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        """Return the update that a worker sends after a window, (weights,).

        Args:
            before: the weights that the window started from, (weights,).
            after: the weights that it ended with, (weights,).
            steps: the optimizer steps between them.
        """

    def resume(self, after: Vector, received: Vector) -> Vector:
        """Return the weights that a worker's next window starts from, (weights,).

        Args:
            after: the worker's weights at the end of its window, (weights,).
            received: the server's answer to its update, (weights,).
        """
        return received

    def shard(self, start: int, stop: int) -> Self:
        """Return the rule for the entries from `start` to `stop` only: every rule works entry by entry."""
        return replace(self, trainable=max(0, min(self.trainable, stop) - start))

    def _mix_state(self, server: Vector, state: Vector) -> None:
        """Move the server's layer state towards a worker's by 1 / num_workers, so it stays within the workers' range."""
        if len(state):
            own = server[self.trainable :]
            own += (state - own) / np.float32(self.num_workers)


class AsynchronousRule(UpdateRule):
    """A rule that applies each worker's update on its arrival."""

    @abstractmethod
    def exchange(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        """Apply a worker's update to the store; return a copy of the answer to the worker, (weights,).

        Args:
            store: the rule's matrix, changed in place.
            worker: the worker's number.
            update: its update, (weights,).
            staleness: the number of other updates applied since the worker's last pull.
        """
