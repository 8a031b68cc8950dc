"""Ending spark-submit together with everything it started, and with what started it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

#: Airflow kills a task that has not ended five seconds after it was asked to.
GRACE_S = 2.0
_POLL_S = 0.02


def end_group(leader: subprocess.Popen[str] | None, grace_s: float | None = None) -> None:
    """Ask the process group of a running `leader` to end; after a grace, by default a short one, kill it."""
    if leader is None or leader.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGTERM)
        deadline = time.monotonic() + (GRACE_S if grace_s is None else grace_s)
        while time.monotonic() < deadline:
            leader.poll()  # a leader that has ended stays in its group until it is reaped
            os.killpg(leader.pid, 0)
            time.sleep(_POLL_S)
        os.killpg(leader.pid, signal.SIGKILL)


def submitters() -> str:
    """The ids of this process and of the one of Airflow that waits for it, if one does, for a job to end with them."""
    ids = [os.getpid()]
    comms = getattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS", None)
    if type(comms).__name__ == "CommsDecoder":  # not so in dag.test, which a shell may leave behind
        ids.append(os.getppid())
    return ",".join(map(str, ids))


def killed_by(leader: subprocess.Popen[str] | None) -> str | None:
    """The name of the signal that ended `leader`, directly or as its shell tells it; None if it ended by itself."""
    code = leader.returncode if leader is not None else None
    if not code:
        return None
    number = -code if code < 0 else code - 128
    return signal.Signals(number).name if number in (signal.SIGKILL, signal.SIGTERM) else None
