"""The listener of a parameter server: accepts connections and serves those that prove the run's secret, one thread each."""

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

_MIN_UNAUTHENTICATED = 32
_SWEEP_SECONDS = 0.2


class Listener:
    """Listens on a port of its own, from its construction until `close`.

    Args:
        host: the address to listen on.
        secret: the run's secret, which clients must prove to know.
        limit: the most bytes of a frame's payload.
        workers: the number of clients expected; it limits how many unauthenticated connections may be open at once.
        idle_timeout: the most seconds that a client may send nothing.
        serve: serves a client until it leaves, by a ConnectionError, or breaks the protocol, by a WireError.
        encryption: encrypts the connections.
    """

    def __init__(
        self,
        host: str,
        secret: bytes,
        limit: int,
        workers: int,
        idle_timeout: float,
        serve: Callable[[Connection], None],
        encryption: ssl.SSLContext | None = None,
    ) -> None:
        self._secret, self._limit, self._idle_timeout = secret, limit, idle_timeout
        self._serve, self._encryption = serve, encryption
        self._max_unauthenticated = max(_MIN_UNAUTHENTICATED, 2 * workers)
        self._lock = threading.Lock()
        self._clients: set[socket.socket] = set()
        self._unauthenticated: dict[socket.socket, float] = {}
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._socket = socket.create_server((host, 0), backlog=128)
        self._socket.settimeout(_SWEEP_SECONDS)

    @property
    def port(self) -> int:
        """The port, assigned by the system; another one for every run."""
        return int(self._socket.getsockname()[1])

    def open(self) -> None:
        """Begin to accept connections."""
        self._spawn(self._listen)

    def close(self) -> None:
        """Close all connections and wait until their threads have ended."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            _shut_down(client)
        for thread in self._threads:
            thread.join(timeout=5.0)

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="distkeras-server", daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()

    def _listen(self) -> None:
        while not self._closing:
            self._drop_unauthenticated()
            try:
                client, address = self._socket.accept()
                if self._encryption is not None:
                    client = self._encryption.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
            except TimeoutError:
                continue
            except OSError:
                if not self._closing:  # out of file descriptors, for example: workers that are served now will free theirs
                    time.sleep(_SWEEP_SECONDS)
                continue
            with self._lock:
                self._unauthenticated[client] = time.monotonic() + protocol.HANDSHAKE_SECONDS
            try:
                self._spawn(self._serve_client, client, address[0])
            except RuntimeError:  # no thread can be started now
                self._forget(client)

    def _drop_unauthenticated(self) -> None:
        """Close connections that take too long to authenticate, and the oldest ones where there are too many."""
        with self._lock:
            now = time.monotonic()
            late = [client for client, deadline in self._unauthenticated.items() if deadline < now]
            late += list(self._unauthenticated)[: max(0, len(self._unauthenticated) - self._max_unauthenticated)]
            for client in late:
                self._unauthenticated.pop(client, None)
                _shut_down(client)

    def _forget(self, client: socket.socket) -> None:
        with self._lock:
            self._clients.discard(client)
            self._unauthenticated.pop(client, None)
        client.close()

    def _serve_client(self, client: socket.socket, host: str) -> None:
        """Serve a client that proves the secret, until it leaves."""
        with self._lock:
            self._clients.add(client)
        try:
            client.settimeout(protocol.HANDSHAKE_SECONDS)
            protocol.tune(client)
            if isinstance(client, ssl.SSLSocket):
                client.do_handshake()
            connection = protocol.accept(client, self._secret, self._limit)
            with self._lock:
                self._unauthenticated.pop(client, None)
            protocol.set_timeout(client, self._idle_timeout)
            self._serve(connection)
        except ConnectionError:
            pass  # the worker has completed or died; Spark reports which
        except (OSError, protocol.WireError) as error:
            if not self._closing:
                logger.warning("Dropped the connection from %s: %s", host, error)
        finally:
            self._forget(client)


def _shut_down(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        socket.socket.shutdown(client, socket.SHUT_RDWR)  # an SSLSocket's own shutdown breaks the thread that is using it
