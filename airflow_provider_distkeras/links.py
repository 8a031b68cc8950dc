"""Links on a task: the running job's Spark UI, and the training report inside Airflow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlencode, urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator
    from airflow.sdk.types import RuntimeTaskInstanceProtocol


class PushedLink(BaseOperatorLink):
    """A link that the operator pushes itself, as soon as it is known.

    Airflow asks for links only after the task has ended, and then overwrites what was pushed: so the same is said again.
    """

    KEY: ClassVar[str]

    @property
    def xcom_key(self) -> str:
        return self.KEY

    def get_link(self, operator: BaseOperator, *, ti_key: object) -> str:
        pushed: dict[str, str] = getattr(operator, "pushed_links", {})
        return pushed.get(self.KEY, "")


class SparkUILink(PushedLink):
    """The Spark UI of the running job, where its driver says it is."""

    name = "Spark UI"
    KEY = "distkeras_spark_ui"
    _SAID = re.compile(r"^distkeras: .*Spark UI at (https?://\S+)$")

    @classmethod
    def found_in(cls, line: str) -> str | None:
        """The address, if this line of the driver's output says it."""
        match = cls._SAID.match(line.strip())
        return match[1] if match else None


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
