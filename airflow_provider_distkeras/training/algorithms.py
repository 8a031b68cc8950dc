"""The update rules of distributed training, as pure NumPy: no I/O, no Spark, no Keras.

A rule sees a network as one flat float32 vector, in two parts: the trainable weights first, which an optimizer moves, then the
state of layers such as BatchNormalization, which is a running mean and so may be averaged but never added up.

Notation: C is the center (on the server), W a worker's weights, and a window is the steps a worker takes between two commits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class UpdateRule(ABC):
    """How a worker's window moves the center, and what the worker goes on from.

    Attributes:
        trainable: how many of the vector's first entries are trainable weights.
        num_workers: how many workers share the center.
    """

    trainable: int
    num_workers: int

    @abstractmethod
    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        """What a worker sends after a window of `steps` steps that took it from `before` to `after`."""

    @abstractmethod
    def apply(self, center: Vector, update: Vector, staleness: int) -> None:
        """Move the center, in place, by an update that `staleness` other updates have overtaken."""

    @abstractmethod
    def resume(self, after: Vector, center: Vector) -> Vector:
        """The weights a worker's next window starts from, given its own and the center after its commit."""


class Sequential(UpdateRule):
    """Plain training by one worker: its weights are the center."""

    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        return after

    def apply(self, center: Vector, update: Vector, staleness: int) -> None:
        center[:] = update

    def resume(self, after: Vector, center: Vector) -> Vector:
        return after


class ADAG(UpdateRule):
    """Accumulated gradient normalization: C <- C + (W - C_pulled) / steps, then W <- C.

    The state part moves towards the worker's by 1 / num_workers, so it stays inside the range the workers saw.

    Source: J. Hermans, G. Spanakis, R. Moeckel, "Accumulated Gradient Normalization", ACML 2017 (arXiv 1710.02368). A window that
    the end of the data cuts short is divided by the steps it really took.
    """

    def update(self, before: Vector, after: Vector, steps: int) -> Vector:
        sent = after.copy()
        sent[: self.trainable] -= before[: self.trainable]
        sent[: self.trainable] /= np.float32(steps)
        return sent

    def apply(self, center: Vector, update: Vector, staleness: int) -> None:
        weights, state = center[: self.trainable], center[self.trainable :]
        weights += update[: self.trainable]
        state += (update[self.trainable :] - state) / np.float32(self.num_workers)

    def resume(self, after: Vector, center: Vector) -> Vector:
        return center
