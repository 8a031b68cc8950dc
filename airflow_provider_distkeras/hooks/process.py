"""The processes of spark-submit: which properties stand among their arguments or in a file, who waits for them, and their end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import mask_secret

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.secrets import is_secret, secret_texts

#: Seconds between SIGTERM and SIGKILL. Airflow kills a task five seconds after SIGTERM.
GRACE_S = 2.0
_POLL_S = 0.02
#: The property with the pattern of what Spark's UI and event log hide.
REDACTION = "spark.redaction.regex"
_SETS_REDACTION = re.compile(rf"^[ \t\f]*{re.escape(REDACTION)}[ \t\f:=]", re.MULTILINE)
_ANYTHING = re.compile("")
#: What java.util.Properties would not read as it is: in names; and in values, of which the first character may not be a space.
_IN_NAMES, _IN_VALUES = re.compile(r"[^\x21-\x7e]|[\\:=#!]"), re.compile(r"^ |[^\x20-\x7e]|\\")
_LINE_BREAKS = {"\n": "\\n", "\r": "\\r"}


def read_redaction(conf: Mapping[str, Any]) -> re.Pattern[str] | None:
    """Return the user's pattern of secrets among Spark properties, if any; raise SpecError if only Java can read it."""
    if REDACTION not in conf:
        return None
    pattern = str(conf[REDACTION])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # of sets within sets, which only Java has
            return re.compile(pattern)
    except (re.error, OverflowError, FutureWarning) as error:
        raise SpecError(
            f"conf: expected a {REDACTION} that both Java and Python read, for Spark hides by it, and so does Airflow; received "
            f"{pattern!r}, which Python does not: {error}. Write it without what only Java knows, such as \\p{{Lower}} or "
            "[a-z&&[^x]]."
        ) from error


def split_secrets(properties: Mapping[str, Any], conf: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the properties or variables that may be seen, and the secret ones, by name or value.

    All users of a machine can read the arguments of its processes.

    Args:
        properties: The properties or variables.
        conf: The Spark properties, in which the user's pattern may name more; default: `properties`.
    """
    try:
        more = read_redaction(properties if conf is None else conf)
    except SpecError:
        more = _ANYTHING  # until the task is refused
    secret = {
        name: str(value) for name, value in properties.items() if name != REDACTION and is_secret(str(name), str(value), more)
    }
    return {name: value for name, value in properties.items() if name not in secret}, secret


def mask_secrets(conf: object, *others: object) -> None:
    """Have Airflow hide the secrets of Spark properties, and of variables or commands, in its log and its rendered templates."""
    properties = conf if isinstance(conf, dict) else {}
    values = [value for each in (conf, *others) for value in split_secrets(_named(each), properties)[1].values()]
    if values:
        mask_secret([text for value in values for text in secret_texts(value)])


def _named(argument: object) -> dict[Any, Any]:
    """Return an argument's values by their names; by numbers, where it is of another type than that of names and values."""
    if isinstance(argument, dict):
        return argument
    return dict(enumerate(argument if isinstance(argument, list | tuple) else [argument]))


def read_properties(file: Path) -> str:
    """Return the content of a properties file, as Spark decodes it; raise SpecError if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SpecError(
            f"properties_file: expected a file of Spark properties on this machine, received {str(file)!r}: {error.strerror}. "
            "Correct the path, or the file's rights."
        ) from error


def sets_redaction(properties: str) -> bool:
    """Return whether the content of a properties file sets the pattern of what Spark hides."""
    return _SETS_REDACTION.search(properties) is not None


def property_line(name: str, value: str) -> str:
    """Return a property as a line of a properties file, which java.util.Properties reads."""
    return f"{_IN_NAMES.sub(_escape, name)}={_IN_VALUES.sub(_escape, value)}"


def _escape(match: re.Match[str]) -> str:
    """Return what a properties file has for a character; one beyond 16 bits takes two escapes, as in Java."""
    character = match[0]
    if character in _LINE_BREAKS or " " <= character <= "~":
        return _LINE_BREAKS.get(character, f"\\{character}")
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


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
