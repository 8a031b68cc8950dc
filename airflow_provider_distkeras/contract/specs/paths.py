"""Checks of fields that hold paths. A path without a scheme becomes a file:// URI, which Airflow and Spark read alike."""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import list_of, text
from airflow_provider_distkeras.contract.files.storage import as_uri

#: A user and a password before a host. A port is no password, and the container of an abfss:// URI no user.
_PASSWORD = re.compile(r"[A-Za-z][\w+.-]*://[^/@]*:(?!\d+(/|$))[^@]*@")


def uri(name: str, value: Any) -> str:
    """Return a path as a URI. Raises SpecError for what is no text, an empty one, or a URI with a password."""
    path = text(name, value)
    password = _PASSWORD.match(path)
    if password:
        raise SpecError(
            f"{name}: expected a URI without user and password, for it is stored and shown; received one with "
            f"(…@{path[password.end() :]}). Give them to Spark as properties, such as spark.hadoop.fs.s3a.access.key in conf, or "
            "in its environment, and to Airflow in its connection."
        )
    return as_uri(path)


def uris(name: str, value: Any) -> list[str]:
    """Return a path, or a list of at least one path, as URIs. Raises SpecError for anything else."""
    return list_of(uri, minimum=1)(name, [value] if isinstance(value, str) else value)
