"""The watch over a job's lease in cluster mode.

A job whose lease is not renewed any more ends: no task waits for its result, and a retry may be running.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt, write_within
from airflow_provider_distkeras.contract.artifacts.failure import Failure
from airflow_provider_distkeras.contract.artifacts.lease import POLL_S, Lease
from airflow_provider_distkeras.contract.errors import DistKerasError
from airflow_provider_distkeras.contract.files.storage import Storage

logger = logging.getLogger(__name__)

#: The time to write the failure before the job ends, in seconds.
_FAILURE_S = 5.0


class LeaseWatch:
    """A job's view of its lease.

    Args:
        storage: the file system of the attempt.
        attempt: the job's attempt.
        clock: gives the time in seconds.

    Attributes:
        poll_s: seconds until the next check.
    """

    def __init__(self, storage: Storage, attempt: Attempt, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._path = attempt.lease_path
        self._clock = clock
        self._content = b""
        self._changed_at = clock()
        self.poll_s = POLL_S

    def check(self) -> str | None:
        """Return why the job must end now, or None if it may go on."""
        try:
            content = self._storage.read_bytes(self._path)
            lease = Lease.read(content)
        except (OSError, DistKerasError):
            # Where the file cannot be read it cannot be renewed either: that time does not count.
            self._changed_at = self._clock()
            return None
        self.poll_s = lease.poll_s
        if content != self._content:
            self._content, self._changed_at = content, self._clock()
        if lease.revoked:
            return "The task of this job was killed, so the job ends without a result."
        if self._clock() - self._changed_at > lease.seconds:
            return f"Nobody has waited for this job for {lease.seconds:.0f} s, so it ends without a result."
        return None


def watch(storage: Storage, attempt: Attempt) -> None:
    """Start to watch the lease in a thread of its own. In client mode there is no lease: see `submitter`."""
    if storage.exists(attempt.lease_path):
        threading.Thread(target=_end_without_lease, args=(storage, attempt), name="lease", daemon=True).start()


def _end_without_lease(storage: Storage, attempt: Attempt) -> None:
    lease = LeaseWatch(storage, attempt)
    while (reason := lease.check()) is None:
        time.sleep(lease.poll_s)
    logger.error("%s", reason)
    # Not by an exception, which the job could catch. Spark ends after its Python process.
    timer = threading.Timer(_FAILURE_S, os._exit, (1,))
    timer.start()
    with contextlib.suppress(Exception):  # the end matters more than the cause
        write_within(storage, attempt, attempt.error_path, Failure("LeaseExpired", reason, permanent=False).to_json())
    os._exit(1)
