"""The output of a job, read by the task that submitted it: links, progress in the task's state, and the cause of a failure."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, AirflowTaskTimeout, redact

from airflow_provider_distkeras.contract.artifacts.failure import Failure
from airflow_provider_distkeras.contract.artifacts.progress import PREFIX, PROGRESS, JobFailed, JobStarted, Progress, parse_event
from airflow_provider_distkeras.contract.errors import DistKerasError
from airflow_provider_distkeras.hooks.log_filter import LogFilter
from airflow_provider_distkeras.links.spark import HistoryServerLink, PushedLink, SparkUILink

if TYPE_CHECKING:
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
    from airflow.sdk.types import Logger

#: Seconds between two writes of the progress, at least; each is a request to Airflow's API server.
_EVERY_S = 3.0
_DONE = {"percent": 100, "stage": "done"}
#: A line of a Java or Python stack trace that names an error. The last one is the root cause.
_SUSPECT = re.compile(r'(?:Exception in thread "[^"]*" |Caused by: )?((?:[\w$]+\.)*[\w$]+(?:Error|Exception)\b.*)')


class JobLog:
    """The reader of a job's output.

    Args:
        log: The task's logger.
        store: The task's state; None before Airflow 3.3, which introduces it.
        push_link: Shows a link of the task from now on.

    Attributes:
        history_server: The address of Spark's History Server; None if there is none.
        failure: The failure that the job could not write beside its request; None if it had none.
    """

    def __init__(self, log: Logger, store: Any, push_link: Callable[[type[PushedLink], str], None]) -> None:
        self.history_server: str | None = None
        self.failure: Failure | None = None
        self._log, self._store, self._push_link = log, store, push_link
        self._filter = LogFilter()
        self._suspect: str | None = None
        self._application_id: str | None = None
        self._percent = 0
        self._written_at = -_EVERY_S

    def read(self, lines: Iterator[str], hook: SparkSubmitHook) -> Iterator[str]:
        """Yield the lines of spark-submit, without the needless ones; write links and progress on the way.

        Args:
            lines: The output of spark-submit.
            hook: The hook that runs it, which reads the application's id from the lines.
        """
        for line in lines:
            shown = self._parse(line)
            if not self._filter.drops(shown):
                yield shown
            submitted = hook._yarn_application_id or hook._kubernetes_application_id
            if submitted is not None and self._application_id is None:
                self._write({"percent": 0, "stage": "running"})  # in cluster mode no more progress is printed here
                self._runs_as(submitted)

    def _runs_as(self, application_id: str) -> None:
        """Show the link to the application's history."""
        self._application_id = application_id
        if self.history_server:
            self._push_link(HistoryServerLink, HistoryServerLink.url(self.history_server, application_id))

    @contextlib.contextmanager
    def report(self) -> Iterator[None]:
        """Write the task's state from its beginning to its end; log the cause of a failure in a line."""
        self._write({"percent": 0, "stage": "starting"})
        try:
            yield
        except AirflowSkipException:
            self._write(_DONE)
            raise
        except (Exception, AirflowTaskTimeout) as error:
            line = self._cause(error)
            self._log.error("%s", line)
            self._write({"percent": self._percent, "stage": "failed", "error": redact(line)})
            raise
        self._write(_DONE)

    def _parse(self, line: str) -> str:
        """Take links, progress and errors from a line; return it as the task's log shows it, an event as prose."""
        event = parse_event(line)
        if isinstance(event, JobStarted):
            self._runs_as(event.application_id)
            if event.ui is not None:
                self._push_link(SparkUILink, event.ui)
        elif isinstance(event, Progress):
            self._percent = event.percent
            if time.monotonic() - self._written_at >= _EVERY_S:
                self._write(event.to_dict())
        elif isinstance(event, JobFailed):
            self.failure = event.failure
        suspect = _SUSPECT.match(line)
        if suspect is not None:
            self._suspect = suspect[1].strip()
        return line if event is None else f"{PREFIX}{event}"

    def _write(self, state: dict[str, Any]) -> None:
        if self._store is None:
            return
        self._written_at = time.monotonic()
        try:
            self._store.set(PROGRESS, state)
        except Exception as error:  # a missing state must not fail the job
            self._log.warning("The task's state could not be written: %s", error)

    def _cause(self, error: BaseException) -> str:
        """Return the cause of a failure in a line; of an exception of Airflow, the error that it was raised from."""
        if isinstance(error.__cause__, DistKerasError):
            return Failure.of(error.__cause__).line
        return self._suspect or Failure.of(error).line
