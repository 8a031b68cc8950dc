"""Typed fields: one check per kind of value, used by specs, by trainers and by Spark ML Params alike."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_distkeras.contract.errors import SpecError, unknown_name

#: Takes the name of the thing and its value; returns the value in its plain type or raises SpecError.
Check = Callable[[str, Any], Any]

_MEMORY = re.compile(r"\d+\s*([kmgtp]?b?|[kmgtp]ib)", re.IGNORECASE)


def _refuse(name: str, expected: str, value: Any) -> SpecError:
    return SpecError(f"{name}: expected {expected}, received {value!r} ({type(value).__name__}).")


def integer(minimum: int = 1) -> Check:
    """A whole number of at least `minimum`; 3.0 counts, True does not."""

    def check(name: str, value: Any) -> int:
        whole = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value == int(value)
        if not whole or value < minimum:
            raise _refuse(name, f"an integer of at least {minimum}", value)
        return int(value)

    return check


def number(minimum: float = -math.inf, below: float = math.inf, *, positive: bool = False) -> Check:
    """A finite number in [minimum, below), above zero if `positive`."""
    interval = "a number above 0" if positive else f"a number of at least {minimum:g}" if minimum > -math.inf else "a number"
    expected = interval + (f" and below {below:g}" if below < math.inf else "")

    def check(name: str, value: Any) -> float:
        finite = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not finite or not minimum <= value < below or (positive and value <= 0):
            raise _refuse(name, expected, value)
        return float(value)

    return check


def boolean(name: str, value: Any) -> bool:
    """True or False, not 1 or 0."""
    if not isinstance(value, bool):
        raise _refuse(name, "true or false", value)
    return value


def text(name: str, value: Any) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise _refuse(name, "a text that is not empty", value)
    return value


def memory(name: str, value: Any) -> str:
    """An amount of memory, as Spark takes it."""
    said = str(value).strip()
    if not _MEMORY.fullmatch(said):
        raise SpecError(f"{name}: expected an amount of memory, such as 2g or 512m, received {value!r}.")
    return said


def uri_without_secret(name: str, value: Any) -> str:
    """A URI that holds no user and no password: specs are written to files and shown."""
    uri = text(name, value)
    if "@" in urlsplit(uri).netloc:
        raise SpecError(
            f"{name}: expected a URI without user and password, for it is written to files; received one with "
            f"(…@{uri.rpartition('@')[2]}). Give them by environment variables."
        )
    return uri


def choice(kind: str, valid: Iterable[str]) -> Check:
    """One of the names in `valid`, written exactly so."""
    names = tuple(valid)

    def check(name: str, value: Any) -> str:
        if value not in names:
            raise SpecError(f"{name}: {unknown_name(kind, value, names)}")
        return str(value)

    return check


def optional(check: Check) -> Check:
    """None, or what `check` takes."""
    return lambda name, value: None if value is None else check(name, value)


def list_of(check: Check, minimum: int = 0) -> Check:
    """A list of at least `minimum` values that `check` takes."""

    def check_list(name: str, value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)) or len(value) < minimum:
            raise _refuse(name, f"a list of at least {minimum} values" if minimum else "a list", value)
        return [check(f"{name}[{i}]", item) for i, item in enumerate(value)]

    return check_list


def mapping_of(check: Check) -> Check:
    """A dict from texts to values that `check` takes."""

    def check_mapping(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _refuse(name, "a dict", value)
        return {text(f"{name} key", key): check(f"{name}[{key!r}]", item) for key, item in value.items()}

    return check_mapping


def json_value(name: str, value: Any) -> Any:
    """Anything JSON can hold."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise _refuse(name, f"a value that JSON can hold ({error})", value) from error


@dataclass(frozen=True)
class Field:
    """A named value of a spec, a trainer or a network: how it is checked, its default, and what it means."""

    check: Check
    default: Any
    doc: str

    def cast(self, name: str, value: Any) -> Any:
        """Check `value`; a text that only fits when read as JSON (as templates render it) is read so."""
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
