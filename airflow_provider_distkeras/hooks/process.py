"""The processes of spark-submit: which properties may stand among their arguments, who waits for them, and their end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

#: Seconds between SIGTERM and SIGKILL. Airflow kills a task five seconds after SIGTERM.
GRACE_S = 2.0
_POLL_S = 0.02
_REDACTION = "spark.redaction.regex"
#: What Spark's UI and event log hide unless `spark.redaction.regex` says otherwise.
_DEFAULT = "(?i)secret|password|token|access[.]?key"


def split_secrets(properties: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the properties that may be seen, and the secret ones: those that Spark itself would hide, by name or value.

    All users of a machine can read the arguments of its processes.
    """
    patterns = [re.compile(_DEFAULT)]
    with contextlib.suppress(re.error):  # Java's expressions are not all Python's
        patterns.append(re.compile(str(properties.get(_REDACTION, _DEFAULT))))
    secret = {
        name: str(value)
        for name, value in properties.items()
        if name != _REDACTION and any(pattern.search(text) for pattern in patterns for text in (name, str(value)))
    }
    return {name: value for name, value in properties.items() if name not in secret}, secret


def property_line(name: str, value: str) -> str:
    """Return a property as a line of a properties file."""
    return f"{name}={value}".replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def end_group(leader: subprocess.Popen[str] | None, grace_s: float | None = None) -> None:
    """Send SIGTERM to the process group of a running process, and SIGKILL after a grace.

    Args:
        leader: The first process of the group; nothing happens if it is None or has ended.
        grace_s: Seconds to wait between the signals; default: GRACE_S.
    """
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
    """Return the ids of this process and of Airflow's process that waits for it, if any; a job ends when they end."""
    ids = [os.getpid()]
    comms = getattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS", None)
    if type(comms).__name__ == "CommsDecoder":  # not so in dag.test, which a shell may leave behind
        ids.append(os.getppid())
    return ",".join(map(str, ids))


def killed_by(leader: subprocess.Popen[str] | None) -> str | None:
    """Return the name of the signal that killed a process, directly or by its shell's exit code; None if none did."""
    code = leader.returncode if leader is not None else None
    if not code:
        return None
    number = -code if code < 0 else code - 128
    return signal.Signals(number).name if number in (signal.SIGKILL, signal.SIGTERM) else None
