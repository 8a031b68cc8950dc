"""Champions and manifests beside the models of the pages: what cannot be read becomes a sentence on the page, never an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_provider_distkeras.contract.artifacts.artifact_ref import ArtifactRef
from airflow_provider_distkeras.contract.artifacts.champions import Champion, Champions, champion_names
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.plugins.models import ModelRecord
from airflow_provider_distkeras.plugins.storage import storage_for

#: The most artifact roots that one page reads, and the most champions of each.
MAX_ROOTS = 3
MAX_NAMES = 100


@dataclass(frozen=True)
class NamedChampion:
    """A name below an artifact root and its present champion."""

    root: str
    name: str
    champion: Champion

    def is_of_task(self, dag_id: str, task_id: str, segment: int | str) -> bool:
        """Return whether this task has trained the champion, below the same root."""
        return ArtifactRef.parse(self.champion.model_path).root_of(dag_id, task_id, segment) == self.root


def find_champions(roots: Sequence[str]) -> tuple[list[NamedChampion], list[str]]:
    """Return the present champions below artifact roots, and a sentence on each thing that was not read."""
    champions, unread = [], []
    if len(roots) > MAX_ROOTS:
        unread.append(f"Champions were looked for below {MAX_ROOTS} of {len(roots)} artifact roots.")
    for root in roots[:MAX_ROOTS]:
        try:
            storage = storage_for(root)
            names = champion_names(storage, root)
        except Exception as error:  # each driver raises its own kind
            unread.append(_cause(f"The champions below {root}", error))
            continue
        if len(names) > MAX_NAMES:
            unread.append(f"Below {root}, {MAX_NAMES} of {len(names)} champions were read.")
        for name in names[:MAX_NAMES]:
            try:
                champion = _present(storage, root, name)
            except Exception as error:
                unread.append(_cause(f"The champion of {name!r}", error))
            else:
                champions += [NamedChampion(root, name, champion)] if champion else []
    return champions, unread


def deciding_metric(model: ModelRecord) -> tuple[str, str]:
    """Return the metric that a model was chosen by, and a sentence on why that is uncertain, if it is.

    The manifest lists that metric first. An XCom may have lost the order, as databases sort the names in a dict.
    """
    try:
        metrics = Manifest.read(storage_for(model.attempt.path), model.attempt.manifest_path).result["metrics"]
        return str(next(iter(metrics))), ""
    except Exception as error:
        return str(next(iter(model.metrics), "metric")), _cause("The manifest of the newest model", error)


def _present(storage: Storage, root: str, name: str) -> Champion | None:
    champion = Champions(storage, root, name).present()
    if champion is not None and not isinstance(champion.model_path, str):
        raise ArtifactError(f"The champion of {name!r} cannot be read: its record {champion.record_path} names no model.")
    return champion


def _cause(subject: str, error: Exception) -> str:
    """Return a sentence on why the subject was not read; an ArtifactError names its subject itself."""
    return str(error) if isinstance(error, ArtifactError) else f"{subject} cannot be read: {str(error) or type(error).__name__}."
