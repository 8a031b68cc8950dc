"""Spark properties that hold secrets: they must not stand among spark-submit's arguments, which the whole machine can read."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any

_REDACTION = "spark.redaction.regex"
#: What Spark's UI and event log hide unless `spark.redaction.regex` says otherwise.
_DEFAULT = "(?i)secret|password|token|access[.]?key"


def split(properties: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the properties that may be seen, and the secret ones: those that Spark itself would hide, by name or value."""
    patterns = [re.compile(_DEFAULT)]
    with contextlib.suppress(re.error):  # Java's expressions are not all Python's
        patterns.append(re.compile(str(properties.get(_REDACTION, _DEFAULT))))
    secret = {
        name: str(value)
        for name, value in properties.items()
        if name != _REDACTION and any(pattern.search(text) for pattern in patterns for text in (name, str(value)))
    }
    return {name: value for name, value in properties.items() if name not in secret}, secret


def line(name: str, value: str) -> str:
    """Return a property as a line of a properties file."""
    return f"{name}={value}".replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
