"""Champions: per name, the model that has beaten those before it. There is a record per promotion; the newest one counts.

    {artifact_root}/champions/{name}/000001.json  000002.json  ...

A record is one file, written at once and only where there is none: of two promotions at one moment, one succeeds, and a reader
sees the champion before it or the one after it. Earlier versions wrote a digest into the name (000001-8b1c02aa.json).
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_provider_distkeras.contract.errors import ArtifactError, MalformedError
from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.contract.json_object import Count, build, parse_object
from airflow_provider_distkeras.contract.period import slug

_RECORD = re.compile(r"(\d{6,})(-[0-9a-f]{8})?\.json", re.ASCII)


def names_champion(value: Any) -> bool:
    """Return whether an argument that may be a path names a champion."""
    return bool(value) and "/" not in str(value)


@dataclass(frozen=True)
class Champion:
    """A model that became champion.

    Attributes:
        model_path: the path that the train task returned.
        period: the model's period of data.
        metrics: the metrics of the model, and of the champion that it has beaten.
        rows: the number of rows that they were measured on.
        reason: why the model became champion.
        manifest_path: the manifest of the comparison.
        task: the task that promoted the model, as dag_id.task_id.
        run_id: the run of the task.
        user: the user who triggered the run; None if nobody did.
        promoted_at: the time of the promotion, in ISO 8601.
        record_path: the path of the record; empty before it is written.
    """

    model_path: str
    period: str
    metrics: dict[str, dict[str, float]]
    rows: int
    reason: str
    manifest_path: str
    task: str
    run_id: str
    user: str | None
    promoted_at: str
    record_path: str = field(default="", compare=False)


def champion_names(storage: Storage, root: str) -> list[str]:
    """Return the names below an artifact root that have a champion, as their folders are called; `Champions` takes them so."""
    return storage.list_names(f"{root.rstrip('/')}/champions")


class Champions:
    """The champions of a name: the present one and those before it.

    Args:
        storage: the file system of the root.
        root: the artifact root.
        name: any text.
    """

    def __init__(self, storage: Storage, root: str, name: str) -> None:
        self.name = name
        self.folder = f"{root.rstrip('/')}/champions/{slug(name)}"
        self._storage = storage

    def present(self) -> Champion | None:
        """Return the champion, or None if there was never one. Raises ArtifactError if its record cannot be read."""
        records = self._records()
        return self._read(records[-1]) if records else None

    def history(self) -> list[Champion]:
        """Return all champions, the oldest first. Raises ArtifactError if a record cannot be read."""
        return [self._read(record) for record in self._records()]

    def promote(self, champion: Champion, over: Champion | None) -> None:
        """Make a model the champion.

        Args:
            champion: the model.
            over: the champion that it has beaten; None if there was none.

        Raises:
            ArtifactError: another model, which this one was not compared with, is champion by now.
        """
        content = {name: value for name, value in asdict(champion).items() if name != "record_path"}
        records = self._records()
        if (self._read(records[-1]) if records else None) != over:
            raise self._promoted_meanwhile(champion)
        number = _number(records[-1]) + 1 if records else 1
        with contextlib.suppress(FileExistsError):
            self._storage.create_bytes(f"{self.folder}/{number:06d}.json", json.dumps(content, indent=2).encode())
        # What stands there decides: a driver may have tried again what had succeeded, or cannot look and write in one step.
        if self._read([record for record in self._records() if _number(record) == number][-1]) != champion:
            raise self._promoted_meanwhile(champion)

    def _promoted_meanwhile(self, champion: Champion) -> ArtifactError:
        return ArtifactError(
            f"{champion.model_path} does not become the champion of {self.name!r}: another model was promoted meanwhile. "
            "Run the task again, to compare it with that one."
        )

    def _records(self) -> list[str]:
        names = [name for name in self._storage.list_names(self.folder) if _RECORD.fullmatch(name)]
        return sorted(names, key=lambda name: (_number(name), name))

    def _read(self, record: str) -> Champion:
        path = f"{self.folder}/{record}"
        try:
            content = parse_object(self._storage.read_bytes(path), "The record")
            return build(Champion, {**content, "record_path": path}, {"metrics": dict, "rows": Count}, "the record")
        except Exception as error:  # each storage's driver raises its own kind
            if isinstance(error, ArtifactError) and not isinstance(error, MalformedError):
                raise
            raise ArtifactError(
                f"The champion of {self.name!r} is not known, as its record {path} cannot be read: {error}. "
                "Restore it, or delete it: then the champion before it counts again."
            ) from error


def _number(record: str) -> int:
    """Return the number in the name of a record."""
    return int(re.split(r"\D", record, maxsplit=1)[0])
