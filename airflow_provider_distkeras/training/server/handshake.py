"""Runs on executors. The handshake of a worker and the parameter server: encryption, and mutual authentication.

On connecting, each side sends a random challenge and answers the other's with an HMAC-SHA256 under the run's secret. A client
that cannot is dropped before it may send a frame.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import secrets
import socket
import ssl
import time

from airflow_provider_distkeras.training.server.protocol import Connection, WireError, receive_into, set_timeout, tune

_CHALLENGE = 32

#: The pause before a worker knocks again, and the most time for its first try; each doubles with every try.
_FIRST_PAUSE_SECONDS = 0.02
_FIRST_TRY_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 0.5

#: The most seconds that either side waits for the other during authentication; a worker knocks again until they are over.
HANDSHAKE_SECONDS = 30.0


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
