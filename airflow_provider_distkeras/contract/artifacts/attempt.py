"""Attempts, and where their artifacts lie: {root}/{dag_id}/{task_id}[/{segment}]/period={P}/{attempt}/...

A period is a period of data, never a run. Each try of each run writes into an attempt folder of its own. An attempt is committed
by writing its manifest; the newest attempt with one is the period's committed attempt. An attempt may be committed unless a newer
one has a manifest or may still get one: it has a request (_SPEC.json), and no failure (_ERROR.json).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import MAXYEAR, UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.artifacts.map_key import segment_folder
from airflow_provider_distkeras.contract.errors import ArtifactError, SupersededError
from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.contract.period import is_older, slug, sort_key

_CURRENT = "CURRENT"
_STAMP = "%Y%m%dT%H%M%S%fZ"
#: Stamp, generation, try, and digest of the spec.
_NAME = re.compile(r"(\d{8}T\d{12}Z)-g(\w+)-t(\d+)-[0-9a-f]{8}")


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
        cls, root: str, dag_id: str, task_id: str, segment: int | str, period: str,
        *, claimed_at: datetime, generation: int | str, try_number: int, spec_sha256: str,
    ) -> Attempt:  # fmt: skip
        """Return a new attempt of a task, or of its segment, as `segment_folder` takes it.

        Names sort by the time of the claim, so the greatest is the newest.
        """
        stamp = claimed_at.astimezone(UTC).strftime(_STAMP)
        folder = f"{task_path(root, dag_id, task_id, segment)}/period={period}"
        return cls(folder, f"{stamp}-g{generation}-t{try_number}-{spec_sha256[:8]}")

    @property
    def claimed_at(self) -> datetime | None:
        """The time in the name; None if it is not the name of an attempt, or of the last year, which no claim could follow."""
        match = _NAME.fullmatch(self.name)
        try:
            moment = datetime.strptime(match[1], _STAMP) if match else None
        except ValueError:
            return None
        return moment if moment is not None and moment.year < MAXYEAR else None

    def after(self, others: Iterable[Attempt]) -> Attempt:
        """Return this attempt; with a later stamp if another one has it, or a later one: the clocks of machines differ.

        Raises:
            ArtifactError: another one has the last stamp that there is.
        """
        mine, times = self.claimed_at, [moment for each in others if (moment := each.claimed_at) is not None]
        if mine is None or not times or mine > max(times):
            return self
        later = max(times) + timedelta(microseconds=1)
        if later.year == MAXYEAR:
            raise ArtifactError(
                f"No attempt can follow {max(times).strftime(_STAMP)} in {self.period_path}: expected a time that a clock gave. "
                "Delete that folder."
            )
        return replace(self, name=self.name.replace(mine.strftime(_STAMP), later.strftime(_STAMP), 1))

    def is_retry_of(self, earlier: Attempt) -> bool:
        """Return whether this is a later try of the same run than an attempt before it."""
        mine, other = _NAME.fullmatch(self.name), _NAME.fullmatch(earlier.name)
        return mine is not None and other is not None and mine[2] == other[2] and int(mine[3]) > int(other[3])

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
        """The path of the failure, which a job writes where it fails, and its operator where the job could not."""
        return f"{self.path}/_ERROR.json"

    @property
    def lease_path(self) -> str:
        """The path of the lease of a job that runs on another machine than its task."""
        return f"{self.path}/_LEASE.json"

    @property
    def current_path(self) -> str:
        """The path of the pointer to the period's committed attempt, for others: this package goes by the manifests."""
        return f"{self.period_path}/{_CURRENT}"

    def root_of(self, dag_id: str, task_id: str, segment: int | str) -> str | None:
        """Return the artifact root below which this is an attempt of the task; None if it is not the task's."""
        task_path, _, period = self.period_path.rpartition("/")
        folder = f"/{_task_folder(dag_id, task_id, segment)}"
        is_of_task = task_path.endswith(folder) and period.startswith("period=") and period != "period=" and self.name
        return task_path.removesuffix(folder) or None if is_of_task else None

    def to_dict(self) -> dict[str, Any]:
        """Return the attempt as plain JSON values."""
        return asdict(self)


def _task_folder(dag_id: str, task_id: str, segment: int | str) -> str:
    """Return the folder of a task, or of its segment, below the artifact root."""
    return "/".join(filter(None, [slug(dag_id), slug(task_id), segment_folder(segment)]))


def task_path(root: str, dag_id: str, task_id: str, segment: int | str) -> str:
    """Return the folder of a task, or of its segment, with the periods of which it has results."""
    return f"{root.rstrip('/')}/{_task_folder(dag_id, task_id, segment)}"


def attempts(storage: Storage, period_path: str) -> list[Attempt]:
    """Return the attempts of a period, the oldest first; what is named otherwise is none, such as a copy that someone made."""
    folders = [Attempt(period_path, name) for name in storage.list_names(period_path)]
    return [attempt for attempt in folders if attempt.claimed_at is not None]


def current(storage: Storage, period_path: str) -> Attempt | None:
    """Return a period's committed attempt, the newest that has a manifest; None if nothing was committed yet."""
    newest_first = reversed(attempts(storage, period_path))
    return next((attempt for attempt in newest_first if storage.exists(attempt.manifest_path)), None)


def committed(storage: Storage, period_path: str) -> Manifest | None:
    """Return the manifest of a period's committed attempt, or None if nothing was committed yet.

    Raises:
        ArtifactError: the manifest is damaged.
    """
    attempt = current(storage, period_path)
    return None if attempt is None else Manifest.read(storage, attempt.manifest_path)


def current_before(storage: Storage, folder: str, period: str) -> Attempt | None:
    """Return the committed attempt of the newest period before another one that has any; see `period.is_older` for the order.

    Args:
        storage: the file system of the folder.
        folder: the folder of the task.
        period: the period of data that the others are before.
    """
    names = [name.removeprefix("period=") for name in storage.list_names(folder) if name.startswith("period=")]
    newest_first = sorted((name for name in names if is_older(name, period)), key=sort_key, reverse=True)
    return next((found for name in newest_first if (found := current(storage, f"{folder}/period={name}")) is not None), None)


def require_request(storage: Storage, attempt: Attempt) -> None:
    """Raise ArtifactError, which names the topmost folder that is gone, if an attempt's request is not there any more."""
    if storage.exists(attempt.spec_path):
        return
    gone, parts = attempt.spec_path, urlsplit(attempt.spec_path)
    top = f"{parts.scheme}://{parts.netloc}" if parts.scheme else ""
    while len(parent := gone.rpartition("/")[0]) > len(top) and not storage.exists(parent):
        gone = parent
    raise ArtifactError(
        f"The artifact root of {attempt.path} has vanished while the task ran: there is no {gone} any more, as after a share was "
        "unmounted. Nothing more is written there. Bring it back, and run the task again."
    )


def require_claim(storage: Storage, attempt: Attempt) -> None:
    """Raise an error unless an attempt may still write.

    Raises:
        SupersededError: a newer attempt has a result, or may still get one.
        ArtifactError: the attempt's request is gone, or the attempt has been given up.
    """
    require_request(storage, attempt)
    if storage.exists(attempt.error_path):
        raise ArtifactError(f"Attempt {attempt.path} has been given up, as {attempt.error_path} says: nothing is committed.")
    for newer in attempts(storage, attempt.period_path):
        if newer.name > attempt.name and (storage.exists(newer.manifest_path) or _is_running(storage, newer)):
            raise _superseded(attempt, newer)


def write_within(storage: Storage, attempt: Attempt, path: str, content: bytes) -> None:
    """Write a file of an attempt. Raises ArtifactError if its request is gone: nothing is made anew in its place."""
    require_request(storage, attempt)
    try:
        storage.write_bytes(path, content, within=attempt.path)
    except ArtifactError:
        require_request(storage, attempt)  # names what is gone, where that is the cause
        raise
    try:
        require_request(storage, attempt)
    except ArtifactError:  # a file system that makes folders by itself has made them anew
        storage.delete(path)
        raise


def commit(storage: Storage, attempt: Attempt, manifest: Manifest) -> None:
    """Make an attempt the committed one of its period.

    Raises:
        SupersededError: a newer attempt has claimed the period; its result is the one that counts.
        ArtifactError: the attempt's request is gone, or the attempt has been given up.
    """
    require_claim(storage, attempt)
    write_within(storage, attempt, attempt.manifest_path, manifest.to_json().encode())
    newest = current(storage, attempt.period_path)
    if newest is not None and newest.name > attempt.name:  # committed between the look and the manifest
        storage.delete(attempt.manifest_path)
        raise _superseded(attempt, newest)
    _point_at(storage, newest)


def point_current(storage: Storage, period_path: str) -> None:
    """Make CURRENT name the committed attempt, for people and other programs, if it does not."""
    _point_at(storage, current(storage, period_path))


def _point_at(storage: Storage, newest: Attempt | None) -> None:
    """Make CURRENT name the committed attempt.

    Of several calls at a time, the last to return leaves the name of the newest attempt with a manifest.
    """
    while newest is not None and not _is_named(storage, newest):
        storage.write_bytes(newest.current_path, _pointer_to(newest), within=newest.period_path)
        newest = current(storage, newest.period_path)


def _is_named(storage: Storage, attempt: Attempt) -> bool:
    """Return whether CURRENT names an attempt."""
    try:
        return storage.read_bytes(attempt.current_path) == _pointer_to(attempt)
    except OSError:
        return False


def _pointer_to(attempt: Attempt) -> bytes:
    return json.dumps({"attempt": attempt.name}).encode()


def _is_running(storage: Storage, attempt: Attempt) -> bool:
    """Return whether an attempt without a manifest may still get one."""
    return storage.exists(attempt.spec_path) and not storage.exists(attempt.error_path)


def _superseded(attempt: Attempt, newer: Attempt) -> SupersededError:
    return SupersededError(
        f"Attempt {attempt.name} is not committed: the newer attempt {newer.name} has claimed {attempt.period_path} since. "
        "It is a later try of this task, or another run about the same period. The newest attempt decides."
    )
