"""Typed fields: a check per kind of value, for specs, trainers and Spark ML Params.

A check takes the name of a field and a value; it returns the value in its plain type or raises SpecError.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError, unknown_name
from airflow_provider_distkeras.contract.secrets import holds_credentials

Check = Callable[[str, Any], Any]

_MEMORY = re.compile(r"\d+\s*([kmgtp]?b?|[kmgtp]ib)", re.IGNORECASE)
_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def _error(name: str, expected: str, value: Any) -> SpecError:
    received = "what holds a password" if holds_credentials(str(value)) else repr(value)
    return SpecError(f"{name}: expected {expected}, received {received} ({type(value).__name__}).")


def _is_number(value: Any) -> bool:
    """Return whether a value is a finite number, of the size of a float."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def integer(minimum: int = 1) -> Check:
    """Return the check of a whole number of at least `minimum`; it takes 3.0, but not True."""

    def check(name: str, value: Any) -> int:
        whole = _is_number(value) and value == int(value)
        if not whole or value < minimum:
            raise _error(name, f"an integer of at least {minimum}", value)
        return int(value)

    return check


def number(minimum: float = -math.inf, below: float = math.inf, *, positive: bool = False) -> Check:
    """Return the check of a finite number in [minimum, below), above zero if `positive`."""
    interval = "a number above 0" if positive else f"a number of at least {minimum:g}" if minimum > -math.inf else "a number"
    expected = interval + (f" and below {below:g}" if below < math.inf else "")

    def check(name: str, value: Any) -> float:
        if not _is_number(value) or not minimum <= value < below or (positive and value <= 0):
            raise _error(name, expected, value)
        return float(value)

    return check


def boolean(name: str, value: Any) -> bool:
    """Check for True or False; 1 and 0 are refused."""
    if not isinstance(value, bool):
        raise _error(name, "true or false", value)
    return value


def text(name: str, value: Any) -> str:
    """Check for a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise _error(name, "a text that is not empty", value)
    return value


def memory(name: str, value: Any) -> str:
    """Check for an amount of memory as Spark takes it."""
    amount = str(value).strip()
    if not _MEMORY.fullmatch(amount):
        raise SpecError(f"{name}: expected an amount of memory, such as 2g or 512m, received {value!r}.")
    return amount


def is_import_path(value: str) -> bool:
    """Return whether a text is an import path, 'package.module:name'."""
    return _IMPORT_PATH.fullmatch(value) is not None


def import_path(name: str, value: Any) -> str:
    """Check for an import path."""
    if not is_import_path(text(name, value)):
        raise SpecError(f"{name}: expected 'package.module:name', received {value!r}.")
    return str(value)


def uri_without_secret(name: str, value: Any) -> str:
    """Check for a URI without user and password, or token, since specs are written to files and shown."""
    uri = text(name, value)
    if holds_credentials(uri):
        raise SpecError(
            f"{name}: expected a URI without user and password, or token, for it is written to files; received one with them. "
            "Give them by environment variables."
        )
    return uri


def choice(kind: str, valid: Iterable[str]) -> Check:
    """Return the check of one of the names in `valid`, written exactly so."""
    names = tuple(valid)

    def check(name: str, value: Any) -> str:
        if value not in names:
            raise SpecError(f"{name}: {unknown_name(kind, value, names)}")
        return str(value)

    return check


def optional(check: Check) -> Check:
    """Return the check of None or what `check` takes."""
    return lambda name, value: None if value is None else check(name, value)


def list_of(check: Check, minimum: int = 0) -> Check:
    """Return the check of a list of at least `minimum` values that `check` takes."""

    def check_list(name: str, value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)) or len(value) < minimum:
            raise _error(name, f"a list of at least {minimum} values" if minimum else "a list", value)
        return [check(f"{name}[{i}]", item) for i, item in enumerate(value)]

    return check_list


def mapping_of(check: Check) -> Check:
    """Return the check of a dict from texts to values that `check` takes."""

    def check_mapping(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _error(name, "a dict", value)
        return {text(f"{name} key", key): check(f"{name}[{key!r}]", item) for key, item in value.items()}

    return check_mapping


def json_value(name: str, value: Any) -> Any:
    """Check for a value that JSON can hold."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise _error(name, f"a value that JSON can hold ({error})", value) from error


@dataclass(frozen=True)
class Field:
    """A named value of a spec, a trainer or a network.

    Attributes:
        check: checks and casts a value.
        default: the default; None where there is none.
        doc: what the field means.
    """

    check: Check
    default: Any
    doc: str

    def cast(self, name: str, value: Any) -> Any:
        """Check and cast a value. A text that only fits when parsed as JSON, such as a rendered template, is parsed."""
        try:
            return self.check(name, value)
        except SpecError:
            if not isinstance(value, str):
                raise
            try:
                parsed = json.loads({"None": "null", "True": "true", "False": "false"}.get(value.strip(), value))
            except ValueError:
                parsed = value
            if isinstance(parsed, str):
                raise
            return self.check(name, parsed)


def check_names(kind: str, given: Iterable[str], valid: Iterable[str]) -> None:
    """Raise SpecError for the first of `given` that is not one of `valid`."""
    names = list(valid)
    for name in given:
        if name not in names:
            raise unknown_name(kind, name, names)
