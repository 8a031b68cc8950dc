"""The task's side of a job's lease: renewing it for as long as somebody waits for the job."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import conf

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.lease import Lease
from airflow_provider_distkeras.hooks.storage import storage_for

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator
    from airflow.sdk.types import Logger, RuntimeTaskInstanceProtocol

    from airflow_provider_distkeras.hooks.termination import LaterLog

#: Between two renewals.
RENEW_S = 10.0
#: How long a job goes on without its task, and without its triggerer, which may be restarted or moved.
TASK_S, TRIGGERER_S = 120.0, 600.0
_DAY_S = 86400.0


def lease_seconds(task: BaseOperator, ti: RuntimeTaskInstanceProtocol, *, look_s: float, deferred: bool, durable: bool) -> float:
    """How long a job goes on when its lease is not renewed: over a gap that is no reason to end it.

    Where a retry would find the job again, that is until Airflow has noticed that a task is gone, and waited to try again.
    """
    gap = max(TRIGGERER_S if deferred else TASK_S, 5 * look_s)
    if durable and ti.try_number <= (ti.max_tries or 0):
        gap += conf.getfloat("scheduler", "task_instance_heartbeat_timeout", fallback=300.0) + _retry_delay_s(task, ti.try_number)
    return gap


def _retry_delay_s(task: BaseOperator, try_number: int) -> float:
    """The longest time that Airflow waits between this try and the next."""
    delay = task.retry_delay.total_seconds()
    if task.retry_exponential_backoff > 0:
        # Up to twice as long, as Airflow draws it by chance.
        delay = 2 * max(1.0, delay) * max(1.0, float(task.retry_exponential_backoff)) ** min(try_number - 1, 50)
    longest = task.max_retry_delay
    limit = longest.total_seconds() if isinstance(longest, timedelta) else longest
    return min(delay, limit or _DAY_S)


class LeaseKeeper:
    """Writes the lease of an attempt's job."""

    def __init__(self, attempt: Attempt, seconds: float, log: Logger | LaterLog) -> None:
        self._attempt = attempt
        self._seconds = seconds
        self._log = log
        self._renewed_at = float("-inf")

    def grant(self) -> None:
        """Write the lease, before the job is submitted. Raises ArtifactError if it cannot be written."""
        self._write(Lease(self._seconds))

    def renew(self) -> None:
        """Write it again, if it is time to. A store that is out for a while is no reason to give up."""
        if time.monotonic() - self._renewed_at < RENEW_S:
            return
        try:
            self._write(Lease(self._seconds))
        except Exception as error:  # each driver raises its own kind
            self._log.warning("The lease of the job could not be renewed, which is tried again: %s", error)

    def revoke(self) -> None:
        """Tell the job to end by itself, as far as it can be reached."""
        try:
            self._write(Lease(self._seconds, revoked=True))
        except Exception as error:
            self._log.warning("The lease of the job could not be revoked; it ends %.0f s from now: %s", self._seconds, error)

    def _write(self, lease: Lease) -> None:
        storage_for(self._attempt.path).write_bytes(self._attempt.lease_path, lease.renewed())
        self._renewed_at = time.monotonic()
