"""Times written as text: each is read by the first way that it fits, whatever its neighbours are."""

from datetime import datetime

import pyarrow as pa
import pytest

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
