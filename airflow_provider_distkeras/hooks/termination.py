"""Ending an application on a cluster in the little time that Airflow leaves."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.hooks.lease import LeaseKeeper
from airflow_provider_distkeras.hooks.spark_application import STEP_S, ApplicationState, ClusterError, SparkApplication

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

#: For all of it but telling, which takes half a second at most; Airflow kills a task five seconds after it was asked to end.
KILL_S = 3.5
_POLL_S = 0.1
_TELL_S = 0.5


class LaterLog:
    """Keeps what is to be logged until `tell`, for a handler of signals.

    A signal may have come while a line was being written, and the lock on that is not given back before the handler returns: to
    log from there could wait for ever.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._kept: list[tuple[str, str, tuple[Any, ...]]] = []

    def info(self, message: str, *values: Any) -> None:
        """Keep a line."""
        self._kept.append(("info", message, values))

    def warning(self, message: str, *values: Any) -> None:
        """Keep a warning."""
        self._kept.append(("warning", message, values))

    def error(self, message: str, *values: Any) -> None:
        """Keep an error."""
        self._kept.append(("error", message, values))

    def tell(self) -> None:
        """Log it all, now if that can be, else as soon as the handler has returned."""
        teller = threading.Thread(target=self._tell, name="killing-log", daemon=True)
        teller.start()
        teller.join(_TELL_S)

    def _tell(self) -> None:
        for level, message, values in self._kept:
            getattr(self._log, level)(message, *values)


def end(target: SparkApplication, lease: LeaseKeeper, log: Logger | LaterLog) -> None:
    """Ask the cluster to end an application, and look whether it does; if not, its job is told by its lease."""
    deadline = time.monotonic() + KILL_S
    try:
        target.kill()
        log.info("Asked the cluster to end %s.", target.id)
    except ClusterError as error:
        log.error("Asking the cluster to end %s failed. %s", target.id, error)
    if not _has_died(target, deadline, log):
        lease.revoke()


def _has_died(target: SparkApplication, deadline: float, log: Logger | LaterLog) -> bool:
    last = "not heard of."
    while (left := deadline - time.monotonic()) > 0:
        try:
            status = target.look(min(STEP_S, left))
        except ClusterError as error:
            last = str(error)
        else:
            if status.outcome is not ApplicationState.RUNNING:
                log.info("The application %s has ended: %s", target.id, status)
                return True
            last = str(status)
        time.sleep(_POLL_S)
    log.error("The application %s was asked to end, and may still run: %s Its job is told to end by itself.", target.id, last)
    return False
