"""Times written as text: each is read by the first way that it fits, whatever its neighbours are."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_distkeras.contract.files.time_format import check_time_format
from airflow_provider_distkeras.ml.data.sources.times import parse_times

US, EUROPE = "%m/%d/%Y", "%d/%m/%Y"


def read(text, *formats):
    """The time of a text, and whether the same comes out among other texts."""
    alone = parse_times(pa.array([text], pa.string()), formats)[0][0].as_py()
    among = parse_times(pa.array(["2026-03-01", text, "2026-03-01T10:00Z", None, "no time", text]), formats)[0].to_pylist()
    assert [among[1], among[5]] == [alone, alone]
    assert among[3] is None
    return alone


@pytest.mark.parametrize(
    ("text", "formats", "time"),
    [
        ("01/02/2020", [US, EUROPE], datetime(2020, 1, 2)),
        ("01/02/2020", [EUROPE, US], datetime(2020, 2, 1)),
        ("13/02/2020", [US, EUROPE], datetime(2020, 2, 13)),
        ("2020-01-02", ["%Y-%d-%m"], datetime(2020, 2, 1)),
        ("2020-13-02", ["%Y-%d-%m"], datetime(2020, 2, 13)),
        ("1/2/20", [US], None),
        ("1/2/020", [US], None),
        ("1/2/20", ["%m/%d/%y"], datetime(2020, 1, 2)),
        ("31/02/2020", [EUROPE], None),
        ("29/02/2020", [EUROPE], datetime(2020, 2, 29)),
        ("01/03/2020", [EUROPE], datetime(2020, 3, 1)),
        ("1/3/2020", [EUROPE], datetime(2020, 3, 1)),
        ("2020-02-30", [], None),
        ("2020-01-01 10:00:00.25", [], datetime(2020, 1, 1, 10, 0, 0, 250000)),
        ("2020-01-01T10:00:00+02:00", [], datetime(2020, 1, 1, 8)),
        ("2020-01-01 10:00Z", [], datetime(2020, 1, 1, 10)),
        ("01.02.2020 10:00:00.123", ["%d.%m.%Y %H:%M:%S.%f"], datetime(2020, 2, 1, 10, 0, 0, 123000)),
        ("01.02.2020 10:00:00.123 +0200", ["%d.%m.%Y %H:%M:%S.%f %z"], datetime(2020, 2, 1, 8, 0, 0, 123000)),
        ("01.03.2020 10:00 +0200", ["%d.%m.%Y %H:%M %z"], datetime(2020, 3, 1, 8)),
        ("01.03.2020 10:00Z", ["%d.%m.%Y %H:%M%z"], datetime(2020, 3, 1, 10)),
        ("3/1/20 10:00", ["%D %R"], datetime(2020, 3, 1, 10)),
        ("0001-01-01 00:00 +0200", ["%Y-%m-%d %H:%M %z"], None),
        ("2020-W10-7", ["%G-W%V-%u"], datetime(2020, 3, 8)),
        ("060 2020", ["%j %Y"], datetime(2020, 2, 29)),
        ("2020 9 Sun", ["%Y %U %a"], datetime(2020, 3, 1)),
        ("01/03/2020 %Z", ["%d/%m/%Y %%Z"], datetime(2020, 3, 1)),
        ("2020-01-01 00:00:60", ["%Y-%m-%d %H:%M:%S"], None),
        ("11120", ["%d%m%y"], datetime(2020, 1, 11)),
        ("1 Mar 2020 01:05 PM", ["%d %b %Y %I:%M %p"], datetime(2020, 3, 1, 13, 5)),
    ],
)
def test_a_text_is_read_by_the_first_way_that_it_fits(text, formats, time):
    assert read(text, *formats) == time


def test_the_first_text_that_fits_no_way_is_told():
    assert parse_times(pa.array([None, "2020-01-01", "x", "y"]))[1] == "x"
    assert parse_times(pa.array(["2020-01-01", "01/02/2020"]), [US])[1] is None


def test_equal_texts_are_equal_times_wherever_they_stand_in_a_file():
    texts = ["01/02/2020"] * 3 + ["25/12/2020"] + ["01/02/2020"] * 3
    times = parse_times(pa.array(texts), [US, EUROPE])[0].to_pylist()
    assert {*times[:3], *times[4:]} == {datetime(2020, 1, 2)}


LITERALS = ["-", "/", ".", " ", "  ", ":", "T", "W", "%%", "(", "1", "", "Ü", "%%Z"]


@st.composite
def formats_and_times(draw):
    """A format that is taken, and times."""
    date = draw(st.sampled_from(["Ymd", "dmy", "dbY", "dBY", "Yj", "YUa", "YWw", "GVu", "Aymd", "Ym", "Y", ""]))
    hour = draw(st.sampled_from(["", "H", "HM", "HMS", "HMSf", "IMp", "IMSpz", "HMz"]))
    parts = draw(st.permutations([*date])) + draw(st.permutations([*hour]))
    literals = draw(st.lists(st.sampled_from(LITERALS), min_size=len(parts), max_size=len(parts)))
    times = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 30), timezones=st.just(timezone(timedelta(hours=-3))))
    whole = "".join(f"{literal}%{part}" for literal, part in zip(literals, parts, strict=True))
    return whole or "%Y", draw(st.lists(times, min_size=1, max_size=4))


def mangled(text, draw):
    """A text that somebody might have written instead."""
    change = draw(st.sampled_from(["as it is", "without zeros", "short", "spaced", "lower", "another digit"]))
    at = draw(st.integers(0, max(0, len(text) - 1)))
    return {
        "as it is": text, "without zeros": re.sub(r"\b0(\d)\b", r"\1", text), "short": text[:at] + text[at + 1 :],
        "spaced": f"{text[:at]} {text[at:]}", "lower": text.lower(),
        "another digit": text[:at] + draw(st.sampled_from("0123456789")) + text[at + 1 :],
    }[change]  # fmt: skip


def by_python(text, time_format):
    """The time that Python reads, in UTC; None for a text that does not fit."""
    try:
        time = datetime.strptime(text, time_format)
    except ValueError:
        return None
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_texts_are_read_as_python_reads_them(data):
    time_format, times = data.draw(formats_and_times())
    check_time_format("timestamp_formats", time_format)
    texts = [mangled(time.strftime(time_format), data.draw) for time in times]
    in_iso = [parse_times(pa.array([text]))[0][0].as_py() for text in texts]
    expected = [by_python(text, time_format) or iso for text, iso in zip(texts, in_iso, strict=True)]
    assert parse_times(pa.array(texts), [time_format])[0].to_pylist() == expected
