"""Runs on executors. The update rules of distributed training, as pure NumPy: no I/O, no Spark, no Keras.

A rule sees a network as one flat float32 vector, in two parts. The trainable weights come first: an optimizer moves them. The
state of layers such as BatchNormalization follows: it is a running mean, so it may be averaged but never summed.

Notation: C is the server weights, W a worker's weights. A window is the steps that a worker takes between two commits, C_pulled
the server weights that its window started from. A rule keeps one matrix on the server, its store, whose first row is C. So a
server can be split into shards by columns, and a checkpoint of it is one array.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
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


class SequentialRule(AsynchronousRule):
    """Training by a single worker: C <- W."""

    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        """Return the worker's weights."""
        return after

    def exchange(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        """Replace the server weights by the worker's."""
        store[0] = update
        return store[0].copy()


class EnsembleRule(AsynchronousRule):
    """Independent training: C_i <- W_i for every worker i, so there are as many results as workers."""

    def open(self, initial: Matrix) -> Matrix:
        """Return one row per worker, (num_workers, weights)."""
        return np.resize(initial, (self.num_workers, initial.shape[1]))

    def result(self, store: Matrix) -> Matrix:
        """Return every worker's weights, (num_workers, weights)."""
        return store

    def server_weights(self, store: Matrix, worker: int) -> Vector:
        """Return a copy of the worker's own row, (weights,)."""
        return store[worker].copy()

    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        """Return the worker's weights."""
        return after

    def exchange(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        """Replace the worker's own row by its weights."""
        store[worker] = update
        return update


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


class DynSGDRule(DownpourRule):
    """Dynamic SGD: C <- C + (W - C_pulled) / (staleness + 1), then W <- C.

    Source: J. Jiang et al., "Heterogeneity-aware Distributed Parameter Servers", SIGMOD 2017; its revision of earlier updates is
    left out.
    """

    def _step(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        return update / np.float32(staleness + 1)


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


@dataclass(frozen=True)
class AEASGDRule(AsynchronousRule):
    """Asynchronous elastic averaging SGD: E = alpha (W - C), then W <- W - E and C <- C + E, so that W + C is conserved.

    The server computes E from its current weights: no update is stale. EAMSGD is the same rule with workers whose optimizer is
    SGD with Nesterov momentum.

    Source: S. Zhang, A. Choromanska, Y. LeCun, "Deep learning with Elastic Averaging SGD", NIPS 2015 (arXiv 1412.6651).

    Attributes:
        alpha: the moving rate; learning rate times rho in the paper.
    """

    alpha: float

    answers_with_weights = False

    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        """Return the worker's weights."""
        return after

    def exchange(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        """Add the elastic difference E to the server weights; return E, (weights,)."""
        server = store[0]
        elastic = update - server
        elastic[: self.trainable] *= np.float32(self.alpha)
        server[: self.trainable] += elastic[: self.trainable]
        self._mix_state(server, update[self.trainable :])
        elastic[self.trainable :] = update[self.trainable :] - server[self.trainable :]
        return elastic

    def resume(self, after: Vector, received: Vector) -> Vector:
        """Return W - E, (weights,)."""
        return after - received


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
        mean = sum(update * np.float32(count / total) for update, count in zip(updates, rows, strict=True) if count)
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
