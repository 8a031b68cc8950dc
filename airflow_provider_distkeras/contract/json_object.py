"""JSON from files and states that anyone may have written: what cannot be read is one kind of error."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from typing import Any, TypeVar

from airflow_provider_distkeras.contract.errors import MalformedError

_T = TypeVar("_T")

#: Larger numbers are no measurement, and overflow where they are formatted.
MAX_NUMBER = 1e100


def parse_object(content: str | bytes, what: str) -> dict[str, Any]:
    """Return the object that a text of JSON holds.

    Args:
        content: the text.
        what: what the text is, for messages, such as "The manifest at s3a://...".

    Raises:
        MalformedError: the text is no JSON, or that of another value.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{what} cannot be read: it is not JSON, or nested too deeply ({error}).") from error
    if not isinstance(value, dict):
        raise MalformedError(f"{what} cannot be read: expected an object of JSON, received a {type(value).__name__}.")
    return value


def check_members(content: Mapping[str, Any], types: Mapping[str, type], what: str) -> None:
    """Raise MalformedError if a member of an object that is there has another type, or is no number that can be shown.

    Args:
        content: the object.
        types: per name, the type; float stands for any finite number.
        what: what holds the object, for messages.
    """
    for name in types.keys() & content.keys():
        if not _is_valid(content[name], types[name]):
            expected, received = types[name].__name__, reprlib.repr(content[name])
            raise MalformedError(f"{what} is not valid: expected a {expected} as {name!r}, received {received}.")


def build(made: type[_T], content: Mapping[str, Any], types: Mapping[str, type], what: str) -> _T:
    """Return a dataclass of an object's members, checked as by `check_members`. Raises MalformedError for any other object."""
    check_members(content, types, what)
    try:
        return made(**content)
    except TypeError as error:
        raise MalformedError(f"{what} is not valid: {error}.") from error


def _is_valid(value: Any, wanted: type) -> bool:
    if isinstance(value, bool):
        return wanted is bool
    if wanted in (int, float):
        return isinstance(value, int if wanted is int else int | float) and abs(value) < MAX_NUMBER
    return isinstance(value, wanted)
