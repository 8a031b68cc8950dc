"""The training report inside Airflow's UI, for those who may read the DAG's XComs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowPlugin, conf

if TYPE_CHECKING:
    from fastapi import FastAPI

URL_PREFIX = "/distkeras"

#: The report is a page of text, tables and drawings: it needs no script, and loads nothing.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}


def find_report(dag_id: str, run_id: str, task_id: str, map_index: int) -> bytes | None:
    """The report of a train task's run, or None if there is none.

    Its path comes from what the operator pushed, never from the browser, and counts only if the manifest beside it says the same.
    """
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    from airflow_provider_distkeras.contract.errors import ArtifactError
    from airflow_provider_distkeras.contract.manifest import Manifest, beside
    from airflow_provider_distkeras.operators.storage import storage_for

    with create_session() as session:
        query = XComModel.get_many(run_id=run_id, key="report_path", dag_ids=dag_id, task_ids=task_id, map_indexes=map_index)
        row = session.scalars(query).first()
        path = XComModel.deserialize_value(row) if row is not None else None
    if not isinstance(path, str):
        return None
    try:
        storage = storage_for(path)
        manifest = Manifest.read(storage, beside(path))
        return storage.read_bytes(path) if manifest.result.get("report_path") == path else None
    except (ArtifactError, OSError):
        return None


def create_app() -> FastAPI:
    """The plugin's pages. Each asks for a logged-in user with the right to the DAG; Airflow itself would let anyone in."""
    from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
    from airflow.api_fastapi.core_api.security import requires_access_dag, requires_access_view
    from fastapi import Depends, FastAPI, HTTPException, Response

    app = FastAPI(
        title="distkeras",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(requires_access_view(AccessView.PLUGINS))],
    )
    may_read = Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.XCOM))

    @app.get("/report/{dag_id}", dependencies=[may_read])
    def report(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Response:
        page = find_report(dag_id, run_id, task_id, map_index)
        if page is None:
            raise HTTPException(404, "This task instance has no training report.")
        return Response(page, media_type="text/html; charset=utf-8", headers=_HEADERS)

    return app


class DistKerasPlugin(AirflowPlugin):
    """Registers the page. Every Airflow process loads this class, only the API server asks for its app."""

    name = "distkeras"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The app, built when first asked for."""
        return [{"app": create_app(), "url_prefix": URL_PREFIX, "name": "distkeras"}]

    @cached_property
    def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """A tab on each task instance."""
        base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
        query = "run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}"
        return [
            {
                "name": "Training report",
                "href": f"{base}{URL_PREFIX}/report/{{DAG_ID}}?{query}",
                "destination": "task_instance",
                "url_route": "distkeras-report",
            }
        ]
