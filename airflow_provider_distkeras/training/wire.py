"""Frames between a worker and the parameter server, and how each proves to the other that it knows the run's secret.

A frame is a fixed header and a raw payload; nothing is ever unpickled. On connecting, each side sends a random challenge and
answers the other's with an HMAC-SHA256 under the run's secret; a peer that cannot is dropped before it may send a frame.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from airflow_provider_distkeras.contract.errors import TrainingError
from airflow_provider_distkeras.training.algorithms import Vector

_MAGIC = b"DKW1"
_CHALLENGE = 32
_HEADER = struct.Struct("!4sBxxxIQQIIQdQ")

#: Seconds either side waits for the other's next bytes inside an exchange.
TIMEOUT = 120.0


class WireError(TrainingError):
    """A peer closed, stalled, or sent something that is not a frame."""


class Op(IntEnum):
    """What a frame says."""

    HELLO = 1
    COMMIT = 2
    FAILED = 3
    CENTER = 4
    REFUSED = 5


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes:
        worker, attempt: who speaks; a larger attempt replaces a smaller one of the same worker.
        sequence: windows the worker has committed, this one included.
        steps: steps in this window; from the server: steps in all (its clock).
        epoch, rows, loss: the window's epoch, its rows, and the sum of their losses; in HELLO, the rows of all epochs.
        payload: weights or an update as float32 bytes, or a text.
    """

    op: Op
    worker: int = 0
    attempt: int = 0
    sequence: int = 0
    steps: int = 0
    epoch: int = 0
    rows: int = 0
    loss: float = 0.0
    payload: bytes | memoryview = b""

    def vector(self) -> Vector:
        """The payload as float32; a view of the bytes received."""
        return np.frombuffer(self.payload, np.float32)


def as_payload(vector: Vector) -> memoryview:
    """A vector's bytes, without a copy."""
    return np.ascontiguousarray(vector).data.cast("B")


def send(connection: socket.socket, frame: Frame) -> None:
    """Send a frame."""
    payload = memoryview(frame.payload)
    header = _HEADER.pack(
        _MAGIC,
        frame.op,
        frame.worker,
        frame.attempt,
        frame.sequence,
        frame.steps,
        frame.epoch,
        frame.rows,
        frame.loss,
        payload.nbytes,
    )
    connection.sendall(header)
    if payload.nbytes:
        connection.sendall(payload)


def receive(connection: socket.socket, limit: int) -> Frame:
    """Receive a frame whose payload is at most `limit` bytes. Raises WireError for anything else, ConnectionError at the end."""
    head = _receive_exactly(connection, _HEADER.size)
    magic, op, worker, attempt, sequence, steps, epoch, rows, loss, size = _HEADER.unpack(head)
    if magic != _MAGIC or op not in Op._value2member_map_ or size > limit:
        raise WireError(f"Not a frame of this protocol (operation {op}, {size} bytes, at most {limit} expected).")
    return Frame(Op(op), worker, attempt, sequence, steps, epoch, rows, loss, _receive_exactly(connection, size))


def accept(connection: socket.socket, secret: bytes) -> None:
    """The server's side of the mutual proof. Raises WireError if the peer does not know the secret."""
    ours = secrets.token_bytes(_CHALLENGE)
    connection.sendall(ours)
    theirs = bytes(_receive_exactly(connection, _CHALLENGE))
    proof = bytes(_receive_exactly(connection, _CHALLENGE))
    if not hmac.compare_digest(proof, _prove(secret, b"worker", ours, theirs)):
        raise WireError("The peer does not know this run's secret.")
    connection.sendall(_prove(secret, b"server", ours, theirs))


def connect(address: tuple[str, int], secret: bytes) -> socket.socket:
    """Connect a worker to the server and prove both sides. Raises WireError, naming the address, if that fails."""
    try:
        connection = socket.create_connection(address, timeout=TIMEOUT)
        tune(connection)
        theirs = bytes(_receive_exactly(connection, _CHALLENGE))
        ours = secrets.token_bytes(_CHALLENGE)
        connection.sendall(ours + _prove(secret, b"worker", theirs, ours))
        proof = bytes(_receive_exactly(connection, _CHALLENGE))
    except OSError as error:
        raise WireError(
            f"Cannot reach the parameter server at {address[0]}:{address[1]}: {error}. "
            "It runs in the Spark driver; executors must be able to connect to spark.driver.host."
        ) from error
    if not hmac.compare_digest(proof, _prove(secret, b"server", theirs, ours)):
        connection.close()
        raise WireError(f"The server at {address[0]}:{address[1]} does not know this run's secret.")
    return connection


def tune(connection: socket.socket) -> None:
    """Send frames at once (Nagle's algorithm would hold each one back for 40 ms) and notice a peer that vanished."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _prove(secret: bytes, role: bytes, server_challenge: bytes, worker_challenge: bytes) -> bytes:
    return hmac.digest(secret, role + server_challenge + worker_challenge, "sha256")


def _receive_exactly(connection: socket.socket, size: int) -> memoryview:
    buffer = memoryview(bytearray(size))
    received = 0
    while received < size:
        count = connection.recv_into(buffer[received:])
        if not count:
            raise ConnectionError("the peer closed the connection")
        received += count
    return buffer
