"""Lines of CSV files that are no rows: preambles, comments and footers, read as pandas reads them."""

import gzip
import io

import pandas as pd
import pytest

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.ml import process_csv

pytestmark = pytest.mark.spark

ROWS = "1,2.5\n3,4\n1,7\n"
PREAMBLE = 'Source,"World, Development"\n\nUpdated 2026-03-01\n'


def read(path, **options):
    return sorted((float(row["features"][0]), row["label"]) for row in process_csv(str(path), **options).collect())


def by_pandas(content, **options):
    frame = pd.read_csv(io.StringIO(content), engine="python", **options)
    return sorted(frame.itertuples(index=False, name=None))


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize(
    ("content", "options", "pandas"),
    [
        (f"{PREAMBLE}x,label\n{ROWS}", {"skip_lines": 3}, {"skiprows": 3}),
        (f"1,2.5\nx,label\n{ROWS}", {"skip_lines": 1}, {"skiprows": 1}),  # the line above is the same as a row
        (f"# of 2026\nx,label\n# one\n{ROWS}  # end\n", {"comment": "#"}, {"comment": "#"}),
        (f"x,label\n{ROWS}Total,8\nSource: us\n\n", {"skip_footer": 2}, {"skipfooter": 2}),
        (f"a\n//b\nx,label\n{ROWS}End,1", {"skip_lines": 1, "comment": "//", "skip_footer": 1}, {"skiprows": 2, "skipfooter": 1}),
        (f"a,b\n{ROWS}", {"skip_lines": 1, "header": False, "columns_renamed": {"0": "x", "1": "label"}},
         {"skiprows": 1, "header": None}),
    ],
)  # fmt: skip
def test_such_lines_are_no_rows(spark, tmp_path, content, options, pandas, start, ending):
    path, written = tmp_path / f"x{ending}", (start + content).encode()
    path.write_bytes(gzip.compress(written) if ending.endswith(".gz") else written)
    assert read(path, **options) == by_pandas(content.removesuffix("\n"), **pandas)


def test_they_are_found_in_utf_16_and_where_fields_hold_line_breaks(spark, tmp_path):
    content = 'Of 2026\nname,x,label\n"a\nb",1,2\n# none\nc,3,4\nEnd\n'
    options = {"skip_lines": 1, "comment": "#", "skip_footer": 1, "multiline": True, "excluded_columns": ["name"]}
    (tmp_path / "wide.csv").write_text(content, encoding="utf-16")
    (tmp_path / "narrow.csv").write_text(content)
    assert read(tmp_path / "wide.csv", encoding="utf-16", **options) == [(1, 2), (3, 4)]
    assert read(tmp_path / "narrow.csv", **options) == [(1, 2), (3, 4)]


def test_files_may_have_other_lines_above_and_end_within_a_block(spark, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text(f"File {number}\nx,label\n{number},1\nSum,{number}\n")
    assert read(tmp_path, skip_lines=1, skip_footer=1) == [(0, 1), (1, 1), (2, 1)]


def test_a_preamble_that_is_not_named_is_told_with_the_number_of_its_lines(spark, tmp_path):
    (tmp_path / "x.csv").write_text(f"Source: us\nUpdated 2026-03-01\nx,label\n{ROWS}")
    with pytest.raises(DataError, match=r"If that one names the columns, set skip_lines .* it: 2 "):
        process_csv(str(tmp_path / "x.csv"))
    assert len(read(tmp_path / "x.csv", skip_lines=2)) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skip_lines": -1}, "skip_lines: expected an integer of at least 0"),
        ({"skip_footer": "two"}, "skip_footer: expected an integer"),
        ({"comment": " #"}, "comment: expected ASCII characters without spaces around them"),
        ({"skip_lines": 9}, "holds nothing but the first 9 lines, which skip_lines leaves out"),
        ({"skip_footer": 3}, "hold only a header"),
    ],
)
def test_what_cannot_be_is_refused(spark, write, options, message):
    with pytest.raises((SpecError, DataError), match=message):
        process_csv(write(f"x,label\n{ROWS}"), **options)
