"""Checks of fields that hold paths. A path without a scheme becomes a file:// URI, which Airflow and Spark read alike."""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import list_of, text
from airflow_provider_distkeras.contract.files.storage import as_uri
from airflow_provider_distkeras.contract.secrets import holds_credentials

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z\d+.-]*://)")


def uri(name: str, value: Any) -> str:
    """Return a path as a URI. Raises SpecError for what is no text, an empty one, or a URI with a secret."""
    path = text(name, value)
    if holds_credentials(path):
        scheme = _SCHEME.match(path)
        raise SpecError(
            f"{name}: expected a URI without user and password, or signature, for it is stored and shown; received one with them"
            f"{f', of {scheme[1]}' if scheme else ''}. Give them to Spark as properties, such as spark.hadoop.fs.s3a.access.key "
            "in conf, or in its environment, and to Airflow in its connection."
        )
    return as_uri(path)


def uris(name: str, value: Any) -> list[str]:
    """Return a path, or a list of at least one path, as URIs. Raises SpecError for anything else."""
    return list_of(uri, minimum=1)(name, [value] if isinstance(value, str) else value)
