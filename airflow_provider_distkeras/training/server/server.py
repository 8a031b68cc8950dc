"""The parameter server: a center on a port of its own, for workers that prove to belong to the run."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable

from airflow_provider_distkeras.training.algorithms import UpdateRule
from airflow_provider_distkeras.training.server import protocol
from airflow_provider_distkeras.training.server.listener import Listener
from airflow_provider_distkeras.training.server.protocol import Connection
from airflow_provider_distkeras.training.server.store import ParameterStore, Rendezvous, StoreState, WorkerId

_SECRET_BYTES = 32


class ParameterServer(ParameterStore):
    """Serves one training run, or one shard of its weights; use it as a context manager.

    Args:
        state, rule, rendezvous, on_best: see `ParameterStore`.
        host: the address to listen on.
        secret: what proves that a worker belongs to the run.
        encryption: encrypts the connections.
    """

    def __init__(
        self,
        state: StoreState,
        rule: UpdateRule,
        host: str,
        secret: bytes | None = None,
        rendezvous: Rendezvous | None = None,
        encryption: ssl.SSLContext | None = None,
        on_best: Callable[[], None] | None = None,
    ) -> None:
        rendezvous = rendezvous or Rendezvous()
        super().__init__(state, rule, rendezvous, on_best)
        self.secret = secret or secrets.token_bytes(_SECRET_BYTES)
        silence = 2 * rendezvous.timeout  # what waits for it gives up first
        limit = protocol.payload_limit(state.store.shape[1])
        self._listener = Listener(host, self.secret, limit, rule.num_workers, silence, self._serve, encryption)

    @property
    def port(self) -> int:
        """The port the system gave; another one for every run."""
        return self._listener.port

    def __enter__(self) -> ParameterServer:
        self._listener.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
        self._listener.close()

    def _serve(self, connection: Connection) -> None:
        """Answer a peer's frames, one after the other, until it leaves."""
        peer = WorkerId()
        try:
            while True:
                connection.send(self.answer(peer, connection.receive()))
        except (OSError, protocol.WireError):
            raise
        except Exception as error:  # the other workers should not wait for what cannot come
            self.fail(f"the parameter server failed: {type(error).__name__}: {error}")
            raise
        finally:
            self.part(peer)
