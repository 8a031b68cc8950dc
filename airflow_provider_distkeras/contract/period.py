"""Periods of data: how a run's period is named, and which of two is older."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

_UNSAFE = re.compile(r"[^A-Za-z0-9._=-]")
_DATED = re.compile(r"\d{4}-\d\d")


def slug(text: str) -> str:
    """`text` as one part of a path that every file system takes; different texts give different slugs."""
    safe = _UNSAFE.sub("_", text)
    if safe == text and safe not in ("", ".", ".."):
        return safe
    return f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def period_key(partition_key: str | None, logical_date: datetime | None, run_after: datetime) -> str:
    """The period of data a run is about: its partition key, else its logical date, else when it was due."""
    if partition_key:
        return slug(partition_key)
    moment = (logical_date or run_after).astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H%M%S.%fZ" if moment.microsecond else "%Y-%m-%dT%H%M%SZ")


def is_older(period: str, other: str) -> bool:
    """Whether a period of data is before another; periods that do not begin with a date, such as region=eu, have no order."""
    dated = _DATED.match(period) and _DATED.match(other)
    return bool(dated) and period.rstrip("Z") < other.rstrip("Z")
