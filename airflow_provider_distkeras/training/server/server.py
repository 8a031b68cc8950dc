"""The parameter server: one run's requests, or those to one shard of its weights, on a port of its own."""

from __future__ import annotations

import contextlib
import secrets
import ssl
from collections.abc import Callable

from airflow_provider_distkeras.training.algorithms.rule import UpdateRule
from airflow_provider_distkeras.training.server import protocol
from airflow_provider_distkeras.training.server.listener import Listener
from airflow_provider_distkeras.training.server.protocol import Connection, Frame, Op, WireError
from airflow_provider_distkeras.training.server.requests import RequestHandler, SyncPolicy, WorkerId
from airflow_provider_distkeras.training.server.store import ParameterStore, StoreState

_SECRET_BYTES = 32


class ParameterServer:
    """Serves one training run, or one shard of its weights; use it as a context manager.

    Args:
        state, rule, on_best: see `ParameterStore`.
        host: the address to listen on.
        secret: the run's secret, by which a worker proves that it belongs to the run; by default a new one.
        policy: whether workers wait for each other.
        encryption: encrypts the connections.

    Attributes:
        store: the weights and the ledger.
        handler: handles the requests.
        secret: the run's secret.
    """

    def __init__(
        self,
        state: StoreState,
        rule: UpdateRule,
        host: str,
        secret: bytes | None = None,
        policy: SyncPolicy | None = None,
        encryption: ssl.SSLContext | None = None,
        on_best: Callable[[], None] | None = None,
    ) -> None:
        policy = policy or SyncPolicy()
        self.store = ParameterStore(state, rule, on_best)
        self.handler = RequestHandler(self.store, policy)
        self.secret = secret or secrets.token_bytes(_SECRET_BYTES)
        idle_timeout = 2 * policy.timeout  # a worker that waits for the server gives up first
        limit = protocol.payload_limit(state.store.shape[1])
        self._listener = Listener(host, self.secret, limit, rule.num_workers, idle_timeout, self._serve, encryption)

    @property
    def port(self) -> int:
        """The port, assigned by the system; another one for every run."""
        return self._listener.port

    def __enter__(self) -> ParameterServer:
        self._listener.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.handler.close()
        self._listener.close()

    def _serve(self, connection: Connection) -> None:
        """Respond to a client's frames, one after the other, until it leaves, or sends one that no worker may send."""
        client = WorkerId()
        try:
            while True:
                connection.send(self.handler.handle(client, connection.receive()))
        except WireError as error:
            if client.worker >= 0:  # a worker's task is told why it fails
                with contextlib.suppress(OSError):
                    connection.send(Frame(Op.INVALID, client.worker, client.attempt, payload=str(error).encode()))
            raise
        except OSError:
            raise
        except Exception as error:  # the run cannot complete, so the other workers must not wait
            self.handler.fail(f"the parameter server failed: {type(error).__name__}: {error}")
            raise
        finally:
            self.handler.disconnect(client)
