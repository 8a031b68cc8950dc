"""Who may talk to a parameter server: takes connections, lets through those that prove the run's secret, one thread each."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable

from airflow_provider_distkeras.training.server import protocol
from airflow_provider_distkeras.training.server.protocol import Connection

logger = logging.getLogger(__name__)

_UNPROVEN_AT_LEAST = 32
_SWEEP_SECONDS = 0.2


class Listener:
    """Listens on a port of its own, from its construction until `close`.

    Args:
        host: the address to listen on.
        secret: what peers must prove to know.
        limit: the most bytes of a frame's payload.
        workers: how many peers are expected; many more that prove nothing are not borne with.
        silence: the most seconds that a peer may say nothing.
        serve: talks with a peer until it leaves, by a ConnectionError, or misbehaves, by a WireError.
        encryption: encrypts the connections.
    """

    def __init__(
        self,
        host: str,
        secret: bytes,
        limit: int,
        workers: int,
        silence: float,
        serve: Callable[[Connection], None],
        encryption: ssl.SSLContext | None = None,
    ) -> None:
        self._secret, self._limit, self._silence = secret, limit, silence
        self._serve, self._encryption = serve, encryption
        self._most_unproven = max(_UNPROVEN_AT_LEAST, 2 * workers)
        self._lock = threading.Lock()
        self._peers: set[socket.socket] = set()
        self._unproven: dict[socket.socket, float] = {}
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._socket = socket.create_server((host, 0), backlog=128)
        self._socket.settimeout(_SWEEP_SECONDS)

    @property
    def port(self) -> int:
        """The port the system gave; another one for every run."""
        return int(self._socket.getsockname()[1])

    def open(self) -> None:
        """Begin to take connections."""
        self._spawn(self._listen)

    def close(self) -> None:
        """Hang up on everybody and wait until their threads have ended."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            peers = list(self._peers)
        for peer in peers:
            _hang_up(peer)
        for thread in self._threads:
            thread.join(timeout=5.0)

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="distkeras-server", daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()

    def _listen(self) -> None:
        while not self._closing:
            self._drop_unproven()
            try:
                peer, address = self._socket.accept()
                if self._encryption is not None:
                    peer = self._encryption.wrap_socket(peer, server_side=True, do_handshake_on_connect=False)
            except TimeoutError:
                continue
            except OSError:
                if not self._closing:  # out of file descriptors, say: workers that are served now will give theirs back
                    time.sleep(_SWEEP_SECONDS)
                continue
            with self._lock:
                self._unproven[peer] = time.monotonic() + protocol.HANDSHAKE_SECONDS
            try:
                self._spawn(self._admit, peer, address[0])
            except RuntimeError:  # no thread can be started now
                self._forget(peer)

    def _drop_unproven(self) -> None:
        """Hang up on peers that take too long to prove who they are, and on the oldest where there are too many."""
        with self._lock:
            now = time.monotonic()
            late = [peer for peer, deadline in self._unproven.items() if deadline < now]
            late += list(self._unproven)[: max(0, len(self._unproven) - self._most_unproven)]
            for peer in late:
                self._unproven.pop(peer, None)
                _hang_up(peer)

    def _forget(self, peer: socket.socket) -> None:
        with self._lock:
            self._peers.discard(peer)
            self._unproven.pop(peer, None)
        peer.close()

    def _admit(self, peer: socket.socket, host: str) -> None:
        """Serve a peer that proves the secret, until it leaves."""
        with self._lock:
            self._peers.add(peer)
        try:
            peer.settimeout(protocol.HANDSHAKE_SECONDS)
            protocol.tune(peer)
            if isinstance(peer, ssl.SSLSocket):
                peer.do_handshake()
            connection = protocol.accept(peer, self._secret, self._limit)
            with self._lock:
                self._unproven.pop(peer, None)
            protocol.wait_at_most(peer, self._silence)
            self._serve(connection)
        except ConnectionError:
            pass  # the worker is done, or died; Spark tells which
        except (OSError, protocol.WireError) as error:
            if not self._closing:
                logger.warning("Dropped the connection from %s: %s", host, error)
        finally:
            self._forget(peer)


def _hang_up(peer: socket.socket) -> None:
    with contextlib.suppress(OSError):
        socket.socket.shutdown(peer, socket.SHUT_RDWR)  # that of an SSLSocket takes away what its thread is using
