"""The parameter servers of one run: one, or several shards of the weights, that act as one."""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import ssl

import numpy as np

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.training.algorithms import Matrix, UpdateRule
from airflow_provider_distkeras.training.server.client import Shard
from airflow_provider_distkeras.training.server.ledger import EarlyStopping, Ledger
from airflow_provider_distkeras.training.server.server import ParameterServer
from airflow_provider_distkeras.training.server.store import Rendezvous, StoreState

#: A server moves some GB/s; past this size, its copies cost more than what a shard's frame does.
_SHARD_BYTES = 16 << 20
_MOST_SHARDS = 4


class ParameterServers:
    """Starts the shards of a run; use it as a context manager.

    Args:
        weights: the initial weights of each member, (members, weights).
        rule: how updates move the center.
        host: the address to listen on; reach: the one the workers connect to.
        rendezvous: whether workers wait for each other.
        encryption: encrypts the connections.
        stopping: whether to stop early.
        shards: how many servers share the weights; None for what their size asks for.
        restored: the states to go on from.
    """

    def __init__(
        self,
        weights: Matrix,
        rule: UpdateRule,
        host: str,
        reach: str,
        rendezvous: Rendezvous,
        encryption: ssl.SSLContext | None = None,
        stopping: EarlyStopping | None = None,
        shards: int | None = None,
        restored: list[StoreState] | None = None,
    ) -> None:
        size = weights.shape[1]
        count = len(restored) if restored else min(shards or _shards_for(weights.nbytes), size)
        ends = np.linspace(0, size, count + 1, dtype=int).tolist()
        self._rule = rule
        self._ranges = list(itertools.pairwise(ends))
        self._reach = reach
        rules = [rule.shard(start, stop) for start, stop in self._ranges]
        if restored is None:
            states = [StoreState(part.open(weights[:, a:b])) for part, (a, b) in zip(rules, self._ranges, strict=True)]
            states[0].stopping = stopping or EarlyStopping()
        else:
            states = restored
            for state in states:  # another application counts its tasks from the beginning
                for account in state.ledger.workers.values():
                    account.attempt, account.left = -1, False
            if sum(state.store.shape[1] for state in states) != size:
                raise ArtifactError(f"The snapshot is of another network: expected {size} weights.")
        self._servers: list[ParameterServer] = []
        secret = None
        for state, part in zip(states, rules, strict=True):
            server = ParameterServer(state, part, host, secret, rendezvous, encryption, self._keep_best)
            secret = server.secret
            self._servers.append(server)
        self._open = contextlib.ExitStack()

    def __enter__(self) -> ParameterServers:
        for server in self._servers:
            self._open.enter_context(server)
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    @property
    def secret(self) -> bytes:
        """What proves that a worker belongs to the run."""
        return self._servers[0].secret

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Where the workers find the shards."""
        return tuple(
            Shard(self._reach, server.port, start, stop)
            for server, (start, stop) in zip(self._servers, self._ranges, strict=True)
        )

    @property
    def ledger(self) -> Ledger:
        """The books; the first shard keeps them."""
        return self._servers[0].ledger

    @property
    def books(self) -> StoreState:
        """The first shard's state, which keeps the books of all."""
        return self._servers[0].state

    @property
    def stopped(self) -> bool:
        """Whether training was ended before its last epoch."""
        return self._servers[0].stopped

    @property
    def active_at(self) -> float | None:
        """When a worker was last heard of (`time.monotonic`); None before the first."""
        return self._servers[0].active_at

    @property
    def failure(self) -> str | None:
        """Why the run has failed, if it has."""
        return self._servers[0].failure

    def fail(self, reason: str) -> None:
        """End the run."""
        for server in self._servers:
            server.fail(reason)

    def result(self) -> Matrix:
        """The trained weights of each member, (members, weights); the best ones, if training could stop early."""
        stores = [server.state.store if server.state.best is None else server.state.best for server in self._servers]
        return np.hstack([self._rule.result(store) for store in stores])

    def snapshot(self) -> list[StoreState]:
        """A copy of what it would take to go on after a restart."""
        return [server.frozen(copy.deepcopy) for server in self._servers]

    def _keep_best(self) -> None:
        for server in self._servers:
            server.keep_best()


def _shards_for(size: int) -> int:
    return max(1, min(_MOST_SHARDS, (os.cpu_count() or 1) // 2, size // _SHARD_BYTES))
