"""Periods of data: their names and their order."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

_UNSAFE = re.compile(r"[^A-Za-z0-9._=-]")
_DATED = re.compile(r"\d{4}-\d\d")


def slug(text: str) -> str:
    """Return a text as one part of a path that every file system takes: one of its own, but a slug is its own slug."""
    safe = _UNSAFE.sub("_", text)
    if safe == text and safe not in ("", ".", ".."):
        return safe
    return f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def period_key(partition_key: str | None, logical_date: datetime | None, run_after: datetime) -> str:
    """Return a run's period of data: its partition key, else its logical date, else the time it was due."""
    if partition_key:
        return slug(partition_key)
    moment = (logical_date or run_after).astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H%M%S.%fZ" if moment.microsecond else "%Y-%m-%dT%H%M%SZ")


def sort_key(period: str) -> str:
    """Return what periods that begin with a date are ordered by."""
    return period.rstrip("Z")


def is_older(period: str, other: str) -> bool:
    """Return whether a period is before another; periods that do not begin with a date, such as region=eu, have no order."""
    dated = _DATED.match(period) and _DATED.match(other)
    return bool(dated) and sort_key(period) < sort_key(other)
