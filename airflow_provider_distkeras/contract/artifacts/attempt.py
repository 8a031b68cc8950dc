"""Attempts, and where their artifacts lie: {root}/{dag_id}/{task_id}[/{map_index}]/period={P}/{attempt}/...

A period is a period of data, never a run. Each try of each run writes into an attempt folder of its own. An attempt is committed
by writing its manifest and then pointing the period's CURRENT at it; only the newest attempt of a period may do so.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.errors import ArtifactError, SupersededError
from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.contract.period import slug


@dataclass(frozen=True)
class Attempt:
    """One try of one task at one period of data, and the folder it writes to.

    Attributes:
        period_path: the folder of the period.
        name: the folder of the attempt below it.
    """

    period_path: str
    name: str

    @classmethod
    def claim(
        cls, root: str, dag_id: str, task_id: str, map_index: int, period: str,
        *, claimed_at: datetime, generation: int, try_number: int, spec_sha256: str,
    ) -> Attempt:  # fmt: skip
        """Return a new attempt. Names sort by the time of the claim, so the greatest is the newest."""
        stamp = claimed_at.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        folder = f"{root.rstrip('/')}/{_task_folder(dag_id, task_id, map_index)}/period={period}"
        return cls(folder, f"{stamp}-g{generation}-t{try_number}-{spec_sha256[:8]}")

    @classmethod
    def at(cls, folder: str) -> Attempt:
        """Return the attempt that writes into a folder."""
        period_path, _, name = folder.rstrip("/").rpartition("/")
        return cls(period_path, name)

    @property
    def period(self) -> str:
        """The period of data."""
        return self.period_path.rsplit("/", 1)[-1].removeprefix("period=")

    @property
    def path(self) -> str:
        """The attempt's folder."""
        return f"{self.period_path}/{self.name}"

    @property
    def spec_path(self) -> str:
        """The path of the request, which is written first and marks the attempt as claimed."""
        return f"{self.path}/_SPEC.json"

    @property
    def manifest_path(self) -> str:
        """The path of the manifest, which is written last."""
        return f"{self.path}/{Manifest.FILE_NAME}"

    @property
    def error_path(self) -> str:
        """The path of the failure, which a job writes where it fails."""
        return f"{self.path}/_ERROR.json"

    @property
    def lease_path(self) -> str:
        """The path of the lease of a job that runs on another machine than its task."""
        return f"{self.path}/_LEASE.json"

    @property
    def current_path(self) -> str:
        """The path of the pointer to the period's committed attempt."""
        return f"{self.period_path}/CURRENT"

    def root_of(self, dag_id: str, task_id: str, map_index: int) -> str | None:
        """Return the artifact root below which this is an attempt of the task; None if it is not the task's."""
        task_path, _, period = self.period_path.rpartition("/")
        folder = f"/{_task_folder(dag_id, task_id, map_index)}"
        is_of_task = task_path.endswith(folder) and period.startswith("period=") and period != "period=" and self.name
        return task_path.removesuffix(folder) or None if is_of_task else None

    def to_dict(self) -> dict[str, Any]:
        """Return the attempt as plain JSON values."""
        return asdict(self)


def _task_folder(dag_id: str, task_id: str, map_index: int) -> str:
    """Return the folder of a task below the artifact root."""
    return "/".join([slug(dag_id), slug(task_id), *([str(map_index)] if map_index >= 0 else [])])


def current(storage: Storage, period_path: str) -> Attempt | None:
    """Return a period's committed attempt, or None if nothing was committed yet.

    Raises:
        ArtifactError: something was committed, but the pointer to it is damaged.
    """
    path = f"{period_path}/CURRENT"
    try:
        return Attempt(period_path, json.loads(storage.read_bytes(path))["attempt"])
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"The pointer {path} cannot be read: {error}. Remove it, and run the task again.") from error


def committed(storage: Storage, period_path: str) -> Manifest | None:
    """Return the manifest of a period's committed attempt, or None if nothing was committed yet.

    Raises:
        ArtifactError: something was committed, but it is damaged or gone.
    """
    attempt = current(storage, period_path)
    return None if attempt is None else Manifest.read(storage, attempt.manifest_path)


def commit(storage: Storage, attempt: Attempt, manifest: Manifest) -> None:
    """Make an attempt the committed one of its period.

    Raises:
        SupersededError: a newer attempt has claimed the period; its result is the one that counts.
    """
    newer = [
        name
        for name in storage.list_names(attempt.period_path)
        if name > attempt.name and storage.exists(Attempt(attempt.period_path, name).spec_path)
    ]
    if newer:
        raise SupersededError(
            f"Attempt {attempt.name} is not committed: the newer attempt {newer[-1]} has claimed {attempt.period_path} since. "
            "It is a later try of this task, or another run about the same period. The newest attempt decides; nothing is lost."
        )
    storage.write_bytes(attempt.manifest_path, manifest.to_json().encode())
    storage.write_bytes(attempt.current_path, json.dumps({"attempt": attempt.name}).encode())
