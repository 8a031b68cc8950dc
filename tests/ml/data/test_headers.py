"""A first line that may be a header or a row: which it is taken for, and what is said where it may be the other."""

import pytest

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.ml import process_csv

pytestmark = pytest.mark.spark

TEXTS = {"label_col": "yes", "categorical_columns": ["a", "yes"]}
DAYS = {"timestamp_columns": {"01-Mar-2026": ["month"]}, "timestamp_formats": ["%d-%b-%Y"]}


def lines(first, *rows):
    return "\n".join([first, *rows * 5]) + "\n"


@pytest.mark.parametrize(
    ("name", "value", "options"),
    [
        *[(name, "5", {"null_values": ["?", "NA", "null", "-"]}) for name in ("?", r"\N", "NA", "nan", "inf", "null", "-")],
        ("01-Mar-2026", "02-Mar-2026", DAYS),
        ("0 17 255", "1 2 3", {"schema": {"0 17 255": "array[3]"}}),
    ],
)
@pytest.mark.parametrize("others", ["a,yes", "c,yes"])
def test_a_line_that_fits_as_a_row_is_refused(spark, write, name, value, options, others):
    """Whether its texts are values of their columns, or new ones."""
    texts = {"label_col": "yes", "categorical_columns": others.split(",")}
    path = write(lines(f"{name},{others}", f"{value},a,yes", f"{value},b,no"))
    with pytest.raises(DataError) as error:
        process_csv(path, **texts, **options)
    assert f"fits as a row, too: {name!r} is a value, or stands for a missing one, in a column of kind" in str(error.value)
    assert "set header=False" in str(error.value)
    assert "set header=True" in str(error.value)


@pytest.mark.parametrize(("header", "rows"), [(True, 10), (False, 11)])
def test_the_options_that_are_named_read_it(spark, write, header, rows):
    columns = TEXTS if header else {"label_col": "2", "categorical_columns": ["1", "2"]}
    path = write(lines("?,a,yes", "5,a,yes", "5,b,no"))
    assert process_csv(path, header=header, null_values=["?"], missing="mean", **columns).count() == rows


@pytest.mark.parametrize(
    ("first", "options"),
    [
        ("x,a,yes", {}),
        ("when,a,yes", {"timestamp_columns": {"when": ["month"]}, "timestamp_formats": ["%Y"]}),
    ],
)
def test_a_name_that_is_no_value_of_its_column_makes_a_header(spark, write, first, options):
    assert process_csv(write(lines(first, "2020,a,yes", "2021,b,no")), **TEXTS, **options).count() == 10


def test_one_name_that_is_no_value_is_enough_beside_those_of_missing_values(spark, write):
    assert process_csv(write("nan,inf,label\n1,2,3\n4,5,6\n")).count() == 2


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (lines("x,y", "1,2"), {}),
        ("x,y\n1,2\n3,4\n", {}),
        ("when,y\n2026-03-01,2\n2026-03-02,4\n", {}),
        (lines("when,y", "2026-03-01,2"), {"timestamp_columns": {"0": ["month"]}}),
        (lines("x,y", "true,2", "false,1"), {"schema": {"0": "boolean"}}),
    ],
    ids=["bad line", "text", "times", "bad time", "bad truth"],
)
def test_a_header_that_is_read_as_a_row_is_seen(spark, write, content, options):
    with pytest.raises(DataError, match=r"The first line looks like a header: leave header=False out, or set header=True\.$"):
        process_csv(write(content), header=False, label_col="1", **options)


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ("?,2\n1,2\n3,4\n", r"set null_values=\['\?'\]"),
        ("setosa,2\nvirginica,4\n", "Add it to categorical_columns"),
        (lines("1,2", "1,2") + "x,y\n", "Correct them, or set bad_lines"),
    ],
)
def test_a_row_that_is_none_is_not_taken_for_a_header(spark, write, content, advice):
    with pytest.raises(DataError, match=advice) as error:
        process_csv(write(content), header=False, label_col="1")
    assert "looks like a header" not in str(error.value)
