"""The training report of a task instance, read from its artifacts."""

from __future__ import annotations

import logging

from airflow_provider_distkeras.contract.artifacts.artifact_ref import ArtifactRef
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.hooks.storage import storage_for

logger = logging.getLogger(__name__)


def read_report(dag_id: str, run_id: str, task_id: str, map_index: int) -> bytes | None:
    """Return the report of a train task's run; None if there is none that can be read.

    Its path comes from what the operator pushed, never from the browser. It counts only if it lies in an attempt of this very
    task, and the manifest beside it names the same path.
    """
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        query = XComModel.get_many(run_id=run_id, key="report_path", dag_ids=dag_id, task_ids=task_id, map_indexes=map_index)
        row = session.scalars(query).first()
        path = XComModel.deserialize_value(row) if row is not None else None
    if not isinstance(path, str) or ArtifactRef.parse(path).root_of(dag_id, task_id, map_index) is None:
        return None
    try:
        storage = storage_for(path)
        manifest = Manifest.read(storage, ArtifactRef.parse(path).manifest_path)
        return storage.read_bytes(path) if manifest.result.get("report_path") == path else None
    except Exception:  # each storage's driver raises its own kind
        logger.warning("The training report %s cannot be read.", path, exc_info=True)
        return None
