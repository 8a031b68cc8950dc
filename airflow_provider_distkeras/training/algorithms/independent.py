"""Runs on executors. Rules by which no worker touches what another has trained."""

from __future__ import annotations

import numpy as np

from airflow_provider_distkeras.training.algorithms.rule import AsynchronousRule, Matrix, Vector


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

    is_independent = True

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
