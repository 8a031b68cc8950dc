"""Waiting for an application, in a task or in the triggerer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_distkeras.hooks.lease import LeaseKeeper
from airflow_provider_distkeras.hooks.spark_application import ApplicationState, ApplicationStatus, ClusterError, SparkApplication

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

#: Seconds that a cluster may be silent, as while its manager restarts, before the try fails.
UNREACHABLE_S = 300.0


class ApplicationMonitor:
    """The watch over one application: its status, and the renewal of its job's lease.

    Args:
        application: The application on the cluster.
        lease: The lease of its job.
        log: Where changes of the status are logged.
    """

    def __init__(self, application: SparkApplication, lease: LeaseKeeper, log: Logger) -> None:
        self._application = application
        self._lease = lease
        self._log = log
        self._state = ""
        self._answered_at = time.monotonic()

    def look(self) -> ApplicationStatus | None:
        """Return the status if the application has ended, None while it runs; renew the lease.

        Raises:
            ClusterError: The cluster has not answered for UNREACHABLE_S.
        """
        self._lease.renew()
        try:
            status = self._application.look()
        except ClusterError as error:
            silent = time.monotonic() - self._answered_at
            if silent > UNREACHABLE_S:
                raise ClusterError(
                    f"{error} This has lasted for {silent:.0f} s; a retry takes the application up again."
                ) from error
            self._log.warning("%s Trying again.", error)
            return None
        self._answered_at = time.monotonic()
        if status.state != self._state:
            self._log.info("The application %s is %s", self._application.id, status)
            self._state = status.state
        return status if status.outcome is not ApplicationState.RUNNING else None
