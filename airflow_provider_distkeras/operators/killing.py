"""Ending an application on a cluster in the little time that Airflow leaves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_distkeras.operators.applications import STEP_S, Application, ClusterError, Outcome
from airflow_provider_distkeras.operators.lease import LeaseKeeper

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

#: For all of it; Airflow kills a task five seconds after it was asked to end.
KILL_S = 4.0
_POLL_S = 0.1


def end(target: Application, lease: LeaseKeeper, log: Logger) -> None:
    """Ask the cluster to end an application, and look whether it does; if not, its job is told by its lease."""
    deadline = time.monotonic() + KILL_S
    try:
        target.kill()
        log.info("Asked the cluster to end %s.", target.id)
    except ClusterError as error:
        log.error("Asking the cluster to end %s failed. %s", target.id, error)
    if not _has_died(target, deadline, log):
        lease.revoke()


def _has_died(target: Application, deadline: float, log: Logger) -> bool:
    last = "not heard of."
    while (left := deadline - time.monotonic()) > 0:
        try:
            status = target.look(min(STEP_S, left))
        except ClusterError as error:
            last = str(error)
        else:
            if status.outcome is not Outcome.RUNNING:
                log.info("The application %s has ended: %s", target.id, status)
                return True
            last = str(status)
        time.sleep(_POLL_S)
    log.error("The application %s was asked to end, and may still run: %s Its job is told to end by itself.", target.id, last)
    return False
