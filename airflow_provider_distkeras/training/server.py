"""The parameter server: holds the center in the Spark driver and applies the workers' updates, each exactly once."""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_provider_distkeras.training import wire
from airflow_provider_distkeras.training.algorithms import UpdateRule, Vector
from airflow_provider_distkeras.training.wire import Frame, Op

logger = logging.getLogger(__name__)

_SECRET_BYTES = 32
_HANDSHAKE_SECONDS = 10.0


@dataclass
class WorkerState:
    """What the server knows of one worker.

    Attributes:
        sequence: windows it has committed.
        rows: rows it has to train, all epochs together.
        pulled_at: the server's count of updates when the worker last got the center.
    """

    attempt: int = -1
    sequence: int = 0
    rows: int = 0
    pulled_at: int = 0


@dataclass
class Ledger:
    """What has been trained so far: the server's clock and the account of rows and losses.

    Attributes:
        updates: updates applied; steps: steps in all of them; staleness: updates that overtook others, summed.
        epoch_rows, epoch_loss: rows and sum of losses per epoch.
    """

    updates: int = 0
    steps: int = 0
    staleness: int = 0
    epoch_rows: list[int] = field(default_factory=list)
    epoch_loss: list[float] = field(default_factory=list)
    workers: dict[int, WorkerState] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows trained so far, all epochs together."""
        return sum(self.epoch_rows)

    def book(self, frame: Frame) -> None:
        """Enter a committed window."""
        while len(self.epoch_rows) <= frame.epoch:
            self.epoch_rows.append(0)
            self.epoch_loss.append(0.0)
        self.epoch_rows[frame.epoch] += frame.rows
        self.epoch_loss[frame.epoch] += frame.loss
        self.steps += frame.steps
        self.updates += 1


class ParameterServer:
    """Serves one training run on a port of its own; use it as a context manager.

    Args:
        center: the initial weights, float32; trained in place.
        rule: how updates move the center.
        host: the address to listen on.
        on_progress: called with the ledger after updates, at most every `progress_seconds`.
    """

    def __init__(
        self,
        center: Vector,
        rule: UpdateRule,
        host: str,
        on_progress: Callable[[Ledger], None] = lambda _: None,
        progress_seconds: float = 5.0,
    ) -> None:
        self.center = center
        self.ledger = Ledger()
        self.failure: str | None = None
        self.secret = secrets.token_bytes(_SECRET_BYTES)
        self._rule = rule
        self._on_progress = on_progress
        self._progress_seconds = progress_seconds
        self._progress_at: float | None = None
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._listener = socket.create_server((host, 0), backlog=128)

    @property
    def port(self) -> int:
        """The port the system gave; another one for every run."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> ParameterServer:
        self._spawn(self._listen)
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=5.0)

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="distkeras-server", daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()

    def _listen(self) -> None:
        while not self._closing:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            self._spawn(self._serve, connection, peer)

    def _serve(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        with self._lock:
            self._connections.add(connection)
        try:
            wire.tune(connection)
            connection.settimeout(_HANDSHAKE_SECONDS)
            wire.accept(connection, self.secret)
            connection.settimeout(None)
            while True:
                reply = self._answer(wire.receive(connection, self.center.nbytes))
                wire.send(connection, reply)
        except ConnectionError:
            pass  # the worker is done, or died; Spark tells which
        except (OSError, wire.WireError) as error:
            if not self._closing:
                logger.warning("Dropped the connection from %s: %s", peer[0], error)
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _answer(self, frame: Frame) -> Frame:
        with self._lock:
            if frame.op == Op.FAILED:
                self.failure = self.failure or bytes(frame.payload).decode("utf-8", "replace")
            if self.failure is not None:
                return Frame(Op.REFUSED, payload=b"another worker failed")
            worker = self.ledger.workers.setdefault(frame.worker, WorkerState())
            if frame.attempt < worker.attempt:
                return Frame(Op.REFUSED, payload=b"a newer attempt of this worker has taken over")
            worker.attempt = frame.attempt
            if frame.op == Op.COMMIT:
                if len(frame.payload) != self.center.nbytes:
                    raise wire.WireError(f"An update of {len(frame.payload)} bytes, expected {self.center.nbytes}.")
                self._commit(worker, frame)
            elif frame.op == Op.HELLO:
                worker.rows = frame.rows
            else:
                raise wire.WireError(f"{frame.op.name} is not for a worker to say.")
            worker.pulled_at = self.ledger.updates
            center = self.center.copy()
            reply = Frame(
                Op.CENTER, frame.worker, frame.attempt, worker.sequence, self.ledger.steps, payload=wire.as_payload(center)
            )
        self._report_progress()
        return reply

    def _commit(self, worker: WorkerState, frame: Frame) -> None:
        if frame.sequence != worker.sequence + 1:
            return  # sent again: it was applied before
        staleness = self.ledger.updates - worker.pulled_at
        self._rule.apply(self.center, frame.vector(), staleness)
        worker.sequence = frame.sequence
        self.ledger.staleness += staleness
        self.ledger.book(frame)

    def _report_progress(self) -> None:
        now = time.monotonic()
        if self._progress_at is None:
            self._progress_at = now  # training begins: before that, workers were imported and compiled
        elif now - self._progress_at >= self._progress_seconds:
            self._progress_at = now
            self._on_progress(self.ledger)
