"""The sharded parameter server: one server per shard of the weights, all of them one run's."""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import ssl

import numpy as np

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.training.algorithms.rule import Matrix, UpdateRule
from airflow_provider_distkeras.training.server.client import Shard
from airflow_provider_distkeras.training.server.ledger import EarlyStopping, Ledger, Plateau
from airflow_provider_distkeras.training.server.requests import SyncPolicy
from airflow_provider_distkeras.training.server.server import ParameterServer
from airflow_provider_distkeras.training.server.store import StoreState

#: A server moves some GB/s; past this size, its copies cost more than another shard's frame does.
_SHARD_BYTES = 16 << 20
_MAX_SHARDS = 4


class ShardedParameterServer:
    """Starts one parameter server per shard; use it as a context manager.

    Args:
        weights: the initial weights of each member, (members, weights).
        rule: how updates move the server weights.
        host: the address to listen on.
        public_host: the address that workers connect to.
        policy: whether workers wait for each other.
        encryption: encrypts the connections.
        stopping: when training stops early.
        plateau: when the learning rate is lowered; None for never.
        shards: the number of shards; None to choose it by the size of the weights.
        restored: the states to resume from, one per shard.

    Raises:
        ArtifactError: the restored states are of another network.
    """

    def __init__(
        self,
        weights: Matrix,
        rule: UpdateRule,
        host: str,
        public_host: str,
        policy: SyncPolicy,
        encryption: ssl.SSLContext | None = None,
        stopping: EarlyStopping | None = None,
        plateau: Plateau | None = None,
        shards: int | None = None,
        restored: list[StoreState] | None = None,
    ) -> None:
        size = weights.shape[1]
        count = len(restored) if restored else min(shards or _shard_count(weights.nbytes), size)
        ends = np.linspace(0, size, count + 1, dtype=int).tolist()
        self._rule = rule
        self._ranges = list(itertools.pairwise(ends))
        self._public_host = public_host
        rules = [rule.shard(start, stop) for start, stop in self._ranges]
        if restored is None:
            states = [StoreState(part.open(weights[:, a:b])) for part, (a, b) in zip(rules, self._ranges, strict=True)]
            states[0].stopping, states[0].plateau = stopping or EarlyStopping(), plateau
        else:
            states = restored
            for state in states:  # another application counts its tasks from the beginning
                for account in state.ledger.workers.values():
                    account.attempt, account.left = -1, False
            if sum(state.store.shape[1] for state in states) != size:
                raise ArtifactError(f"The checkpoint is of another network: expected {size} weights.")
        self._servers: list[ParameterServer] = []
        secret = None
        for state, part in zip(states, rules, strict=True):
            server = ParameterServer(state, part, host, secret, policy, encryption, self._keep_best)
            secret = server.secret
            self._servers.append(server)
        self._open = contextlib.ExitStack()

    def __enter__(self) -> ShardedParameterServer:
        for server in self._servers:
            self._open.enter_context(server)
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    @property
    def secret(self) -> bytes:
        """The run's secret, by which a worker proves that it belongs to the run."""
        return self._servers[0].secret

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The address and the range of every shard."""
        return tuple(
            Shard(self._public_host, server.port, start, stop)
            for server, (start, stop) in zip(self._servers, self._ranges, strict=True)
        )

    @property
    def ledger(self) -> Ledger:
        """The updates applied, by the first shard's ledger: every commit goes to every shard."""
        return self._servers[0].store.ledger

    @property
    def state(self) -> StoreState:
        """The first shard's state: its ledger, the workers' states and the early stopping are the run's."""
        return self._servers[0].store.state

    @property
    def stopped(self) -> bool:
        """Whether training ended before its last epoch."""
        return self._servers[0].store.stopped

    @property
    def active_at(self) -> float | None:
        """The time of the last frame of a worker (`time.monotonic`); None before the first."""
        return self._servers[0].handler.active_at

    @property
    def failure(self) -> str | None:
        """Why the run has failed; None while it has not."""
        return self._servers[0].handler.failure

    def fail(self, reason: str) -> None:
        """End the run: every request is refused from now on."""
        for server in self._servers:
            server.handler.fail(reason)

    def result(self) -> Matrix:
        """Return the trained weights of each member, (members, weights); the best ones, if training could stop early."""
        states = [server.store.state for server in self._servers]
        return np.hstack([self._rule.result(state.store if state.best is None else state.best) for state in states])

    def copy_states(self) -> list[StoreState]:
        """Return a copy of every shard's state, to resume from after a restart."""
        return [server.handler.copy_state(copy.deepcopy) for server in self._servers]

    def _keep_best(self) -> None:
        for server in self._servers:
            server.store.keep_best()


def _shard_count(size: int) -> int:
    return max(1, min(_MAX_SHARDS, (os.cpu_count() or 1) // 2, size // _SHARD_BYTES))
