"""Training reports and the metrics of models inside Airflow's UI, for those who may read the DAG's XComs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowPlugin, conf
from pydantic import BeforeValidator, Field

if TYPE_CHECKING:
    from fastapi import FastAPI

URL_PREFIX = "/distkeras"

#: The pages are text, tables and drawings: they need no script, and load nothing.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox"
)
#: With an origin, which a file from a storage must not have, links to reports take the user's session along.
_PAGE_POLICY = f"{_REPORT_POLICY} allow-same-origin"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}

#: Of a task that is not mapped, Airflow's UI leaves the placeholder in the address of the tab.
_MAP_INDEX = "{MAP_INDEX}"
MapIndex = Annotated[int, Field(ge=-1, lt=2**31), BeforeValidator(lambda said: -1 if said == _MAP_INDEX else said)]


def find_report(dag_id: str, run_id: str, task_id: str, map_index: int) -> bytes | None:
    """The report of a train task's run, or None if there is none.

    Its path comes from what the operator pushed, never from the browser, and counts only if an attempt of this very task wrote
    it, and the manifest beside it says the same.
    """
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    from airflow_provider_distkeras.contract.artifacts.attempt import locate
    from airflow_provider_distkeras.contract.artifacts.manifest import Manifest, beside
    from airflow_provider_distkeras.hooks.storage import storage_for

    with create_session() as session:
        query = XComModel.get_many(run_id=run_id, key="report_path", dag_ids=dag_id, task_ids=task_id, map_indexes=map_index)
        row = session.scalars(query).first()
        path = XComModel.deserialize_value(row) if row is not None else None
    if not isinstance(path, str) or locate(path, dag_id, task_id, map_index) is None:
        return None
    try:
        storage = storage_for(path)
        manifest = Manifest.read(storage, beside(path))
        return storage.read_bytes(path) if manifest.result.get("report_path") == path else None
    except Exception:  # each storage's driver raises its own kind
        return None


def create_app() -> FastAPI:
    """The plugin's pages. Each asks for a logged-in user with the right to the DAG; Airflow itself would let anyone in."""
    from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
    from airflow.api_fastapi.core_api.security import requires_access_dag, requires_access_view
    from fastapi import Depends, FastAPI, Response

    from airflow_provider_distkeras.contract.html import page as text_page
    from airflow_provider_distkeras.plugins.metrics_page import metrics_page
    from airflow_provider_distkeras.plugins.models import find_models
    from airflow_provider_distkeras.plugins.progress_page import find_progress_page
    from airflow_provider_distkeras.plugins.run_page import run_page

    app = FastAPI(
        title="distkeras",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(requires_access_view(AccessView.PLUGINS))],
    )
    may_read = Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.XCOM))

    def respond(page: bytes | str, policy: str, status: int = 200) -> Response:
        headers = {"Content-Security-Policy": policy, **_HEADERS}
        return Response(page, status, headers, media_type="text/html; charset=utf-8")

    @app.get("/report/{dag_id}", dependencies=[may_read])
    def report(dag_id: str, run_id: str, task_id: str, map_index: MapIndex = -1) -> Response:
        instance = (dag_id, run_id, task_id, map_index)
        page = find_report(*instance) or find_progress_page(*instance)
        if page is None:
            page = text_page("Training report", "<p>This task instance has no training report, or not yet.</p>")
            return respond(page, _REPORT_POLICY, 404)
        return respond(page, _REPORT_POLICY)

    @app.get("/run/{dag_id}", dependencies=[may_read])
    def run(dag_id: str, run_id: str) -> Response:
        models = find_models(dag_id, run_id)
        if len(models) == 1:
            page = find_report(dag_id, run_id, models[0].task_id, models[0].map_index)
            if page is not None:
                return respond(page, _REPORT_POLICY)
        return respond(run_page(run_id, models), _PAGE_POLICY)

    @app.get("/metrics/{dag_id}", dependencies=[may_read])
    def metrics(dag_id: str) -> Response:
        return respond(metrics_page(dag_id), _PAGE_POLICY)

    return app


class DistKerasPlugin(AirflowPlugin):
    """Registers the pages. Every Airflow process loads this class, only the API server asks for its app."""

    name = "distkeras"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The app, built when first asked for."""
        return [{"app": create_app(), "url_prefix": URL_PREFIX, "name": "distkeras"}]

    @cached_property
    def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Tabs on each DAG, DAG run and task instance."""
        return [
            _tab("Model metrics", "dag", "distkeras-metrics", "metrics/{DAG_ID}"),
            _tab("Model metrics", "dag_run", "distkeras-run-metrics", "metrics/{DAG_ID}"),
            _tab("Training reports", "dag_run", "distkeras-run-reports", "run/{DAG_ID}?run_id={RUN_ID}"),
            _tab(
                "Training report",
                "task_instance",
                "distkeras-report",
                f"report/{{DAG_ID}}?run_id={{RUN_ID}}&task_id={{TASK_ID}}&map_index={_MAP_INDEX}",
            ),
        ]


def _tab(name: str, destination: str, url_route: str, page: str) -> dict[str, Any]:
    """A tab that shows one of the pages, below the path that this Airflow is served at."""
    base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return {"name": name, "href": f"{base}{URL_PREFIX}/{page}", "destination": destination, "url_route": url_route}
