"""How times are written: formats in the words of Python's `strptime`, and which of them say one time."""

from __future__ import annotations

import re
from collections import Counter

from airflow_provider_distkeras.contract.errors import SpecError

#: Directives of C that Python does not know, as those that it knows.
_SHORT = {"%T": "%H:%M:%S", "%D": "%m/%d/%y", "%F": "%Y-%m-%d", "%R": "%H:%M", "%e": "%d", "%h": "%b"}
#: The parts of a date, and of an hour, that the directives stand for.
_DATE = {
    "%Y": "year", "%y": "year", "%m": "month", "%b": "month", "%B": "month", "%d": "day", "%j": "day of the year",
    "%U": "week", "%W": "week", "%G": "ISO year", "%V": "ISO week",
    "%a": "weekday", "%A": "weekday", "%w": "weekday", "%u": "weekday",
}  # fmt: skip
_HOUR = {"%H": "hour", "%I": "hour of twelve", "%p": "half of the day"}
_OTHERS = {each: each for each in ("%M", "%S", "%f", "%z")}
#: The parts that make a day, to which a weekday adds nothing; and all parts that make one date or the beginning of one.
_DAYS = ({"year", "month", "day"}, {"year", "day of the year"})
_DATES = (
    set[str](), {"year"}, {"year", "month"}, *_DAYS, *(day | {"weekday"} for day in _DAYS),
    {"year", "week", "weekday"}, {"ISO year", "ISO week", "weekday"},
)  # fmt: skip
_HOURS = (set[str](), {"hour"}, {"hour of twelve", "half of the day"})


def pieces_of(time_format: str) -> list[str]:
    """Return the directives, the spaces and the other characters of a format, in directives that Python knows."""
    spelled = re.sub("%.", lambda directive: _SHORT.get(directive[0], directive[0]), time_format)
    return re.findall(r"%.?|\s+|.", spelled)


def check_time_format(name: str, time_format: str) -> None:
    """Raise SpecError for a format that `strptime` does not know, or by which it would read another time than is written."""
    directives = [piece for piece in pieces_of(time_format) if piece.startswith("%") and piece != "%%"]
    if "%Z" in directives:
        raise SpecError(
            f"{name}: names of time zones, such as EST, have no one meaning, so {time_format!r} is not read. Write offsets and "
            "%z; or, if all times have the same zone, its name in place of %Z: they are then taken as they stand."
        )
    parts = _DATE | _HOUR | _OTHERS
    for directive in directives:
        if directive not in parts:
            raise SpecError(
                f"{name}: {directive!r} in {time_format!r} is not read. Expected the directives {' '.join(parts)}, and %% for a "
                "percent sign: write the time out by these, such as %d for 1 and 01."
            )
    counts = Counter(parts[directive] for directive in directives)
    twice = [directive for directive in directives if counts[parts[directive]] > 1]
    if twice:
        raise SpecError(f"{name}: {' and '.join(twice)} in {time_format!r} say the same part of a time. Leave one of them out.")
    _check_parts(
        name, time_format, _DATE, _DATES,
        "one date. Expected %Y, %Y %m or %Y %m %d, %Y %j, %Y %U %a, %G %V %u, or no part of a date",
    )  # fmt: skip
    _check_parts(name, time_format, _HOUR, _HOURS, "one hour. Expected %H, or %I with %p")


def _check_parts(name: str, time_format: str, parts: dict[str, str], wholes: tuple[set[str], ...], expected: str) -> None:
    """Raise SpecError if the parts in a format are not one of the wholes."""
    directives = [piece for piece in pieces_of(time_format) if piece in parts]
    if {parts[directive] for directive in directives} not in wholes:
        raise SpecError(f"{name}: {' '.join(directives)} in {time_format!r} does not make {expected}.")
