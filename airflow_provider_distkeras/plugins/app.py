"""The FastAPI app of the plugin's pages, for users who may read the DAG's XComs."""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag, requires_access_view
from fastapi import Depends, FastAPI, Response
from pydantic import BeforeValidator, Field

from airflow_provider_distkeras.plugins.metrics_page import metrics_page
from airflow_provider_distkeras.plugins.models import find_models
from airflow_provider_distkeras.plugins.progress_page import empty_page, find_progress_page
from airflow_provider_distkeras.plugins.reports import read_report
from airflow_provider_distkeras.plugins.run_page import run_page
from airflow_provider_distkeras.plugins.tabs import MAP_INDEX_PLACEHOLDER

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
_MapIndex = Annotated[int, Field(ge=-1, lt=2**31), BeforeValidator(lambda text: -1 if text == MAP_INDEX_PLACEHOLDER else text)]


def create_app() -> FastAPI:
    """Return the app; each page asks for a logged-in user with the right to the DAG, as Airflow itself would let anyone in."""
    may_see_plugins = Depends(requires_access_view(AccessView.PLUGINS))
    may_read_xcoms = Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.XCOM))
    app = FastAPI(title="distkeras", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[may_see_plugins])
    for path, page in (("/report/{dag_id}", _report), ("/run/{dag_id}", _run), ("/metrics/{dag_id}", _metrics)):
        app.get(path, dependencies=[may_read_xcoms])(page)
    return app


def _report(dag_id: str, run_id: str, task_id: str, map_index: _MapIndex = -1) -> Response:
    """Respond with a task instance's report, else with its progress."""
    instance = (dag_id, run_id, task_id, map_index)
    page = read_report(*instance) or find_progress_page(*instance)
    return _respond(empty_page(), _REPORT_POLICY, 404) if page is None else _respond(page, _REPORT_POLICY)


def _run(dag_id: str, run_id: str) -> Response:
    """Respond with the one report of a DAG run, else with a list of its reports."""
    models = find_models(dag_id, run_id)
    report = read_report(dag_id, run_id, models[0].task_id, models[0].map_index) if len(models) == 1 else None
    return _respond(run_page(run_id, models), _PAGE_POLICY) if report is None else _respond(report, _REPORT_POLICY)


def _metrics(dag_id: str) -> Response:
    """Respond with the metrics of a DAG's models."""
    return _respond(metrics_page(dag_id), _PAGE_POLICY)


def _respond(page: bytes | str, policy: str, status: int = 200) -> Response:
    headers = {"Content-Security-Policy": policy, **_HEADERS}
    return Response(page, status, headers, media_type="text/html; charset=utf-8")
