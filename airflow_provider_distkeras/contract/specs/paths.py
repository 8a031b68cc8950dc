"""Checks of fields that hold paths. A path without a scheme becomes a file:// URI, which Airflow and Spark read alike."""

from __future__ import annotations

from typing import Any

from airflow_provider_distkeras.contract.fields import list_of, text
from airflow_provider_distkeras.contract.files.storage import as_uri


def uri(name: str, value: Any) -> str:
    """Return a path as a URI. Raises SpecError for what is no text, or an empty one."""
    return as_uri(text(name, value))


def uris(name: str, value: Any) -> list[str]:
    """Return a path, or a list of at least one path, as URIs. Raises SpecError for anything else."""
    return list_of(uri, minimum=1)(name, [value] if isinstance(value, str) else value)
