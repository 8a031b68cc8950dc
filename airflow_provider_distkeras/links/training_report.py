"""The link from a task to its training report inside Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from airflow.providers.common.compat.sdk import conf

from airflow_provider_distkeras.links.spark import PushedLink

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol


class TrainingReportLink(PushedLink):
    """The link to the training report; until there is one, the page shows the task's progress."""

    name = "Training report"
    KEY = "distkeras_training_report"

    def initial_url(self, ti: RuntimeTaskInstanceProtocol) -> str | None:
        """Return the page of a task instance, below the path that this Airflow is served at."""
        base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
        query = {"run_id": ti.run_id, "task_id": ti.task_id, "map_index": -1 if ti.map_index is None else ti.map_index}
        return f"{base}/distkeras/report/{ti.dag_id}?{urlencode(query)}"
