"""Runs on executors. Rules that tie workers to the server weights by an elastic force."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from airflow_provider_distkeras.training.algorithms.rule import AsynchronousRule, Matrix, Vector


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


class AEASGDMeanRule(AEASGDRule):
    """AEASGD whose result is the mean of the weights of server and workers.

    The elastic force conserves that mean, so it moves by the workers' steps alone; the server's own weights lean towards the
    last few workers.
    """

    def open(self, initial: Matrix) -> Matrix:
        """Return a row for C and one for every worker's W, (1 + num_workers, weights)."""
        return np.repeat(initial[:1], 1 + self.num_workers, axis=0)

    def server_weights(self, store: Matrix, worker: int) -> Vector:
        """Return the mean, (weights,); the layer state is the server's."""
        mean = store[0].copy()
        mean[: self.trainable] = store[:, : self.trainable].mean(axis=0)
        return mean

    def result(self, store: Matrix) -> Matrix:
        """Return the mean, (1, weights)."""
        return self.server_weights(store, 0)[np.newaxis]

    def pull(self, store: Matrix, worker: int) -> Vector:
        """Return a copy of C, from which a worker starts, (weights,)."""
        store[1 + worker] = store[0]
        return store[0].copy()

    def exchange(self, store: Matrix, worker: int, update: Vector, staleness: int) -> Vector:
        """Add the elastic difference E to the server weights; return E, (weights,)."""
        elastic = super().exchange(store, worker, update, staleness)
        np.subtract(update, elastic, out=store[1 + worker])
        return elastic
