"""A run's state as bytes: what a driver that was restarted goes on from. Nothing in it is ever unpickled."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from dataclasses import asdict
from typing import Protocol

import numpy as np

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.training.server.ledger import EarlyStopping, Ledger
from airflow_provider_distkeras.training.server.store import StoreState

#: What NumPy, zip files and JSON raise for bytes that were cut off or changed.
_UNREADABLE = (
    ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, NotImplementedError, RuntimeError,
    struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip


class CheckpointStore(Protocol):
    """Where a run's snapshots are kept; a write is seen whole or not at all."""

    def read(self) -> bytes | None:
        """The last snapshot, if there is one."""

    def write(self, content: bytes) -> None:
        """Replace the last snapshot."""

    def delete(self) -> None:
        """Forget the snapshot of a run that has ended."""


def to_bytes(states: list[StoreState]) -> bytes:
    """The states of all shards as one file."""
    arrays: dict[str, np.ndarray] = {}
    books = []
    for shard, state in enumerate(states):
        arrays[f"store_{shard}"] = state.store
        if state.best is not None:
            arrays[f"best_{shard}"] = state.best
        for worker, saved in state.saved.items():
            arrays[f"saved_{shard}_{worker}"] = np.frombuffer(saved, np.uint8)
        books.append({"ledger": state.ledger.to_dict(), "stopping": asdict(state.stopping), "saved": sorted(state.saved)})
    arrays["books"] = np.frombuffer(json.dumps(books).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def from_bytes(content: bytes) -> list[StoreState]:
    """The states that `to_bytes` wrote. Raises ArtifactError for anything else."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            books = json.loads(arrays["books"].tobytes())
            return [
                StoreState(
                    store=arrays[f"store_{shard}"],
                    ledger=Ledger.from_dict(book["ledger"]),
                    saved={worker: arrays[f"saved_{shard}_{worker}"].tobytes() for worker in book["saved"]},
                    stopping=EarlyStopping(**book["stopping"]),
                    best=arrays.get(f"best_{shard}"),
                )
                for shard, book in enumerate(books)
            ]
    except _UNREADABLE as error:
        raise ArtifactError(f"Not a snapshot of a training run: {error}") from error
