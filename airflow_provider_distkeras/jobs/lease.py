"""Ends a job in cluster mode when its lease is no longer renewed: nobody waits for its result, and a retry may be at work."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.failure import Failure
from airflow_provider_distkeras.contract.artifacts.lease import LOOK_S, Lease
from airflow_provider_distkeras.contract.errors import DistKerasError
from airflow_provider_distkeras.contract.files.storage import Storage

logger = logging.getLogger(__name__)

#: For saying why, where the file system takes its time.
_LAST_WORDS_S = 5.0


class LeaseWatch:
    """What a job knows about its lease."""

    def __init__(self, storage: Storage, attempt: Attempt, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._path = attempt.lease_path
        self._clock = clock
        self._seen = b""
        self._since = clock()
        #: Seconds until the next look.
        self.look_s = LOOK_S

    def look(self) -> str | None:
        """Why the job is to end now, or None if it may go on."""
        try:
            content = self._storage.read_bytes(self._path)
            lease = Lease.read(content)
        except (OSError, ValueError, KeyError, TypeError, DistKerasError):
            # Where the file cannot be read it cannot be renewed either: that time is not held against the job.
            self._since = self._clock()
            return None
        self.look_s = lease.look_s
        if content != self._seen:
            self._seen, self._since = content, self._clock()
        if lease.revoked:
            return "The task of this job was killed, so the job ends without a result."
        if self._clock() - self._since > lease.seconds:
            return f"Nobody has waited for this job for {lease.seconds:.0f} s, so it ends without a result."
        return None


def watch(storage: Storage, attempt: Attempt) -> None:
    """Watch from now on, in a thread of its own. In client mode there is no lease: see `submitter`."""
    if storage.exists(attempt.lease_path):
        threading.Thread(target=_end_without, args=(storage, attempt), name="lease", daemon=True).start()


def _end_without(storage: Storage, attempt: Attempt) -> None:
    lease = LeaseWatch(storage, attempt)
    while (reason := lease.look()) is None:
        time.sleep(lease.look_s)
    logger.error("%s", reason)
    # Not by an exception: whatever the job is at, nothing of it may run on. Spark ends once its Python has.
    at_the_latest = threading.Timer(_LAST_WORDS_S, os._exit, (1,))
    at_the_latest.start()
    with contextlib.suppress(Exception):  # the end matters more than the cause
        storage.write_bytes(attempt.error_path, Failure("LeaseExpired", reason, permanent=False).to_json())
    os._exit(1)
