"""Runs on executors. Times written as text, to Arrow: each text by the first way of writing that it fits."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

_NAIVE = pa.timestamp("us")
_DATE = r"^\d{4}-\d\d-\d\d"
_ISO = rf"{_DATE}([T ]\d\d(:\d\d(:\d\d([.,]\d{{1,9}})?)?)?)?$"
_ISO_WITH_ZONE = rf"{_DATE}[T ]\d\d(:\d\d(:\d\d([.,]\d{{1,9}})?)?)?(Z|[+-]\d\d(:?\d\d)?)$"
#: Directives of C that Python does not know, as those that it knows.
_SHORT = {"%T": "%H:%M:%S", "%D": "%m/%d/%y", "%F": "%Y-%m-%d", "%R": "%H:%M", "%e": "%d", "%h": "%b"}
#: Before this year, `strptime` has read fewer digits than %Y stands for.
_FIRST_YEAR = 1000


def parse_times(texts: pa.Array, formats: Sequence[str] = ()) -> tuple[pa.Array, str | None]:
    """Convert texts to times in UTC without a zone.

    A text is read by the first way that it fits, whatever its neighbours are: the formats in their order, then ISO 8601.

    Args:
        texts: Strings.
        formats: As for `strptime`.

    Returns:
        The times, null where a text is null or fits no way; and the first text that fits none, or None.
    """
    if not formats:
        with contextlib.suppress(pa.ArrowInvalid):  # not all of them are in ISO 8601 without a zone
            return texts.cast(_NAIVE), None
    times = pa.nulls(len(texts), _NAIVE)
    ways: list[Callable[[pa.Array], pa.Array]] = [
        *(partial(_by_format, time_format=each) for each in formats),
        partial(_by_cast, pattern=_ISO, kind=_NAIVE),
        partial(_by_cast, pattern=_ISO_WITH_ZONE, kind=pa.timestamp("us", "UTC")),
    ]
    for way in ways:
        left = pc.and_(pc.is_null(times), pc.is_valid(texts))
        if not pc.any(left).as_py():
            break
        times = pc.replace_with_mask(times, left, way(texts.filter(left)))
    unread = texts.filter(pc.and_(pc.is_null(times), pc.is_valid(texts)))
    return times, unread[0].as_py() if len(unread) else None


def _by_cast(texts: pa.Array, pattern: str, kind: pa.DataType) -> pa.Array:
    """Return the times of texts like the pattern, null for others, and for dates that do not exist."""
    candidates = pc.if_else(pc.match_substring_regex(texts, pattern), texts, None)
    try:
        return candidates.cast(kind).cast(_NAIVE)
    except pa.ArrowInvalid:
        if len(texts) == 1:
            return pa.nulls(1, _NAIVE)
    half = len(texts) // 2
    return pa.concat_arrays([_by_cast(part, pattern, kind) for part in (texts[:half], texts[half:])])


def _by_format(texts: pa.Array, time_format: str) -> pa.Array:
    """Return the times of texts in a format, null for others."""
    time_format = re.sub("%.", lambda directive: _SHORT.get(directive[0], directive[0]), time_format)
    if "%f" in time_format:  # Arrow has no fractions of a second
        return _by_python(texts, time_format)
    try:
        times = pc.strptime(texts, format=time_format, unit="us", error_is_null=True).cast(_NAIVE)
    except pa.ArrowInvalid:
        return pa.nulls(len(texts), _NAIVE)
    times = pc.if_else(pc.greater_equal(pc.year(times), _FIRST_YEAR), times, None)
    # Arrow takes 31 February for 3 March. Written in the format again, that is another text.
    after_short = pc.and_(pc.is_in(pc.month(times), pa.array([3, 5, 7, 10, 12])), pc.less_equal(pc.day(times), 3))
    suspects = pc.fill_null(after_short, False)
    if "%z" not in time_format:  # a time without a zone cannot be written so
        again = pc.strftime(times.filter(suspects), format=time_format)
        suspects = pc.replace_with_mask(suspects, suspects, pc.not_equal(again, texts.filter(suspects)))
    return pc.replace_with_mask(times, suspects, _by_python(texts.filter(suspects), time_format))


def _by_python(texts: pa.Array, time_format: str) -> pa.Array:
    """Return the times of texts in a format, null for others, by Python's own parser, which is slow and knows the calendar."""
    distinct = texts.dictionary_encode()
    times = [_python_time(text, time_format) for text in distinct.dictionary.to_pylist()]
    return pa.array(times, _NAIVE).take(distinct.indices)


def _python_time(text: str, time_format: str) -> datetime | None:
    """Return a time in a format, in UTC without a zone; None for a text that does not fit."""
    try:
        time = datetime.strptime(text, time_format)
    except ValueError:
        return None
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
