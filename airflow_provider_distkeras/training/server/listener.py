"""The listener of a parameter server: one thread authenticates all connections, then each worker is served by one of its own."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_distkeras.training.server import handshake, protocol
from airflow_provider_distkeras.training.server.handshake import ServerHandshake
from airflow_provider_distkeras.training.server.protocol import Connection, WireError
from airflow_provider_distkeras.training.server.refusal_log import RefusalLog

_MIN_UNAUTHENTICATED = 256
_MIN_AUTHENTICATED = 32
_SWEEP_SECONDS = 0.2
_BACKLOG = 1024
#: Connections accepted before the others' bytes are looked at again.
_ACCEPTED_AT_ONCE = 64


@dataclass(frozen=True)
class _Caller:
    """A connection that has not proved the secret yet: its handshake, its address, and when it must have ended."""

    handshake: ServerHandshake
    host: str
    deadline: float


class Listener:
    """Listens on a port of its own, from its construction until `close`.

    Args:
        host: the address to listen on.
        secret: the run's secret, which clients must prove to know.
        limit: the most bytes of a frame's payload.
        workers: the number of clients expected; it limits how many connections may be open at once.
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
        self._max_authenticated = max(_MIN_AUTHENTICATED, 4 * workers)  # attempts may overlap
        self._strangers, self._workers = RefusalLog("connections of strangers"), RefusalLog("connections of workers")
        self._selector = selectors.DefaultSelector()
        self._unauthenticated: dict[socket.socket, _Caller] = {}  # of the listening thread alone, the oldest first
        self._lock = threading.Lock()
        self._authenticated: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._socket = socket.create_server((host, 0), backlog=_BACKLOG)
        self._socket.setblocking(False)

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
        _shut_down(self._socket)
        with self._lock:
            clients = list(self._authenticated)
        for client in clients:
            _shut_down(client)
        for thread in self._threads:
            thread.join(timeout=5.0)
        self._socket.close()
        self._strangers.write(ended=True)
        self._workers.write(ended=True)

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="distkeras-server", daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()

    def _listen(self) -> None:
        """Accept and authenticate connections until the listener is closed."""
        with self._selector as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while not self._closing:
                for key, _ in selector.select(_SWEEP_SECONDS):
                    if key.fileobj is self._socket:
                        self._accept_waiting()
                    elif key.fileobj in self._unauthenticated:
                        self._advance(key.fileobj)
                self._drop_unauthenticated()
                self._strangers.write()
                self._workers.write()
            for client in list(self._unauthenticated):
                self._release(client).close()

    def _accept_waiting(self) -> None:
        """Accept connections that wait."""
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client, address = self._socket.accept()
            except BlockingIOError:
                return
            except OSError:
                if not self._closing:  # out of file descriptors, for example: workers that are served now will free theirs
                    time.sleep(_SWEEP_SECONDS)
                return
            client.setblocking(False)
            if self._encryption is not None:
                try:
                    client = self._encryption.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
                except OSError:  # it has left already
                    client.close()
                    continue
            deadline = time.monotonic() + handshake.HANDSHAKE_SECONDS
            self._unauthenticated[client] = _Caller(ServerHandshake(client, self._secret), address[0], deadline)
            self._selector.register(client, selectors.EVENT_READ)
            self._advance(client)

    def _advance(self, client: socket.socket) -> None:
        """Go on with a client's handshake; once it has proved the secret, serve it in a thread."""
        caller = self._unauthenticated[client]
        try:
            if not caller.handshake.advance():
                return
            self._release(client)
            self._spawn(self._serve_client, client, caller.host)
            return
        except ConnectionError:
            pass  # whoever it was has left
        except (OSError, WireError) as error:
            self._strangers.add(caller.host, str(error))
        except RuntimeError as error:  # no thread can be started now
            self._workers.add(caller.host, str(error))
        self._release(client).close()

    def _release(self, client: socket.socket) -> socket.socket:
        """Leave a client to others."""
        if self._unauthenticated.pop(client, None) is not None:
            self._selector.unregister(client)
        return client

    def _drop_unauthenticated(self) -> None:
        """Close connections that take too long to authenticate, and the oldest ones where there are too many."""
        excess, now = len(self._unauthenticated) - self._max_unauthenticated, time.monotonic()
        dropped = []
        for position, (client, caller) in enumerate(self._unauthenticated.items()):
            if position >= excess and caller.deadline >= now:
                break
            dropped.append(client)
        for client in dropped:
            self._strangers.add(self._unauthenticated[client].host, "it has not proved that it knows this run's secret")
            self._release(client).close()

    def _serve_client(self, client: socket.socket, host: str) -> None:
        """Serve a client that has proved the secret, until it leaves."""
        try:
            self._admit(client)
            protocol.tune(client)
            protocol.set_timeout(client, self._idle_timeout)
            self._serve(Connection(client, self._limit))
        except ConnectionError:
            pass  # the worker has completed or died; Spark reports which
        except (OSError, WireError) as error:
            if not self._closing:
                self._workers.add(host, str(error))
        finally:
            with self._lock:
                self._authenticated.discard(client)
            client.close()

    def _admit(self, client: socket.socket) -> None:
        """Count a client. Raise WireError if there are more than the workers can need, ConnectionError if the server closes."""
        with self._lock:
            if self._closing:
                raise ConnectionError("the server is closing")
            if len(self._authenticated) >= self._max_authenticated:
                raise WireError(f"there are {self._max_authenticated} connections of workers already")
            self._authenticated.add(client)


def _shut_down(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        socket.socket.shutdown(client, socket.SHUT_RDWR)  # an SSLSocket's own shutdown breaks the thread that is using it
