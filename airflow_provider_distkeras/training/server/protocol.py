"""Runs on executors. The wire protocol between a worker and the parameter server: frames, and mutual authentication.

A frame is a fixed header and a raw payload; nothing is ever unpickled. On connecting, each side sends a random challenge and
answers the other's with an HMAC-SHA256 under the run's secret. A client that cannot is dropped before it may send a frame.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import secrets
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from airflow_provider_distkeras.contract.errors import TrainingError
from airflow_provider_distkeras.training.algorithms import Vector

_MAGIC = b"DKW3"
_CHALLENGE = 32
_HEADER = struct.Struct("!4sB?xxIQQQQQdQ")
_SINGLE_SEND_BYTES = 1 << 16
_INITIAL_BUFFER_BYTES = 1 << 16

#: The pause before a worker knocks again, and the most time for its first try; each doubles with every try.
_FIRST_PAUSE_SECONDS = 0.02
_FIRST_TRY_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 0.5

#: The most seconds that either side waits for the other during authentication; a worker knocks again until they are over.
HANDSHAKE_SECONDS = 30.0


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
        rows: the commit's rows.
        loss: the sum of their losses.
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


class ServerHandshake:
    """The server's side of the authentication of one client, on a socket that does not block.

    Args:
        sock: the connected socket.
        secret: the run's secret.
    """

    def __init__(self, sock: socket.socket, secret: bytes) -> None:
        self._socket, self._secret = sock, secret
        self._challenge = b""
        self._answer = b""

    def advance(self) -> bool:
        """Go on as far as the client's bytes allow; return whether it has proved the secret, and got the server's proof.

        Raises:
            OSError: the client has hung up, or does not encrypt.
            WireError: the client does not know the run's secret.
        """
        try:
            if not self._challenge:
                if isinstance(self._socket, ssl.SSLSocket):
                    self._socket.do_handshake()
                self._challenge = secrets.token_bytes(_CHALLENGE)
                self._socket.sendall(self._challenge)
            while len(self._answer) < 2 * _CHALLENGE:
                part = self._socket.recv(2 * _CHALLENGE - len(self._answer))
                if not part:
                    raise ConnectionError("the client has hung up")
                self._answer += part
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        other, proof = self._answer[:_CHALLENGE], self._answer[_CHALLENGE:]
        if not hmac.compare_digest(proof, _prove(self._secret, b"worker", self._challenge, other)):
            raise WireError("The client does not know this run's secret.")
        self._socket.sendall(_prove(self._secret, b"server", self._challenge, other))
        return True


def connect(address: tuple[str, int], secret: bytes, limit: int, timeout: float, certificate: str | None = None) -> Connection:
    """Connect a worker to the server and authenticate both sides: the worker's side.

    A flood of strangers may cost a worker its place at the server's door, so it knocks again while it has time.

    Args:
        address: host and port.
        secret: the run's secret.
        limit: the most bytes that a payload may have.
        timeout: seconds to wait for a response.
        certificate: the sha256 of the server's certificate, to encrypt; None for plain text.

    Raises:
        WireError: the server cannot be reached, or does not know the secret; the message names the address.
    """
    deadline, pause, patience, tries = time.monotonic() + HANDSHAKE_SECONDS, _FIRST_PAUSE_SECONDS, _FIRST_TRY_SECONDS, 1
    while True:
        try:
            sock = _authenticate(address, secret, certificate, min(patience, deadline - time.monotonic()))
            set_timeout(sock, timeout)
            return Connection(sock, limit)
        except OSError as error:
            if time.monotonic() + pause >= deadline:
                raise WireError(
                    f"Cannot reach the parameter server at {address[0]}:{address[1]} (try {tries} "
                    f"in {HANDSHAKE_SECONDS:g} s): {error}. "
                    "It runs in the Spark driver; executors must be able to connect to spark.driver.host."
                ) from error
        time.sleep(pause * random.uniform(0.5, 1.0))  # so that workers that were cut off together do not come back together
        pause, patience, tries = min(2 * pause, _MAX_PAUSE_SECONDS), 2 * patience, tries + 1


def _authenticate(address: tuple[str, int], secret: bytes, certificate: str | None, timeout: float) -> socket.socket:
    """Return a socket to a server, after each side has proved to the other that it knows the secret.

    Raises:
        OSError: the server cannot be reached, has hung up, or takes longer than the timeout.
        WireError: it is not the run's server.
    """
    sock = socket.create_connection(address, timeout=timeout)
    try:
        tune(sock)
        if certificate is not None:
            sock = _encrypt(sock, certificate)
        other, proof = memoryview(bytearray(_CHALLENGE)), memoryview(bytearray(_CHALLENGE))
        receive_into(sock, other)
        own = secrets.token_bytes(_CHALLENGE)
        sock.sendall(own + _prove(secret, b"worker", bytes(other), own))
        receive_into(sock, proof)
        if not hmac.compare_digest(bytes(proof), _prove(secret, b"server", bytes(other), own)):
            raise WireError(f"The server at {address[0]}:{address[1]} does not know this run's secret.")
    except BaseException:
        sock.close()
        raise
    return sock


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


def _encrypt(sock: socket.socket, certificate: str) -> ssl.SSLSocket:
    """Encrypt a worker's connection. The certificate is pinned by its digest, so no authority needs to have signed it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    encrypted = context.wrap_socket(sock)
    received = hashlib.sha256(encrypted.getpeercert(binary_form=True) or b"").hexdigest()
    if not hmac.compare_digest(received, certificate):
        encrypted.close()
        raise WireError("The server shows another certificate than this run's.")
    return encrypted


def _prove(secret: bytes, role: bytes, server_challenge: bytes, worker_challenge: bytes) -> bytes:
    """Return the proof that a side, `worker` or `server`, knows the secret."""
    return hmac.digest(secret, role + server_challenge + worker_challenge, "sha256")
