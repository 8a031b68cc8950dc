"""The update rules of distributed training, as pure NumPy: no I/O, no Spark, no Keras.

A rule sees a network as one flat float32 vector, in two parts: the trainable weights first, which an optimizer moves, then the
state of layers such as BatchNormalization, which is a running mean and so may be averaged but never added up.

Notation: C is the center (on the server), W a worker's weights, and a window is the steps a worker takes between two commits.
Everything a rule remembers on the server is one matrix, its store, whose first row is the center. So a server can be cut into
shards by columns, and a snapshot of it is one array.
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
    """How a worker's window moves the center, and what the worker goes on from.

    Attributes:
        trainable: how many of a vector's first entries are trainable weights.
        num_workers: how many workers share the center.
    """

    trainable: int
    num_workers: int

    def open(self, initial: Matrix) -> Matrix:
        """The store of a new run, from the initial weights of its members, (members, weights)."""
        return initial[:1].copy()

    def result(self, store: Matrix) -> Matrix:
        """The trained weights of each member, (members, weights)."""
        return store[:1]

    def center(self, store: Matrix, worker: int) -> Vector:
        """A copy of a worker's center."""
        return store[0].copy()

    def pull(self, store: Matrix, worker: int) -> Vector:
        """A copy of the center that a worker starts from."""
        return self.center(store, worker)

    @abstractmethod
    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        """What a worker sends after a window of `steps` steps that took it from `before` to `after`."""

    def resume(self, after: Vector, received: Vector) -> Vector:
        """The weights a worker's next window starts from, given its own and what it got for its update."""
        return received

    def shard(self, start: int, stop: int) -> Self:
        """The rule for the entries from `start` to `stop` alone: every rule works entry by entry."""
        return replace(self, trainable=max(0, min(self.trainable, stop) - start))

    def _mix_state(self, center: Vector, state: Vector) -> None:
        """Move the center's state towards a worker's by 1 / num_workers, so it stays inside the range the workers saw."""
        if len(state):
            mine = center[self.trainable :]
            mine += (state - mine) / np.float32(self.num_workers)


class AsynchronousRule(UpdateRule):
    """A rule that applies each worker's update as it comes."""

    @abstractmethod
    def exchange(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        """Move the center by an update that `staleness` others have overtaken; a copy of what the worker gets for it."""


class SequentialRule(AsynchronousRule):
    """Plain training by one worker: its weights are the center."""

    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        return after

    def exchange(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        store[0] = update
        return store[0].copy()


class EnsembleRule(AsynchronousRule):
    """Independent training: every worker has a center of its own, and there are as many results as workers."""

    def open(self, initial: Matrix) -> Matrix:
        return np.resize(initial, (self.num_workers, initial.shape[1]))

    def result(self, store: Matrix) -> Matrix:
        return store

    def center(self, store: Matrix, worker: int) -> Vector:
        return store[worker].copy()

    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        return after

    def exchange(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        store[worker] = update
        return update


class DownpourRule(AsynchronousRule):
    """C <- C + (W - C_pulled), then W <- C.

    Source: J. Dean et al., "Large Scale Distributed Deep Networks", NIPS 2012.
    """

    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        sent = after.copy()
        sent[: self.trainable] -= before[: self.trainable]
        return sent

    def exchange(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        center = store[0]
        center[: self.trainable] += self._step(store, worker, update[: self.trainable], staleness)
        self._mix_state(center, update[self.trainable :])
        return center.copy()

    def _step(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        """How far an update moves the trainable part of the center."""
        return update


class AdagRule(DownpourRule):
    """Accumulated gradient normalization: C <- C + (W - C_pulled) / steps, then W <- C.

    Source: J. Hermans, G. Spanakis, R. Moeckel, "Accumulated Gradient Normalization", ACML 2017 (arXiv 1710.02368). A window that
    the end of the data cuts short is divided by the steps it really took.
    """

    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        sent = super().update(before, after, steps)
        sent[: self.trainable] /= np.float32(max(steps, 1))
        return sent


class DynSGDRule(DownpourRule):
    """C <- C + (W - C_pulled) / (staleness + 1), then W <- C: what others have overtaken counts for less.

    Source: J. Jiang et al., "Heterogeneity-aware Distributed Parameter Servers", SIGMOD 2017; its
    revision of old updates is left out.
    """

    def _step(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        return update / np.float32(staleness + 1)


@dataclass(frozen=True)
class ExperimentalRule(AdagRule):
    """ADAG that moves an entry less, the more the center has moved there since the worker's pull.

    C <- C + (W - C_pulled) / steps / ((C - C_pulled)^2 / rate + 1), then W <- C.

    Source: the trainer of this name in dist-keras.

    Attributes:
        learning_rate: `rate` above; the larger, the more of a stale update is taken.
    """

    learning_rate: float

    def open(self, initial: Matrix) -> Matrix:
        return np.repeat(initial[:1], 1 + self.num_workers, axis=0)

    def pull(self, store: Matrix, worker: int) -> Vector:
        store[1 + worker] = store[0]
        return super().pull(store, worker)

    def exchange(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        received = super().exchange(store, worker, update, staleness)
        store[1 + worker] = received
        return received

    def _step(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        moved = store[0, : self.trainable] - store[1 + worker, : self.trainable]
        held_back = moved * moved / self.learning_rate + 1.0
        return np.asarray(update / held_back, np.float32)


@dataclass(frozen=True)
class AEASGDRule(AsynchronousRule):
    """Asynchronous elastic averaging: E = alpha (W - C), then W <- W - E and C <- C + E, so that W + C stays what it was.

    The server works out E, from the center as it is then: no update is stale. EAMSGD is the same rule around workers whose
    optimizer is SGD with Nesterov's momentum.

    Source: S. Zhang, A. Choromanska, Y. LeCun, "Deep learning with Elastic Averaging SGD", NIPS 2015 (arXiv 1412.6651).

    Attributes:
        alpha: the moving rate; learning rate times rho in the paper.
    """

    alpha: float

    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        return after

    def exchange(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        center = store[0]
        elastic = update - center
        elastic[: self.trainable] *= np.float32(self.alpha)
        center[: self.trainable] += elastic[: self.trainable]
        self._mix_state(center, update[self.trainable :])
        elastic[self.trainable :] = update[self.trainable :] - center[self.trainable :]
        return elastic

    def resume(self, after: Vector, received: Vector) -> Vector:
        return after - received


@dataclass(frozen=True)
class SynchronousRule(UpdateRule):
    """A rule that applies the workers' updates together: their mean, each by the rows of its window, by an outer optimizer.

    M <- mean of W - C; V <- momentum V + M; C <- C + rate (M + momentum V), with Nesterov's momentum; by default C is the mean.

    Source: S. Stich, "Local SGD Converges Fast and Communicates Little", ICLR 2019 (arXiv 1805.09767); the outer momentum is
    that of A. Douillard et al., "DiLoCo" (arXiv 2311.08105).

    Attributes:
        outer_learning_rate: `rate` above.
        outer_momentum: `momentum` above.
    """

    outer_learning_rate: float = 1.0
    outer_momentum: float = 0.0

    def open(self, initial: Matrix) -> Matrix:
        return np.vstack([initial[:1], np.zeros_like(initial[:1])])

    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        return after

    def combine(self, store: Matrix, updates: Sequence[Vector], rows: Sequence[int]) -> None:
        """Move the center by one update from each worker; those without rows do not count."""
        total = sum(rows)
        if not total:
            return
        center, velocity = store
        mean = sum(update * np.float32(count / total) for update, count in zip(updates, rows, strict=True) if count)
        if self.outer_learning_rate == 1.0 and not self.outer_momentum:
            center[:] = mean
            return
        move = mean - center
        if self.outer_momentum:
            velocity[: self.trainable] *= np.float32(self.outer_momentum)
            velocity[: self.trainable] += move[: self.trainable]
            move[: self.trainable] += np.float32(self.outer_momentum) * velocity[: self.trainable]
        move[: self.trainable] *= np.float32(self.outer_learning_rate)
        center += move
