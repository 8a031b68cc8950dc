"""A worker's side of its connections to the parameter servers: one per shard of the weights."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from airflow_provider_distkeras.contract.errors import TrainingError
from airflow_provider_distkeras.training.algorithms import Vector
from airflow_provider_distkeras.training.server import protocol
from airflow_provider_distkeras.training.server.protocol import Frame, Op


@dataclass(frozen=True)
class Shard:
    """Where a server is, and which of the weights it holds: those from `start` to `stop`."""

    host: str
    port: int
    start: int
    stop: int


class Transport(Protocol):
    """What answers every frame that it is sent."""

    def send(self, frame: Frame) -> None:
        """Send a frame."""

    def receive(self) -> Frame:
        """The answer."""

    def close(self) -> None:
        """End the connection."""


@dataclass(frozen=True)
class Reply:
    """What a worker gets for a commit.

    Attributes:
        weights: what the update rule answers.
        sequence: commits that have been applied; steps: the server's clock.
        commits: the most commits that any worker's epoch makes.
        stop: training is to end.
    """

    weights: Vector
    sequence: int
    steps: int
    commits: int
    stop: bool


class ParameterClient:
    """Speaks to all shards as if they were one server. The first one keeps the books.

    Raises:
        WireError: a server cannot be reached, or breaks the rules.
        Refused: a server does not want this worker's work.
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
        """A session of a worker with the servers of a run.

        Args:
            shards: where they are.
            secret, certificate: what proves one belongs to the run, and the digest of the servers' certificate.
            timeout: seconds to wait for an answer.
            worker, attempt: who speaks.
        """
        patience = timeout + protocol.HANDSHAKE_SECONDS  # a wait of the server for other workers should end before ours
        connections = [
            protocol.connect(
                (shard.host, shard.port), secret, protocol.payload_limit(shard.stop - shard.start), patience, certificate
            )
            for shard in shards
        ]
        return cls(connections, shards, worker, attempt)

    def hello(self, rows: int, commits: int, digest: int) -> Reply:
        """Say who speaks: how many rows there are, how many commits an epoch of them makes, and what they are known by."""
        said = json.dumps({"rows": rows, "commits": commits, "digest": digest}).encode()
        return self._gathered(self._exchange([self._frame(Op.HELLO, payload=said)] * len(self._shards)))

    def commit(
        self,
        update: Vector,
        sequence: int,
        steps: int,
        epoch: int,
        rows: int,
        loss: float,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Reply:
        """Send an update: the steps, rows and losses of `epoch` that are in it; call `meanwhile`, then wait for the answer."""
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
        return self._gathered(self._exchange(frames, meanwhile=meanwhile))

    def pull(self) -> Vector:
        """The center as it is now."""
        return self._gathered(self._exchange([self._frame(Op.PULL)] * len(self._shards))).weights

    def evaluated(self, epoch: int, rows: int, measured: dict[str, float], stop: bool) -> bool:
        """Tell what an epoch came to on `rows` rows, and whether a callback asks to stop; whether training is to end."""
        said = json.dumps({"measured": measured, "stop": stop}).encode()
        frame = Frame(Op.EVALUATED, self._worker, self._attempt, epoch=epoch, rows=rows if measured else 0, payload=said)
        replies = self._exchange([frame] * len(self._shards))
        return replies[0].stop

    def leave(self) -> None:
        """Say that this worker has done all it had to do."""
        self._exchange([self._frame(Op.LEAVE)] * len(self._shards))

    def save(self, state: bytes) -> None:
        """Leave this worker's state with the server, unless it is larger than a frame may be."""
        if len(state) <= self._limit:
            self._exchange([self._frame(Op.SAVE, payload=state)], books_only=True)

    def restore(self) -> bytes:
        """The state that an earlier attempt left, if any."""
        return bytes(self._exchange([self._frame(Op.RESTORE)], books_only=True)[0].payload)

    def fail(self, message: str) -> None:
        """Tell the servers that this run is lost, so that the other workers stop."""
        for connection in self._connections:
            connection.send(self._frame(Op.FAILED, payload=message.encode()[:4096]))

    def close(self) -> None:
        """End the session."""
        for connection in self._connections:
            connection.close()

    def _frame(self, op: Op, payload: bytes = b"") -> Frame:
        return Frame(op, self._worker, self._attempt, payload=payload)

    def _exchange(
        self, frames: list[Frame], books_only: bool = False, meanwhile: Callable[[], None] = lambda: None
    ) -> list[Frame]:
        """Send every shard its frame, then take every answer."""
        connections = self._connections[:1] if books_only else self._connections
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

    def _gathered(self, replies: list[Frame]) -> Reply:
        parts = [reply.vector() for reply in replies]
        books = replies[0]
        sequence = min(reply.sequence for reply in replies)
        weights = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return Reply(weights, sequence, books.steps, books.epoch, books.stop)


class Refused(TrainingError):
    """The server does not want this worker's work: the run has failed."""


class Replaced(Refused):
    """Another attempt of this worker does its work: this task must fail, without the run."""


class RowsChanged(Refused):
    """The rows are not those that an earlier attempt of this worker had, so its work cannot be gone on with."""


_REFUSALS = {Op.REFUSED: Refused, Op.REPLACED: Replaced, Op.ROWS_CHANGED: RowsChanged}
