"""The FastAPI app of the plugin's pages, for users who may read the DAG's XComs."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag, requires_access_view
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BeforeValidator, Field
from starlette.exceptions import HTTPException

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.plugins.metrics_page import metrics_page
from airflow_provider_distkeras.plugins.models import find_missing, find_models
from airflow_provider_distkeras.plugins.progress_page import empty_page, find_progress_page
from airflow_provider_distkeras.plugins.rendering import message_page
from airflow_provider_distkeras.plugins.reports import read_report
from airflow_provider_distkeras.plugins.run_page import run_page
from airflow_provider_distkeras.plugins.tabs import MAP_INDEX_PLACEHOLDER
from airflow_provider_distkeras.plugins.threads import PAGE_S, PageThreads

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

_PROBLEMS = {
    401: "Log in to Airflow, then open this page again.",
    403: "You may not see this page: it takes the rights to see plugins and to read the XComs of this DAG.",
    404: "There is no such page.",
    422: "The address of this page is not complete, or not valid.",
    503: f"This page was not ready within {PAGE_S:.0f} s: the storage of the artifacts is slow or hangs. Reload it later.",
}
_threads = PageThreads()

#: Of a task that is not mapped, Airflow's UI leaves the placeholder in the address of the tab.
_MapIndex = Annotated[int, Field(ge=-1, lt=2**31), BeforeValidator(lambda text: -1 if text == MAP_INDEX_PLACEHOLDER else text)]


def create_app() -> FastAPI:
    """Return the app; each page asks for a logged-in user with the right to the DAG, as Airflow itself would let anyone in."""
    may_see_plugins = Depends(requires_access_view(AccessView.PLUGINS))
    may_read_xcoms = Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.XCOM))
    app = FastAPI(title="distkeras", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[may_see_plugins])
    for path, make_page in (("/report/{dag_id}", _report), ("/run/{dag_id}", _run), ("/metrics/{dag_id}", _metrics)):
        app.get(path, dependencies=[may_read_xcoms])(_in_thread(make_page))
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse)
    return app


def _in_thread(make_page: Callable[..., Response]) -> Callable[..., Awaitable[Response]]:
    """Return a function that responds as one that makes a page, which it calls in one of the pages' threads."""

    @functools.wraps(make_page)
    async def respond(*args: object, **kwargs: object) -> Response:
        try:
            return await _threads.run(make_page, *args, **kwargs)
        except TimeoutError:
            return _respond(message_page("Not ready", _PROBLEMS[503]), _PAGE_POLICY, 503)

    return respond


async def _refuse(_request: Request, error: Exception) -> Response:
    """Respond with a page on why there is no other."""
    status = error.status_code if isinstance(error, HTTPException) else 422
    page = message_page("Not available", _PROBLEMS.get(status, f"This page is not available ({status})."))
    response = _respond(page, _PAGE_POLICY, status)
    response.headers.update((isinstance(error, HTTPException) and error.headers) or {})
    return response


def _report(dag_id: str, run_id: str, task_id: str, map_index: _MapIndex = -1) -> Response:
    """Respond with a task instance's report, else with its progress."""
    missing = find_missing(dag_id, run_id, task_id)
    if missing is not None:
        return _respond(message_page("Training report", missing), _REPORT_POLICY, 404)
    instance = (dag_id, run_id, task_id, map_index)
    try:
        page = read_report(*instance) or find_progress_page(*instance)
    except ArtifactError as error:
        page = message_page("Training report", "The report of this task cannot be read.", str(error))
        return _respond(page, _REPORT_POLICY, 404)
    return _respond(empty_page(), _REPORT_POLICY, 404) if page is None else _respond(page, _REPORT_POLICY)


def _run(dag_id: str, run_id: str) -> Response:
    """Respond with the one report of a DAG run, else with a list of its reports."""
    missing = find_missing(dag_id, run_id)
    if missing is not None:
        return _respond(message_page("Training reports", missing), _PAGE_POLICY, 404)
    models = find_models(dag_id, run_id)
    if len(models) == 1:
        with contextlib.suppress(ArtifactError):  # its page says why it cannot be read
            report = read_report(dag_id, run_id, models[0].task_id, models[0].map_index)
            if report is not None:
                return _respond(report, _REPORT_POLICY)
    return _respond(run_page(run_id, models), _PAGE_POLICY)


def _metrics(dag_id: str) -> Response:
    """Respond with the metrics of a DAG's models."""
    missing = find_missing(dag_id)
    if missing is not None:
        return _respond(message_page("Model metrics", missing), _PAGE_POLICY, 404)
    return _respond(metrics_page(dag_id), _PAGE_POLICY)


def _respond(page: bytes | str, policy: str, status: int = 200) -> Response:
    headers = {"Content-Security-Policy": policy, **_HEADERS}
    content = page.encode(errors="replace") if isinstance(page, str) else page  # a text may hold half a character
    return Response(content, status, headers, media_type="text/html; charset=utf-8")
