"""What a job's output is to the task that submitted it: links, progress in the task's state, and at the end why it failed."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, AirflowTaskTimeout, redact

from airflow_provider_distkeras.contract.artifacts.failure import Failure
from airflow_provider_distkeras.contract.artifacts.progress import PREFIX, PROGRESS, JobStarted, Progress, parse_event
from airflow_provider_distkeras.contract.errors import DistKerasError
from airflow_provider_distkeras.hooks.log_filter import LogFilter
from airflow_provider_distkeras.links.spark import HistoryServerLink, PushedLink, SparkUILink

if TYPE_CHECKING:
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
    from airflow.sdk.types import Logger

#: Seconds between two writes of it, at least; each is a request to Airflow's API server.
_EVERY_S = 3.0
_DONE = {"percent": 100, "stage": "done"}
#: A line of a stack trace, of Java or Python, that says what is wrong. The last one says what all others follow from.
_SUSPECT = re.compile(r'(?:Exception in thread "[^"]*" |Caused by: )?((?:[\w$]+\.)*[\w$]+(?:Error|Exception)\b.*)')


class JobLog:
    """Follows a task's job by what it prints.

    Args:
        log: the task's.
        store: the task's state; None where Airflow has none, before 3.3.
        push_link: shows a link from now on.

    Attributes:
        history_server: the address of Spark's History Server; None where there is none.
    """

    def __init__(self, log: Logger, store: Any, push_link: Callable[[type[PushedLink], str], None]) -> None:
        self.history_server: str | None = None
        self._log, self._store, self._push_link = log, store, push_link
        self._noise = LogFilter()
        self._suspect: str | None = None
        self._application_id: str | None = None
        self._percent = 0
        self._written_at = -_EVERY_S

    def read(self, lines: Iterator[str], hook: SparkSubmitHook) -> Iterator[str]:
        """The lines of spark-submit, which are understood on the way, less those that nobody needs."""
        for line in lines:
            shown = self._understand(line)
            if not self._noise.has(shown):
                yield shown
            submitted = hook._yarn_application_id or hook._kubernetes_application_id
            if submitted is not None and self._application_id is None:
                self._write({"percent": 0, "stage": "running"})  # where nothing more is heard of it
                self._runs_as(submitted)

    def _runs_as(self, application_id: str) -> None:
        """Show where the application's history is."""
        self._application_id = application_id
        if self.history_server:
            self._push_link(HistoryServerLink, HistoryServerLink.url(self.history_server, application_id))

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Keep the task's state up to date from the beginning to the end of the task, and tell why it failed, if it does."""
        self._write({"percent": 0, "stage": "starting"})
        try:
            yield
        except AirflowSkipException:
            self._write(_DONE)
            raise
        except (Exception, AirflowTaskTimeout) as error:
            line = self._line(error)
            self._log.error("%s", line)
            self._write({"percent": self._percent, "stage": "failed", "error": redact(line)})
            raise
        self._write(_DONE)

    def _understand(self, line: str) -> str:
        """Return the line as the task's log shows it, an event as prose."""
        event = parse_event(line)
        if isinstance(event, JobStarted):
            self._runs_as(event.application_id)
            if event.ui is not None:
                self._push_link(SparkUILink, event.ui)
        elif isinstance(event, Progress):
            self._percent = event.percent
            if time.monotonic() - self._written_at >= _EVERY_S:
                self._write(event.to_dict())
        suspect = _SUSPECT.match(line)
        if suspect is not None:
            self._suspect = suspect[1].strip()
        return line if event is None else f"{PREFIX}{event}"

    def _write(self, said: dict[str, Any]) -> None:
        if self._store is None:
            return
        self._written_at = time.monotonic()
        try:
            self._store.set(PROGRESS, said)
        except Exception as error:  # the job is what matters
            self._log.warning("The task's state could not be written: %s", error)

    def _line(self, error: BaseException) -> str:
        """What failed, in a line; of Airflow's errors what they stand for."""
        if isinstance(error.__cause__, DistKerasError):
            return Failure.of(error.__cause__).line
        return self._suspect or Failure.of(error).line
