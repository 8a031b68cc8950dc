"""Runs on executors. Times written as text, to Arrow: each text by the first way of writing that it fits."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_distkeras.contract.files.time_format import pieces_of

_NAIVE = pa.timestamp("us")
_DATE = r"^\d{4}-\d\d-\d\d"
_ISO = rf"{_DATE}([T ]\d\d(:\d\d(:\d\d([.,]\d{{1,9}})?)?)?)?$"
_ISO_WITH_ZONE = rf"{_DATE}[T ]\d\d(:\d\d(:\d\d([.,]\d{{1,9}})?)?)?(Z|[+-]\d\d(:?\d\d)?)$"
#: The directives of numbers that may be written by one digit, and all that Arrow reads as Python does: their texts, as regular
#: expressions for RE2.
_NUMBERS = {"%m": r"\d\d", "%d": r"\d\d", "%H": r"\d\d", "%I": r"\d\d", "%M": r"\d\d", "%S": r"[0-5]\d"}
_ARROW = _NUMBERS | {
    "%Y": r"\d{4}", "%y": r"\d\d", "%b": "[A-Za-z]{3}", "%p": "[AaPp][Mm]", "%z": r"(Z|[+-]([01]\d|2[0-3]):?[0-5]\d)", "%%": "%"
}  # fmt: skip


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
    """Return the times of texts in a format, null for others: as Python's own parser would, by Arrow's where that is as right."""
    pieces = pieces_of(time_format)
    time_format, pattern = "".join(pieces), _pattern(pieces)
    if pattern is None:
        return _by_python(texts, time_format)
    likely = pc.match_substring_regex(texts, pattern)
    candidates = pc.if_else(likely, texts, None)
    times = pc.strptime(candidates, format=time_format, unit="us", error_is_null=True).cast(_NAIVE)
    # Arrow takes 31 February for 3 March, and knows a year 0.
    after_short = pc.and_(pc.is_in(pc.month(times), pa.array([3, 5, 7, 10, 12])), pc.less_equal(pc.day(times), 3))
    outside = pc.or_(pc.less(pc.year(times), MINYEAR), pc.greater(pc.year(times), MAXYEAR))
    suspects = pc.or_(pc.fill_null(pc.or_(after_short, outside), False), pc.invert(likely))
    return pc.replace_with_mask(times, suspects, _by_python(texts.filter(suspects), time_format))


def _pattern(pieces: Sequence[str]) -> str | None:
    """Return a regular expression of texts that Arrow reads as Python does; None for a format of which it reads none so."""
    if any(piece.startswith("%") and piece not in _ARROW for piece in pieces):
        return None
    pattern = ""
    for before, piece, behind in zip(["", *pieces], pieces, [*pieces[1:], ""], strict=False):
        text = _ARROW.get(piece) or (r"\s+" if piece.isspace() else re.escape(piece))
        # Of digits that follow each other, Arrow would take too many for a number of one digit.
        is_apart = not any(each.startswith("%") or each.isdigit() for each in (before, behind))
        pattern += f"({text}|\\d)" if piece in _NUMBERS and is_apart else text
    return f"^{pattern}$"


def _by_python(texts: pa.Array, time_format: str) -> pa.Array:
    """Return the times of texts in a format, null for others, by Python's own parser, which is slow and knows the calendar."""
    distinct = texts.dictionary_encode()
    times = [_python_time(text, time_format) for text in distinct.dictionary.to_pylist()]
    return pa.array(times, _NAIVE).take(distinct.indices)


def _python_time(text: str, time_format: str) -> datetime | None:
    """Return a time in a format, in UTC without a zone; None for a text that does not fit."""
    try:
        time = datetime.strptime(text, time_format)
        return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):  # the first year has begun later in UTC
        return None
