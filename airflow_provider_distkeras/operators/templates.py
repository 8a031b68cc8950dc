"""Arguments that hold templates, whose values are known only when the task runs."""

from __future__ import annotations

from typing import Any


def is_constant(value: Any) -> bool:
    """Return whether an argument has its value when the DAG is parsed: it is plain data without a Jinja template in it."""
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    if isinstance(value, dict):
        return all(is_constant(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return all(map(is_constant, value))
    return value is None or isinstance(value, bool | int | float)
