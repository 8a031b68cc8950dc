"""Links from a task to its job's Spark UI and Spark history."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, conf

from airflow_provider_distkeras.contract.errors import SpecError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Connection
    from airflow.sdk.types import RuntimeTaskInstanceProtocol


class PushedLink(BaseOperatorLink):
    """A link that the operator pushes to XCom itself, as soon as its address exists.

    Airflow calls `get_link` only after the task has ended, and overwrites the pushed address with the answer.
    """

    KEY: ClassVar[str]

    @property
    def xcom_key(self) -> str:
        """The key of the XCom that holds the address."""
        return self.KEY

    def initial_url(self, ti: RuntimeTaskInstanceProtocol) -> str | None:
        """Return the address if it exists from the beginning of the task, else None."""
        return None

    def get_link(self, operator: BaseOperator, *, ti_key: object) -> str:
        """Return the address that was pushed; an empty text if none was."""
        pushed: dict[str, str] = getattr(operator, "pushed_links", {})
        return pushed.get(self.KEY, "")


def restore_links(links: Iterable[PushedLink], ti: RuntimeTaskInstanceProtocol) -> dict[str, str]:
    """Return the addresses, by XCom key, that a task pushed before it was deferred."""
    index = -1 if ti.map_index is None else ti.map_index
    urls = {link.KEY: ti.xcom_pull(task_ids=ti.task_id, key=link.KEY, map_indexes=index) for link in links}
    return {key: url for key, url in urls.items() if url}


class SparkUILink(PushedLink):
    """The link to the Spark UI of the running job, at the address that its driver prints."""

    name = "Spark UI"
    KEY = "distkeras_spark_ui"

    def get_link(self, operator: BaseOperator, *, ti_key: object) -> str:
        """Return an empty text: the job has ended, and the next one on its machine may have its port, a stranger's."""
        return ""


class HistoryServerLink(PushedLink):
    """The link to the application in Spark's History Server, which keeps it after its end."""

    name = "Spark history"
    KEY = "distkeras_spark_history"

    @staticmethod
    def url(server: str, application_id: str) -> str:
        """Return the application's page on a History Server."""
        return f"{server.rstrip('/')}/history/{application_id}"


def history_server(connection: Connection) -> str | None:
    """Return the address of Spark's History Server from a connection, or else Airflow's option; None if neither has one.

    Raises:
        SpecError: The address is no URL.
    """
    address = connection.extra_dejson.get("history-server") or conf.get("distkeras", "history_server", fallback="")
    if address and urlsplit(str(address)).scheme not in ("http", "https"):
        raise SpecError(
            f"history_server: expected an address such as http://history.example.com:18080, received {address!r}. Correct it in "
            f"the extra of the connection {connection.conn_id!r}, as history-server, or in Airflow's [distkeras] history_server."
        )
    return str(address) if address else None
