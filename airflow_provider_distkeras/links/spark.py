"""Links on a task to its job's Spark UI and Spark history."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, conf

from airflow_provider_distkeras.contract.errors import SpecError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Connection


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


class HistoryServerLink(PushedLink):
    """The application in Spark's History Server, which knows it when it has ended, too."""

    name = "Spark history"
    KEY = "distkeras_spark_history"

    @staticmethod
    def url(server: str, application_id: str) -> str:
        """The application's page on a History Server."""
        return f"{server.rstrip('/')}/history/{application_id}"


def history_server(connection: Connection) -> str | None:
    """The address of Spark's History Server, by a Spark connection or else Airflow's option; None where there is none.

    Raises:
        SpecError: it is no address.
    """
    said = connection.extra_dejson.get("history-server") or conf.get("distkeras", "history_server", fallback="")
    if said and urlsplit(str(said)).scheme not in ("http", "https"):
        raise SpecError(
            f"history_server: expected an address such as http://history.example.com:18080, received {said!r}. Correct it in the "
            f"extra of the connection {connection.conn_id!r}, as history-server, or in Airflow's [distkeras] history_server."
        )
    return str(said) if said else None
