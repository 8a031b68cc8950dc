"""The link on a task to its training report inside Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from airflow.providers.common.compat.sdk import conf

from airflow_provider_distkeras.links.spark import PushedLink

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol


class TrainingReportLink(PushedLink):
    """The training report, served by this package's plugin."""

    name = "Training report"
    KEY = "distkeras_training_report"

    @staticmethod
    def url(ti: RuntimeTaskInstanceProtocol) -> str:
        """The report's page of one task instance, below the path that this Airflow is served at."""
        base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
        query = {"run_id": ti.run_id, "task_id": ti.task_id, "map_index": -1 if ti.map_index is None else ti.map_index}
        return f"{base}/distkeras/report/{ti.dag_id}?{urlencode(query)}"
