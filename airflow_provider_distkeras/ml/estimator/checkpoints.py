"""The checkpoint file of one training run, in any storage that Spark can write to."""

from __future__ import annotations

import hashlib

from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.training.algorithms.rule import Matrix
from airflow_provider_distkeras.training.driver import TrainingConfig


class CheckpointFile:
    """The checkpoint of one run, a `training.checkpoint.CheckpointStore`.

    The file's name is a digest of what is trained, so that another trainer, network or seed has another file.

    Args:
        storage: the file system of the folder.
        folder: a folder, which may hold the checkpoints of other runs too.
        config: the run's configuration.
        initial: the initial weights, (members, weights).
    """

    def __init__(self, storage: Storage, folder: str, config: TrainingConfig, initial: Matrix) -> None:
        identity = repr([
            type(config.trainer).__name__, sorted(config.trainer.parameters.items()), config.plan, config.values,
            config.learning_rate, config.schedule, config.plateau, config.seed, config.patience, config.min_delta,
            config.label_transform,
            hashlib.sha256(initial.tobytes()).hexdigest(),
        ])  # fmt: skip
        self._storage = storage
        self._path = f"{folder.rstrip('/')}/{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"

    def read(self) -> bytes | None:
        """Return the last checkpoint, or None if there is none."""
        return self._storage.read_bytes(self._path) if self._storage.exists(self._path) else None

    def write(self, content: bytes) -> None:
        """Replace the last checkpoint; a reader sees the old one or the new one."""
        self._storage.write_bytes(self._path, content)

    def delete(self) -> None:
        """Delete the checkpoint of a run that has ended."""
        self._storage.delete(self._path)
