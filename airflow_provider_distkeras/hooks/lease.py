"""The task's side of a job's lease, which is renewed while a task or trigger waits for the job."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import conf

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt, write_within
from airflow_provider_distkeras.contract.artifacts.lease import Lease
from airflow_provider_distkeras.hooks.storage import storage_for

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator
    from airflow.sdk.types import Logger, RuntimeTaskInstanceProtocol

    from airflow_provider_distkeras.hooks.deferred_log import DeferredLog

#: Seconds between two renewals.
RENEW_S = 10.0
#: Seconds that a job runs on without its task, and without its triggerer, which may be restarted or moved.
TASK_S, TRIGGERER_S = 120.0, 600.0
_DAY_S = 86400.0


def lease_seconds(task: BaseOperator, ti: RuntimeTaskInstanceProtocol, *, look_s: float, deferred: bool, durable: bool) -> float:
    """Return the seconds that a job runs on while its lease is not renewed.

    If a retry would find the job again, they last until Airflow has noticed that the task is gone, and has retried it.

    Args:
        task: The task that waits.
        ti: Its task instance.
        look_s: Seconds between two looks at the application.
        deferred: Whether a trigger waits.
        durable: Whether a retry finds the job again.
    """
    gap = max(TRIGGERER_S if deferred else TASK_S, 5 * look_s)
    if durable and ti.try_number <= (ti.max_tries or 0):
        gap += conf.getfloat("scheduler", "task_instance_heartbeat_timeout", fallback=300.0) + _retry_delay_s(task, ti.try_number)
    return gap


def _retry_delay_s(task: BaseOperator, try_number: int) -> float:
    """Return the longest delay in seconds between this try and the next."""
    delay = task.retry_delay.total_seconds()
    if task.retry_exponential_backoff > 0:
        # Airflow adds random jitter, up to the delay itself.
        delay = 2 * max(1.0, delay) * max(1.0, float(task.retry_exponential_backoff)) ** min(try_number - 1, 50)
    longest = task.max_retry_delay
    limit = longest.total_seconds() if isinstance(longest, timedelta) else longest
    return min(delay, limit or _DAY_S)


class LeaseKeeper:
    """The writer of the lease of an attempt's job.

    Args:
        attempt: The attempt that the job writes into.
        seconds: How long the job runs on without a renewal.
        log: Where failures to write are logged.
    """

    def __init__(self, attempt: Attempt, seconds: float, log: Logger | DeferredLog) -> None:
        self._attempt = attempt
        self._seconds = seconds
        self._log = log
        self._renewed_at = float("-inf")

    def grant(self) -> None:
        """Write the lease, before the job is submitted; raise ArtifactError if it cannot be written."""
        self._write(Lease(self._seconds))

    def renew(self) -> None:
        """Write the lease again if RENEW_S have passed; log a failure, which the next renewal may repair."""
        if time.monotonic() - self._renewed_at < RENEW_S:
            return
        try:
            self._write(Lease(self._seconds))
        except Exception as error:  # each driver raises its own kind
            self._log.warning("The lease of the job could not be renewed, which is tried again: %s", error)

    def revoke(self) -> None:
        """Write a revoked lease, so that the job ends itself; log a failure."""
        try:
            self._write(Lease(self._seconds, revoked=True))
        except Exception as error:
            self._log.warning("The lease of the job could not be revoked; it ends %.0f s from now: %s", self._seconds, error)

    def _write(self, lease: Lease) -> None:
        write_within(storage_for(self._attempt.path), self._attempt, self._attempt.lease_path, lease.renewed())
        self._renewed_at = time.monotonic()
