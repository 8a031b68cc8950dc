"""Runs on executors. What the user names by an import path, in a module that travels with the job or is installed."""

from __future__ import annotations

import importlib
from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError


def import_object(path: str, param: str, expected: str = "'package.module:name'") -> Any:
    """Return what an import path, 'package.module:name', names.

    Args:
        path: the import path.
        param: the param that it is the value of, for the message.
        expected: what the param takes, for the message.

    Raises:
        SpecError: it cannot be imported.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SpecError(
            f"{param}: expected {expected}, received {path!r}: {error}. "
            "The module must be importable in the Spark driver and on the executors (py_files)."
        ) from error
