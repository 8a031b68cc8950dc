"""Generated CSV files through the real reader on Spark: every row is read as it was written, or reported."""

import csv
import io
from datetime import datetime

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_provider_distkeras.contract.files.csv_dialect import Dialect
from airflow_provider_distkeras.contract.files.csv_header import inspect
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.ml.data.profiling import ProfileRequest
from airflow_provider_distkeras.ml.data.sources.csv_source import CsvSource

pytestmark = pytest.mark.spark

FILES_AT_ONCE, EXAMPLES = 40, 7
KINDS = {"number": "number", "text": "text", "at": "timestamp", "pair": "array[2]"}

numbers = st.one_of(
    st.none(), st.floats(width=64, allow_nan=False), st.integers(-(10**15), 10**15), st.sampled_from([float("inf"), -0.0, 1e-310])
)
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\x1a")
texts = st.one_of(st.text(characters, max_size=12), st.sampled_from(['"', 'say "hi"', "a,b", "é", "\u2028", "x" * 70_000]))
times = st.one_of(st.none(), st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)).map(lambda time: time.replace(fold=0)))
pairs = st.one_of(st.none(), st.tuples(st.integers(-9, 9), st.floats(-1e6, 1e6)))
broken = st.one_of(
    st.sampled_from(["1", "1,a", "1,a,,,3", "one,a,,", "1,a,soon,", "1,a,,1 x", "1,a,,1 2 3", '1,"a,,', '"1', ",,,,"]),
    st.builds(
        "{},a,,".format, st.text("abcxyz", min_size=1, max_size=5).filter(lambda t: t not in ("", "nan", "inf", "infinity"))
    ),
)


def line_breaks_too(text):
    return st.tuples(text, st.sampled_from(["", "\n", "\r\n", "\n\n"]), text).map("".join)


def line(row):
    out = io.StringIO()
    number, text, at, pair = row
    fields = [number, text, at and at.isoformat(" "), pair and f"{pair[0]} {pair[1]!r}"]
    csv.writer(out).writerow(["" if value is None else value for value in fields])
    return out.getvalue().removesuffix("\r\n")


def row_of(text):
    return st.tuples(st.just(True), st.tuples(numbers, text, times, pairs))


@st.composite
def files(draw, multiline):
    """Some files: their bytes, their rows, and how many lines of each are broken."""
    text = line_breaks_too(texts) if multiline else texts
    # In a file read as a whole, an open quote takes all that follows with it.
    faults = broken.filter(lambda fault: fault.count('"') % 2 == 0) if multiline else broken
    pieces = st.lists(st.one_of(row_of(text), st.tuples(st.just(False), faults)), min_size=1, max_size=8)
    made = []
    for _ in range(FILES_AT_ONCE):
        contents = draw(pieces)
        end, mark = draw(st.sampled_from(["\n", "\r\n"])), draw(st.sampled_from(["", "\ufeff"]))
        lines = ["number,text,at,pair", *(line(what) if good else what for good, what in contents)]
        body = (mark + end.join(lines) + draw(st.sampled_from(["", end]))).encode()
        made.append((body, [what for good, what in contents if good], sum(not good for good, _ in contents)))
    return made


def meant(row):
    """A row as the reader should give it."""
    number, text, at, pair = row
    stripped = text.strip()
    numbers = None if pair is None else [float(value) for value in pair]
    return (_float(number), None if stripped in ("", "nan", "NaN") else stripped, at, numbers)


def _float(number):
    return None if number is None else float(number)


def as_text(row):
    return repr(tuple(None if value is None else value.strip() if isinstance(value, str) else value for value in row))


@pytest.mark.parametrize("multiline", [False, True])
def test_every_row_is_read_as_written_or_reported(spark, tmp_path_factory, multiline):
    @settings(
        max_examples=EXAMPLES, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True
    )
    @given(files(multiline))
    def check(made):
        folder = tmp_path_factory.mktemp("csv")
        for number, (body, _, _) in enumerate(made):
            (folder / f"{number:03}.csv").write_bytes(body)
        dialect = Dialect(multiline=multiline)
        source = CsvSource(inspect(LocalStorage(), [str(folder)], dialect), dialect, kinds=KINDS)
        rows = [tuple(row) for row in source.rows(spark).collect()]
        expected = [meant(row) for _, good, _ in made for row in good]
        assert sorted(map(as_text, rows)) == sorted(map(as_text, expected))
        profile = source.profile(spark, ProfileRequest(tuple(KINDS)))
        assert (profile.rows, profile.bad) == (len(expected), sum(bad for _, _, bad in made))
        records = source.bad_records(spark).collect()
        for number, (_, _, bad) in enumerate(made):
            assert sum(record["file"].endswith(f"{number:03}.csv") for record in records) == bad
        assert all(record["reason"] for record in records)

    check()
