"""What the pages read beside the models: champions, and the metric that decides. What cannot be read is told, never raised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_provider_distkeras.contract.artifacts.attempt import locate
from airflow_provider_distkeras.contract.artifacts.champions import Champion, Champions, champion_names
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.hooks.storage import storage_for
from airflow_provider_distkeras.plugins.models import ModelRecord

#: What one page reads at most: artifact roots, and champions of each.
MAX_ROOTS = 3
MAX_NAMES = 100


@dataclass(frozen=True)
class NamedChampion:
    """The present champion of a name below an artifact root."""

    root: str
    name: str
    champion: Champion

    def is_of_task(self, dag_id: str, task_id: str, map_index: int) -> bool:
        """Whether this task has trained it, below the same root."""
        place = locate(self.champion.model_path, dag_id, task_id, map_index)
        return place is not None and place[0] == self.root


def find_champions(roots: Sequence[str]) -> tuple[list[NamedChampion], list[str]]:
    """The present champions below artifact roots, and, a sentence each, what was not read."""
    found, unread = [], []
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
                found += [NamedChampion(root, name, champion)] if champion else []
    return found, unread


def deciding_metric(model: ModelRecord) -> tuple[str, str]:
    """The metric that a model was chosen by, and, if that is not certain, a sentence that says why.

    It is the first that the manifest lists; an XCom may have lost the order, as databases sort the names in a dict.
    """
    try:
        metrics = Manifest.read(storage_for(model.attempt.path), model.attempt.manifest_path).result["metrics"]
        return str(next(iter(metrics))), ""
    except Exception as error:
        return str(next(iter(model.metrics), "metric")), _cause("The manifest of the newest model", error)


def _present(storage: Storage, root: str, name: str) -> Champion | None:
    champion = Champions(storage, root, name).present()
    if champion is not None and not isinstance(champion.model_path, str):
        raise ArtifactError(f"The champion of {name!r} is not known: its record {champion.record_path} names no model.")
    return champion


def _cause(what: str, error: Exception) -> str:
    """Why something was not read; our own errors say it all."""
    return str(error) if isinstance(error, ArtifactError) else f"{what} cannot be read: {str(error) or type(error).__name__}."
