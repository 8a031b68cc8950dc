"""Waiting for an application, in a task or in the triggerer: look, and renew the lease of its job."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_distkeras.hooks.lease import LeaseKeeper
from airflow_provider_distkeras.hooks.spark_application import ApplicationState, ApplicationStatus, ClusterError, SparkApplication

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

#: For how long a cluster may not answer, as while its manager is restarted, before the try is given up.
UNREACHABLE_S = 300.0


class ApplicationMonitor:
    """One application that is waited for."""

    def __init__(self, target: SparkApplication, lease: LeaseKeeper, log: Logger) -> None:
        self._target = target
        self._lease = lease
        self._log = log
        self._told = ""
        self._answered_at = time.monotonic()

    def look(self) -> ApplicationStatus | None:
        """Look once; the status once the application has ended, None while it runs.

        Raises:
            ClusterError: the cluster has not answered for UNREACHABLE_S.
        """
        self._lease.renew()
        try:
            status = self._target.look()
        except ClusterError as error:
            silent = time.monotonic() - self._answered_at
            if silent > UNREACHABLE_S:
                raise ClusterError(
                    f"{error} This has lasted for {silent:.0f} s; a retry takes the application up again."
                ) from error
            self._log.warning("%s Trying again.", error)
            return None
        self._answered_at = time.monotonic()
        if status.state != self._told:
            self._log.info("The application %s is %s", self._target.id, status)
            self._told = status.state
        return status if status.outcome is not ApplicationState.RUNNING else None
