"""The training report of a task instance, read from its artifacts."""

from __future__ import annotations

from airflow_provider_distkeras.contract.artifacts.artifact_ref import ArtifactRef
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.artifacts.map_key import MapKey
from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.plugins.models import decode, map_key_of
from airflow_provider_distkeras.plugins.storage import MAX_REPORT_BYTES, storage_for


def read_report(dag_id: str, run_id: str, task_id: str, map_index: int) -> bytes | None:
    """Return the report of a train task's run; None if the run has none.

    Its path comes from what the operator pushed, never from the browser. It counts only if it lies in an attempt of this very
    task, and the manifest beside it names the same path.

    Raises:
        ArtifactError: The report cannot be read, or is gone.
    """
    from airflow.models.xcom import XComModel as XCom
    from airflow.utils.session import create_session
    from sqlalchemy import select

    instance = (
        XCom.dag_id == dag_id,
        XCom.run_id == run_id,
        XCom.task_id == task_id,
        XCom.map_index == map_index,
    )
    with create_session() as session:
        rows = session.execute(select(XCom.key, XCom.value).where(*instance, XCom.key.in_(("report_path", MapKey.XCOM))))
        xcoms = {row.key: decode(row.value) for row in rows}
    path, segment = xcoms.get("report_path"), map_key_of(xcoms) or map_index
    if not isinstance(path, str) or ArtifactRef.parse(path).root_of(dag_id, task_id, segment) is None:
        return None
    manifest_path = ArtifactRef.parse(path).manifest_path
    try:
        if Manifest.read(storage_for(manifest_path), manifest_path).result.get("report_path") != path:
            raise ArtifactError(f"{path} is not read: the manifest {manifest_path} names another report.")
        return storage_for(path, MAX_REPORT_BYTES).read_bytes(path)
    except ArtifactError:
        raise
    except FileNotFoundError:
        raise ArtifactError(f"The report at {path} is gone; the manifest beside it still names it.") from None
    except Exception as error:  # each storage's driver raises its own kind
        raise ArtifactError(f"{path} cannot be read: {error!r}.") from error
