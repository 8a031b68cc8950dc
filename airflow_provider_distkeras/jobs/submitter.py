"""Ends a job in client mode when what submitted it is gone: nobody waits for its result, and a retry may be at work."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

_POLL_S = 1.0
#: Between asking Spark to end and killing all processes of the job.
_GRACE_S = 2.0


def watch(submitters: str | None) -> None:
    """Watch from now on, in a thread of its own.

    Args:
        submitters: the ids of the processes, as `contract.request.SUBMITTERS` says; None where nobody is to be watched.
    """
    if submitters:
        ids = [int(each) for each in submitters.split(",")]
        threading.Thread(target=_end_without, args=(ids,), name="submitter", daemon=True).start()


def _end_without(ids: Sequence[int]) -> None:
    while all(map(_is_alive, ids)):
        time.sleep(_POLL_S)
    logger.error("the task that submitted this job is gone, so the job ends without a result")
    spark = os.getppid()
    if os.getpgid(spark) == os.getpgrp():
        os.kill(spark, signal.SIGTERM)
        time.sleep(_GRACE_S)
    os.killpg(0, signal.SIGKILL)


def _is_alive(process: int) -> bool:
    try:
        with contextlib.suppress(PermissionError):  # another user's
            os.kill(process, 0)
    except ProcessLookupError:
        return False
    return not _has_ended(process)


def _has_ended(process: int) -> bool:
    """Whether a process has ended and only waits for its parent to notice, as far as this system tells."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state in ("Z", "X")
