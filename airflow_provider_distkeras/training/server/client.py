"""Runs on executors. A worker's client of the parameter server: one connection per shard of the weights."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from airflow_provider_distkeras.contract.errors import TrainingError
from airflow_provider_distkeras.training.algorithms.rule import Vector
from airflow_provider_distkeras.training.server import handshake, protocol
from airflow_provider_distkeras.training.server.protocol import Frame, Op


class RequestRefusedError(TrainingError):
    """The server refuses this worker's requests: the run has failed."""


class WorkerReplacedError(RequestRefusedError):
    """Another attempt of this worker has taken over: this task must fail, the run goes on."""


class ConnectionLostError(TrainingError):
    """A worker's connection broke, and the server is still there: this task must fail, its next attempt goes on."""


class RowsChangedError(RequestRefusedError):
    """The rows differ from those of an earlier attempt of this worker, so it cannot resume."""


_REFUSALS = {Op.REFUSED: RequestRefusedError, Op.REPLACED: WorkerReplacedError, Op.ROWS_CHANGED: RowsChangedError}


@dataclass(frozen=True)
class Shard:
    """The address of a server, and the weights that it holds: those from `start` to `stop`."""

    host: str
    port: int
    start: int
    stop: int


class Transport(Protocol):
    """A connection that carries requests and their responses."""

    def send(self, frame: Frame) -> None:
        """Send a request."""

    def receive(self) -> Frame:
        """Return the response to the last request."""

    def close(self) -> None:
        """End the connection."""


@dataclass(frozen=True)
class ServerReply:
    """The responses of all shards to one request, as one.

    Attributes:
        weights: the update rule's answer, (weights,); the next response with a payload reuses its buffer, unless this is
            the reply to `hello`.
        sequence: commits of this worker that have been applied.
        steps: optimizer steps of all workers together; of this one, if it trains a network of its own.
        commits: the most commits that any worker's epoch makes; in the reply to `hello` only.
        rows: the rows of all workers that share the steps, as far as they are known; in the reply to `hello` only.
        rate_factor: what to multiply the learning rate by.
        stop: whether training is to end.
    """

    weights: Vector
    sequence: int
    steps: int
    commits: int
    rows: int
    rate_factor: float
    stop: bool


class ParameterClient:
    """Sends one worker's requests to all shards, as if they were one server. The first shard keeps the ledger.

    Every method may raise:
        WireError: a server cannot be reached, or breaks the protocol.
        RequestRefusedError: the server refuses this worker's requests.

    Attributes:
        waited: seconds spent waiting for responses.
    """

    def __init__(self, connections: Sequence[Transport], shards: tuple[Shard, ...], worker: int, attempt: int) -> None:
        self._connections, self._shards = connections, shards
        self._worker, self._attempt = worker, attempt
        self._limit = protocol.payload_limit(min(shard.stop - shard.start for shard in shards))
        self.waited = 0.0

    @classmethod
    def connect(
        cls, shards: tuple[Shard, ...], secret: bytes, certificate: str | None, timeout: float, worker: int, attempt: int
    ) -> ParameterClient:
        """Connect a worker to the servers of a run.

        Args:
            shards: the servers' addresses and ranges.
            secret: the run's secret.
            certificate: the sha256 of the servers' certificate; None for plain text.
            timeout: seconds to wait for a response.
            worker: the worker's number.
            attempt: the number of the task's attempt.

        Raises:
            WireError: a server cannot be reached, or does not know the secret.
        """
        patience = timeout + handshake.HANDSHAKE_SECONDS  # the server's own waits should end before the client's
        connections = [
            handshake.connect(
                (shard.host, shard.port), secret, protocol.payload_limit(shard.stop - shard.start), patience, certificate
            )
            for shard in shards
        ]
        return cls(connections, shards, worker, attempt)

    def hello(self, rows: int, commits: int, digest: int) -> ServerReply:
        """Register the worker; return the weights to start from and what earlier attempts have committed.

        Args:
            rows: the worker's rows.
            commits: commits that an epoch of them makes.
            digest: a hash of the rows; it must be the same for every attempt.
        """
        payload = json.dumps({"rows": rows, "commits": commits, "digest": digest}).encode()
        reply = self._merge(self._exchange([self._frame(Op.HELLO, payload=payload)] * len(self._shards)))
        return replace(reply, weights=reply.weights.copy())  # `restore` comes next, whose response has the buffer then

    def commit(
        self,
        update: Vector,
        sequence: int,
        steps: int,
        epoch: int,
        rows: int,
        loss: float,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> ServerReply:
        """Send an update and return the server's answer to it.

        Args:
            update: the update, (weights,).
            sequence: the number of this commit, from 1; one that was applied before is not applied again.
            steps: optimizer steps in the update.
            epoch: the epoch of these steps.
            rows: rows trained in them.
            loss: the sum of the rows' losses.
            meanwhile: called between sending and waiting.
        """
        frames = [
            Frame(
                Op.COMMIT,
                self._worker,
                self._attempt,
                sequence,
                steps,
                epoch,
                rows,
                loss,
                payload=protocol.as_payload(update[shard.start : shard.stop]),
            )
            for shard in self._shards
        ]
        return self._merge(self._exchange(frames, meanwhile=meanwhile))

    def pull(self) -> Vector:
        """Return the server weights as they are now, (weights,)."""
        return self._merge(self._exchange([self._frame(Op.PULL)] * len(self._shards))).weights

    def report_evaluation(self, epoch: int, rows: int, metrics: dict[str, float], stop: bool) -> tuple[bool, float]:
        """Report the end of an epoch; return whether training is to end, and what to multiply the learning rate by.

        Args:
            epoch: the epoch that ended.
            rows: rows evaluated.
            metrics: the mean of each metric over those rows.
            stop: whether a callback requests the end of training.
        """
        payload = json.dumps({"measured": metrics, "stop": stop}).encode()
        frame = Frame(Op.EVALUATED, self._worker, self._attempt, epoch=epoch, rows=rows if metrics else 0, payload=payload)
        replies = self._exchange([frame] * len(self._shards))
        return replies[0].stop, replies[0].loss

    def leave(self) -> None:
        """Report that this worker has trained all its epochs."""
        self._exchange([self._frame(Op.LEAVE)] * len(self._shards))

    def save(self, state: bytes) -> None:
        """Store this worker's state on the server, unless it is larger than a frame may be."""
        if len(state) <= self._limit:
            self._exchange([self._frame(Op.SAVE, payload=state)], first_only=True)

    def restore(self) -> bytes:
        """Return the state that an earlier attempt saved; empty if there is none."""
        return bytes(self._exchange([self._frame(Op.RESTORE)], first_only=True)[0].payload)

    def fail(self, message: str) -> None:
        """Report that the run has failed, so that the other workers stop."""
        for connection in self._connections:
            connection.send(self._frame(Op.FAILED, payload=message.encode()[: protocol.MAX_FAILURE_BYTES]))

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.close()

    def _frame(self, op: Op, payload: bytes = b"") -> Frame:
        return Frame(op, self._worker, self._attempt, payload=payload)

    def _exchange(
        self, frames: list[Frame], first_only: bool = False, meanwhile: Callable[[], None] = lambda: None
    ) -> list[Frame]:
        """Send every shard its frame, then receive every response."""
        connections = self._connections[:1] if first_only else self._connections
        for connection, frame in zip(connections, frames, strict=True):
            connection.send(frame)
        meanwhile()
        started = time.perf_counter()
        replies = [connection.receive() for connection in connections]
        self.waited += time.perf_counter() - started
        for reply in replies:
            if reply.op in _REFUSALS:
                raise _REFUSALS[reply.op](bytes(reply.payload).decode("utf-8", "replace"))
        return replies

    def _merge(self, replies: list[Frame]) -> ServerReply:
        parts = [reply.vector() for reply in replies]
        first = replies[0]
        sequence = min(reply.sequence for reply in replies)
        weights = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return ServerReply(weights, sequence, first.steps, first.epoch, first.rows, first.loss, first.stop)
