"""Killing an application on a cluster within the few seconds that Airflow grants."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_distkeras.hooks.lease import LeaseKeeper
from airflow_provider_distkeras.hooks.spark_application import STEP_S, ApplicationState, ClusterError, SparkApplication

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider_distkeras.hooks.deferred_log import DeferredLog

#: Seconds for all of it but the logging, which takes half a second at most. Airflow kills a task five seconds after SIGTERM.
KILL_S = 3.5
_POLL_S = 0.1


def terminate(application: SparkApplication, lease: LeaseKeeper, log: Logger | DeferredLog) -> None:
    """Kill an application; revoke the lease of its job if the cluster does not confirm the end.

    Args:
        application: The application on the cluster.
        lease: The lease of its job.
        log: Where the steps are logged.
    """
    deadline = time.monotonic() + KILL_S
    try:
        application.kill()
        log.info("Asked the cluster to end %s.", application.id)
    except ClusterError as error:
        log.error("Asking the cluster to end %s failed. %s", application.id, error)
    if not _has_ended(application, deadline, log):
        lease.revoke()


def _has_ended(application: SparkApplication, deadline: float, log: Logger | DeferredLog) -> bool:
    last = "no status yet."
    while (remaining := deadline - time.monotonic()) > 0:
        try:
            status = application.look(min(STEP_S, remaining))
        except ClusterError as error:
            last = str(error)
        else:
            if status.outcome is not ApplicationState.RUNNING:
                log.info("The application %s has ended: %s", application.id, status)
                return True
            last = str(status)
        time.sleep(_POLL_S)
    log.error("The application %s may still run: %s Its lease is revoked, so that its job ends itself.", application.id, last)
    return False
