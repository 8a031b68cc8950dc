"""The watch over the processes that submitted a job in client mode.

A job whose submitter is gone ends: no task waits for its result, and a retry may be running.
"""

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
#: Seconds between the signal for Spark to end and the kill of all processes of the job.
_GRACE_S = 2.0


def watch(submitters: str | None) -> None:
    """Start to watch in a thread of its own.

    Args:
        submitters: the ids of the processes, separated by commas (see `contract.artifacts.request.SUBMITTERS`); None for none.
    """
    if submitters:
        ids = [int(each) for each in submitters.split(",")]
        threading.Thread(target=_end_without_submitter, args=(ids,), name="submitter", daemon=True).start()


def _end_without_submitter(ids: Sequence[int]) -> None:
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
    """Return whether a process has ended and its parent has not read its exit code yet; False where there is no /proc."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state in ("Z", "X")
