"""The tabs of the pages on each DAG, DAG run and task instance in Airflow's UI."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import conf

#: The path of the pages below the path that Airflow is served at.
URL_PREFIX = "/distkeras"
MAP_INDEX_PLACEHOLDER = "{MAP_INDEX}"


def external_views() -> list[dict[str, Any]]:
    """Return the tabs in the form that Airflow's plugins register them."""
    return [
        _tab("Model metrics", "dag", "distkeras-metrics", "metrics/{DAG_ID}"),
        _tab("Model metrics", "dag_run", "distkeras-run-metrics", "metrics/{DAG_ID}"),
        _tab("Training reports", "dag_run", "distkeras-run-reports", "run/{DAG_ID}?run_id={RUN_ID}"),
        _tab(
            "Training report",
            "task_instance",
            "distkeras-report",
            f"report/{{DAG_ID}}?run_id={{RUN_ID}}&task_id={{TASK_ID}}&map_index={MAP_INDEX_PLACEHOLDER}",
        ),
    ]


def _tab(name: str, destination: str, url_route: str, page: str) -> dict[str, Any]:
    base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return {"name": name, "href": f"{base}{URL_PREFIX}/{page}", "destination": destination, "url_route": url_route}
