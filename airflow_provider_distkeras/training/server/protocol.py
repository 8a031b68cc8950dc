"""Frames between a worker and the parameter server, and how each proves to the other that it knows the run's secret.

A frame is a fixed header and a raw payload; nothing is ever unpickled. On connecting, each side sends a random challenge and
answers the other's with an HMAC-SHA256 under the run's secret; a peer that cannot is dropped before it may send a frame.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
import ssl
import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from airflow_provider_distkeras.contract.errors import TrainingError
from airflow_provider_distkeras.training.algorithms import Vector

_MAGIC = b"DKW2"
_CHALLENGE = 32
_HEADER = struct.Struct("!4sB?xxIQQIIQdQ")
_TOGETHER = 1 << 16
_FIRST_BUFFER = 1 << 16

#: Seconds either side waits for the other while they make each other's acquaintance.
HANDSHAKE_SECONDS = 30.0


class WireError(TrainingError):
    """A peer closed, stalled, or sent something that is not a frame."""


class Op(IntEnum):
    """What a frame says: the first are a worker's, those from CENTER on the server's."""

    HELLO = 1
    COMMIT = 2
    PULL = 3
    EVALUATED = 4
    LEAVE = 5
    SAVE = 6
    RESTORE = 7
    FAILED = 8
    CENTER = 9
    STATE = 10
    REFUSED = 11  # the run has failed
    REPLACED = 12  # another attempt of this worker has taken over
    ROWS_CHANGED = 13  # the rows are not those that an earlier attempt of this worker had


@dataclass(slots=True)
class Frame:
    """One message.

    Attributes:
        stop: from the server: training is to end.
        worker, attempt: who speaks; a larger attempt replaces a smaller one of the same worker.
        sequence: commits the worker has made, this one included.
        steps: steps in this commit; from the server: steps in all (its clock).
        epoch, rows, loss: the commit's epoch, its rows, and the sum of their losses.
        payload: weights or an update as float32 bytes, a worker's state, or a JSON text.
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
        """The payload as float32; a view of the bytes received."""
        return np.frombuffer(self.payload, np.float32)


def payload_limit(weights: int) -> int:
    """The most bytes a frame of a network of so many weights may have: enough for an optimizer of four slots."""
    return 5 * 4 * weights + (1 << 16)


def as_payload(vector: Vector) -> memoryview:
    """A vector's bytes, without a copy."""
    return np.ascontiguousarray(vector).data.cast("B")


class Connection:
    """One side of a proven connection. What a received frame holds is valid until the next one is received.

    Args:
        peer: the connected socket.
        limit: the most bytes a payload may have.
    """

    def __init__(self, peer: socket.socket, limit: int) -> None:
        self._peer = peer
        self._limit = limit
        self._buffer = memoryview(bytearray(_FIRST_BUFFER))

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
        if payload.nbytes <= _TOGETHER:
            self._peer.sendall(header + bytes(payload))
        else:
            self._peer.sendall(header)
            self._peer.sendall(payload)

    def receive(self) -> Frame:
        """Receive a frame. Raises WireError for anything else, ConnectionError at the end."""
        # Both sides speak in turns, so all that has come belongs to this frame: a small one takes one call.
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
            raise WireError(f"{received - end} bytes more than the frame said.")
        return Frame(Op(op), worker, attempt, sequence, steps, epoch, rows, loss, stop, self._buffer[_HEADER.size : end])

    def _receive(self, received: int, least: int, most: int) -> int:
        """Fill the buffer up to `least` bytes, with up to `most` if they are there; how many there are now."""
        while received < least:
            try:
                count = self._peer.recv_into(self._buffer[received:most])
            except BlockingIOError:
                raise TimeoutError("the peer has been silent for too long") from None
            if not count:
                raise ConnectionError("the peer closed the connection")
            received += count
        return received

    def close(self) -> None:
        """End the connection."""
        self._peer.close()


def accept(peer: socket.socket, secret: bytes, limit: int) -> Connection:
    """The server's side of the mutual proof. Raises WireError if the peer does not know the secret."""
    ours = secrets.token_bytes(_CHALLENGE)
    peer.sendall(ours)
    answer = memoryview(bytearray(2 * _CHALLENGE))
    receive_into(peer, answer)
    theirs, proof = bytes(answer[:_CHALLENGE]), bytes(answer[_CHALLENGE:])
    if not hmac.compare_digest(proof, _prove(secret, b"worker", ours, theirs)):
        raise WireError("The peer does not know this run's secret.")
    peer.sendall(_prove(secret, b"server", ours, theirs))
    return Connection(peer, limit)


def connect(address: tuple[str, int], secret: bytes, limit: int, timeout: float, certificate: str | None = None) -> Connection:
    """Connect a worker to the server and prove both sides.

    Args:
        address: host and port.
        secret: the run's secret.
        limit: the most bytes a frame may bring.
        timeout: seconds to wait for an answer.
        certificate: the sha256 of the server's certificate, to encrypt; None for plain text.

    Raises:
        WireError: it cannot be reached, or does not know the secret; the message names the address.
    """
    try:
        peer = socket.create_connection(address, timeout=HANDSHAKE_SECONDS)
        tune(peer)
        if certificate is not None:
            peer = _encrypt(peer, certificate)
        theirs, proof = memoryview(bytearray(_CHALLENGE)), memoryview(bytearray(_CHALLENGE))
        receive_into(peer, theirs)
        ours = secrets.token_bytes(_CHALLENGE)
        peer.sendall(ours + _prove(secret, b"worker", bytes(theirs), ours))
        receive_into(peer, proof)
    except OSError as error:
        raise WireError(
            f"Cannot reach the parameter server at {address[0]}:{address[1]}: {error}. "
            "It runs in the Spark driver; executors must be able to connect to spark.driver.host."
        ) from error
    if not hmac.compare_digest(bytes(proof), _prove(secret, b"server", bytes(theirs), ours)):
        peer.close()
        raise WireError(f"The server at {address[0]}:{address[1]} does not know this run's secret.")
    wait_at_most(peer, timeout)
    return Connection(peer, limit)


def tune(peer: socket.socket) -> None:
    """Send frames at once (Nagle's algorithm would hold each one back for 40 ms) and notice a peer that vanished."""
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)


def wait_at_most(peer: socket.socket, seconds: float) -> None:
    """Have the peer's calls fail with an OSError if they take longer.

    The system keeps the time where it can: Python, with settimeout, asks for every call whether it would wait, which costs as
    much as the call.
    """
    if isinstance(peer, ssl.SSLSocket):
        peer.settimeout(seconds)
        return
    peer.settimeout(None)
    limit = struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def receive_into(peer: socket.socket, buffer: memoryview) -> None:
    """Fill the buffer. Raises ConnectionError if the peer closes first."""
    received = 0
    while received < len(buffer):
        count = peer.recv_into(buffer[received:])
        if not count:
            raise ConnectionError("the peer closed the connection")
        received += count


def _encrypt(peer: socket.socket, certificate: str) -> ssl.SSLSocket:
    """Encrypt a worker's connection. The certificate is known by its digest, so no authority needs to have signed it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    encrypted = context.wrap_socket(peer)
    shown = hashlib.sha256(encrypted.getpeercert(binary_form=True) or b"").hexdigest()
    if not hmac.compare_digest(shown, certificate):
        encrypted.close()
        raise WireError("The server shows another certificate than this run's.")
    return encrypted


def _prove(secret: bytes, role: bytes, server_challenge: bytes, worker_challenge: bytes) -> bytes:
    return hmac.digest(secret, role + server_challenge + worker_challenge, "sha256")
