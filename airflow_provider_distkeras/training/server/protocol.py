"""Runs on executors. The wire protocol between a worker and the parameter server: frames.

A frame is a fixed header and a raw payload; nothing is ever unpickled. Both sides authenticate before the first, see `handshake`.
"""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from airflow_provider_distkeras.contract.errors import TrainingError
from airflow_provider_distkeras.training.algorithms.rule import Vector

_MAGIC = b"DKW3"
_HEADER = struct.Struct("!4sB?xxIQQQQQdQ")
_SINGLE_SEND_BYTES = 1 << 16
_INITIAL_BUFFER_BYTES = 1 << 16
#: The most bytes of the reason why a worker has failed.
MAX_FAILURE_BYTES = 4096


class WireError(TrainingError):
    """The other side cannot be reached, stalled, or broke the protocol."""


class FrameRefusedError(WireError, ConnectionError):
    """The server does not take this worker's frame, and has closed the connection; the message is its reason."""


class Op(IntEnum):
    """The operation of a frame: those before WEIGHTS are requests of a worker, the others responses of the server."""

    HELLO = 1
    COMMIT = 2
    PULL = 3
    EVALUATED = 4
    LEAVE = 5
    SAVE = 6
    RESTORE = 7
    FAILED = 8
    WEIGHTS = 9
    STATE = 10
    REFUSED = 11  # the run has failed
    REPLACED = 12  # another attempt of this worker has taken over
    ROWS_CHANGED = 13  # the rows are not those that an earlier attempt of this worker had
    INVALID = 14  # the frame is not one that this worker may send; the connection ends


@dataclass(slots=True)
class Frame:
    """One message.

    Attributes:
        op: the operation.
        worker: the worker's number.
        attempt: the number of its task's attempt; a larger one replaces a smaller one.
        sequence: commits that the worker has made, this one included.
        steps: optimizer steps in this commit; in a response, those of all commits.
        epoch: the commit's epoch; in the response to HELLO, the most commits that any worker's epoch makes.
        rows: the commit's rows; in the response to HELLO, those by which the run's length is computed.
        loss: the sum of their losses; in a response, what the loss has lowered the learning rate by.
        stop: in a response, whether training is to end.
        payload: weights or an update as float32 bytes, a worker's state, or JSON text.
    """

    op: Op
    worker: int = 0
    attempt: int = 0
    sequence: int = 0
    steps: int = 0
    epoch: int = 0
    rows: int = 0
    loss: float = 0.0
    stop: bool = False
    payload: bytes | memoryview = b""

    def vector(self) -> Vector:
        """Return the payload as float32, (weights,): a view of the bytes received."""
        return np.frombuffer(self.payload, np.float32)


def payload_limit(weights: int) -> int:
    """Return the most bytes that a payload may have, for a number of weights: enough for an optimizer of four slots."""
    return 5 * 4 * weights + (1 << 16)


def as_payload(vector: Vector) -> memoryview:
    """Return a vector's bytes, without a copy."""
    return np.ascontiguousarray(vector).data.cast("B")


class Connection:
    """One side of an authenticated connection. A received frame's payload is valid until the next frame is received.

    Args:
        sock: the connected socket.
        limit: the most bytes that a payload may have.
    """

    def __init__(self, sock: socket.socket, limit: int) -> None:
        self._socket = sock
        self._limit = limit
        self._buffer = memoryview(bytearray(_INITIAL_BUFFER_BYTES))

    def send(self, frame: Frame) -> None:
        """Send a frame."""
        payload = memoryview(frame.payload)
        header = _HEADER.pack(
            _MAGIC,
            frame.op,
            frame.stop,
            frame.worker,
            frame.attempt,
            frame.sequence,
            frame.steps,
            frame.epoch,
            frame.rows,
            frame.loss,
            payload.nbytes,
        )
        if payload.nbytes <= _SINGLE_SEND_BYTES:
            self._socket.sendall(header + bytes(payload))
        else:
            self._socket.sendall(header)
            self._socket.sendall(payload)

    def receive(self) -> Frame:
        """Return the next frame.

        Raises:
            WireError: the other side sent something else.
            FrameRefusedError: the other side refuses the last frame that was sent to it.
            ConnectionError: the other side closed the connection.
        """
        # The two sides alternate, so all bytes there are belong to this frame: a small one takes one call.
        received = self._receive(0, _HEADER.size, len(self._buffer))
        magic, op, stop, worker, attempt, sequence, steps, epoch, rows, loss, size = _HEADER.unpack_from(self._buffer)
        if magic != _MAGIC or op not in Op._value2member_map_ or size > self._limit:
            raise WireError(f"Not a frame of this protocol (operation {op}, {size} bytes, at most {self._limit} expected).")
        end = _HEADER.size + size
        if end > len(self._buffer):
            larger = memoryview(bytearray(end))
            larger[:received] = self._buffer[:received]
            self._buffer = larger
        if self._receive(received, end, end) > end:
            raise WireError(f"More than the {size} bytes of payload that the frame's header declares.")
        payload = self._buffer[_HEADER.size : end]
        if op == Op.INVALID:
            raise FrameRefusedError(f"The parameter server refuses a frame: {bytes(payload).decode('utf-8', 'replace')}")
        return Frame(Op(op), worker, attempt, sequence, steps, epoch, rows, loss, stop, payload)

    def _receive(self, received: int, least: int, most: int) -> int:
        """Fill the buffer up to `least` bytes, or up to `most` if they are there; return the number of bytes in it."""
        while received < least:
            try:
                count = self._socket.recv_into(self._buffer[received:most])
            except BlockingIOError:
                raise TimeoutError("the other side sent nothing for too long") from None
            if not count:
                raise ConnectionError("the other side closed the connection")
            received += count
        return received

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def tune(sock: socket.socket) -> None:
    """Send frames at once (Nagle's algorithm would hold each one back for 40 ms) and detect a host that vanished."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)


def set_timeout(sock: socket.socket, seconds: float) -> None:
    """Make the socket's calls fail with an OSError once they take that many seconds.

    The kernel keeps the time where it can: with `settimeout`, Python polls before every call, which costs as much as the call.
    """
    if isinstance(sock, ssl.SSLSocket):
        sock.settimeout(seconds)
        return
    sock.settimeout(None)
    limit = struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def receive_into(sock: socket.socket, buffer: memoryview) -> None:
    """Fill the buffer. Raise ConnectionError if the other side closes the connection first."""
    received = 0
    while received < len(buffer):
        count = sock.recv_into(buffer[received:])
        if not count:
            raise ConnectionError("the other side closed the connection")
        received += count
