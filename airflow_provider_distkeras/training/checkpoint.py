"""Checkpoints: a run's state as bytes, from which a restarted driver resumes. Nothing in them is ever unpickled."""

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
from airflow_provider_distkeras.training.server.ledger import EarlyStopping, Ledger, Plateau
from airflow_provider_distkeras.training.server.store import StoreState

#: Errors of NumPy, zip files and JSON for bytes that were truncated or changed.
_UNREADABLE = (
    ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, NotImplementedError, RuntimeError,
    struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip


class CheckpointStore(Protocol):
    """Storage of one run's checkpoint; a write is atomic."""

    def read(self) -> bytes | None:
        """Return the last checkpoint; None if there is none."""

    def write(self, content: bytes) -> None:
        """Replace the last checkpoint."""

    def delete(self) -> None:
        """Delete the checkpoint of a run that has ended."""


def to_bytes(states: list[StoreState]) -> bytes:
    """Return the states of all shards as one NumPy archive.

    Args:
        states: one per shard, in their order.
    """
    arrays: dict[str, np.ndarray] = {}
    entries = []
    for shard, state in enumerate(states):
        arrays[f"store_{shard}"] = state.store
        if state.best is not None:
            arrays[f"best_{shard}"] = state.best
        for worker, saved in state.saved.items():
            arrays[f"saved_{shard}_{worker}"] = np.frombuffer(saved, np.uint8)
        plateau = asdict(state.plateau) if state.plateau else None
        entry = {"ledger": state.ledger.to_dict(), "stopping": asdict(state.stopping), "plateau": plateau}
        entries.append({**entry, "saved": sorted(state.saved)})
    arrays["books"] = np.frombuffer(json.dumps(entries).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def from_bytes(content: bytes) -> list[StoreState]:
    """Return the states of all shards, from the bytes of `to_bytes`.

    Raises:
        ArtifactError: the bytes are truncated, or something else.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            entries = json.loads(arrays["books"].tobytes())
            return [
                StoreState(
                    store=arrays[f"store_{shard}"],
                    ledger=Ledger.from_dict(entry["ledger"]),
                    saved={worker: arrays[f"saved_{shard}_{worker}"].tobytes() for worker in entry["saved"]},
                    stopping=EarlyStopping(**entry["stopping"]),
                    plateau=Plateau(**entry["plateau"]) if entry["plateau"] else None,
                    best=arrays.get(f"best_{shard}"),
                )
                for shard, entry in enumerate(entries)
            ]
    except _UNREADABLE as error:
        raise ArtifactError(f"Not a checkpoint of a training run: {error}") from error
