"""JSON from files and states that anyone may have written: what cannot be read is one kind of error."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

from airflow_provider_distkeras.contract.errors import MalformedError

_T = TypeVar("_T")

#: Larger numbers are no measurement, and overflow where they are formatted.
MAX_NUMBER = 1e100


class Count(int):
    """A whole number of at least 0, as a type that `check_members` takes."""


#: What JSON must hold: a type, such as int, dict[str, int], of which the values are not checked, or float | None.
JsonType = type | UnionType


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


def check_members(content: Mapping[str, Any], types: Mapping[str, JsonType], what: str) -> None:
    """Raise MalformedError if a member of an object that is there has another type, or is no number that can be shown.

    Args:
        content: the object.
        types: per name, the type; float stands for any finite number.
        what: what holds the object, for messages.
    """
    for name in types.keys() & content.keys():
        if not _is_valid(content[name], types[name]):
            expected, received = _name(types[name]), reprlib.repr(content[name])
            raise MalformedError(f"{what} is not valid: expected a {expected} as {name!r}, received {received}.")


def build(made: type[_T], content: Mapping[str, Any], types: Mapping[str, JsonType], what: str) -> _T:
    """Return a dataclass of an object's members, checked as by `check_members`. Raises MalformedError for any other object."""
    check_members(content, types, what)
    try:
        return made(**content)
    except TypeError as error:
        raise MalformedError(f"{what} is not valid: {error}.") from error


def _name(wanted: JsonType) -> str:
    if wanted is Count:
        return "whole number of at least 0"
    return wanted.__name__ if isinstance(wanted, type) else str(wanted)


def _is_valid(value: Any, wanted: JsonType) -> bool:
    if isinstance(wanted, UnionType):
        return any(_is_valid(value, each) for each in get_args(wanted))
    if isinstance(value, bool):
        return wanted is bool
    if wanted is Count:
        return isinstance(value, int) and 0 <= value < MAX_NUMBER
    if wanted in (int, float):
        return isinstance(value, int if wanted is int else int | float) and abs(value) < MAX_NUMBER
    return isinstance(value, get_origin(wanted) or wanted)
