"""Where a fit's snapshots are kept: one file per run, known by what it trains, in any storage that Spark can write to."""

from __future__ import annotations

import hashlib

from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.training.algorithms import Matrix
from airflow_provider_distkeras.training.driver import Run


class CheckpointFile:
    """The snapshots of one run (see `training.checkpoint.SnapshotStore`).

    Args:
        storage: the file system of the folder.
        folder: a folder, which may hold the snapshots of other runs too.
        run: what is trained; another trainer, network or seed has another file.
        initial: the initial weights.
    """

    def __init__(self, storage: Storage, folder: str, run: Run, initial: Matrix) -> None:
        known = repr([
            type(run.trainer).__name__, sorted(run.trainer.parameters.items()), run.plan, run.values, run.learning_rate,
            run.lr_decay, run.seed, run.patience, run.min_delta, hashlib.sha256(initial.tobytes()).hexdigest(),
        ])  # fmt: skip
        self._storage = storage
        self._path = f"{folder.rstrip('/')}/{hashlib.sha256(known.encode()).hexdigest()[:16]}.npz"

    def read(self) -> bytes | None:
        """The last snapshot, if there is one."""
        return self._storage.read_bytes(self._path) if self._storage.exists(self._path) else None

    def write(self, content: bytes) -> None:
        """Replace the last snapshot; a reader sees the old one or the new one."""
        self._storage.write_bytes(self._path, content)

    def delete(self) -> None:
        """Forget the snapshot of a run that has ended."""
        self._storage.delete(self._path)
