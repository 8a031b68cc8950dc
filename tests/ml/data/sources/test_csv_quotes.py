"""Quotes in CSV records that are not written as pyarrow reads them, or that a line break has cut off."""

import pyarrow as pa
import pytest

from airflow_provider_distkeras.contract.files.csv_dialect import Dialect
from airflow_provider_distkeras.ml.data.sources.csv_parser import CsvParser

BACKSLASH = Dialect(escape="\\")
KINDS = {"t": "text", "x": "number"}
CUT_OFF = "a quote is not closed on the same line; set multiline=True if fields hold line breaks"


def parse(*blocks, dialect=None, kinds=None):
    """The rows of some blocks of lines, and the text and the reason of each bad record."""
    kinds = kinds or KINDS
    parser, rows, bad = CsvParser(list(kinds), kinds, dialect or Dialect()), [], []
    for lines in blocks:
        batches, records = parser.parse(pa.array(lines))
        rows += [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
        bad += [(record.text, record.reason) for record in records]
    return rows, bad


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (r'"say \"hi\" now",1', 'say "hi" now'),
        (r'"a\\",1', "a\\"),
        (r'"a\\\"b",1', 'a\\"b'),
        (r'"tab\t, kept",1', r"tab\t, kept"),
        ('"a ""b""",1', 'a "b"'),
        (r"\N,1", None),
        (r'"\N",1', None),
    ],
)
def test_backslashes_escape_quotes_where_the_dialect_says_so(line, text):
    assert parse([line], dialect=BACKSLASH) == ([(text, 1.0)], [])


def test_quotes_that_a_backslash_escapes_are_no_text_without_a_word():
    rows, bad = parse([r'"say \"hi\" now",1', r'"C:\",2', "plain,3", r'"a\""",4'])

    assert rows == [("C:\\", 2.0), ("plain", 3.0), ('a\\"', 4.0)]
    assert bad == [(r'"say \"hi\" now",1', "a \" follows a backslash; set escape='\\\\' if backslashes escape quotes")]


def test_a_null_of_a_database_is_a_missing_value():
    assert parse([r"\N,\N"]) == ([(None, None)], [])


@pytest.mark.parametrize("line", ['a, "x, y"', ' "a","x, y"', '"a",   "x, y"'])
def test_spaces_before_an_opening_quote_are_no_text(line):
    kinds = {"t": "text", "u": "text"}
    assert parse([line], kinds=kinds) == ([("a", "x, y")], [])
    assert parse(['b,"say, ""x"""', line, "c,5"], kinds=kinds)[0] == [("b", 'say, "x"'), ("a", "x, y"), ("c", "5")]


def test_spaces_before_a_quote_that_opens_nothing_stay():
    assert parse(['12 "inches",1', 'say "hi, 2']) == ([('12 "inches"', 1.0), ('say "hi', 2.0)], [])


@pytest.mark.parametrize(
    ("lines", "rows", "bad"),
    [
        (['"one', 'two",4', "three,6"], [("three", 6.0)], ['"one\ntwo",4']),
        (['"one', "middle,5", 'two",4', "three,6"], [("three", 6.0)], ['"one\nmiddle,5\ntwo",4']),
        (['x,1', '"one', 'a ""b"" c,2', 'two",4'], [("x", 1.0)], ['"one\na ""b"" c,2\ntwo",4']),
        (['"one,1', "two,2", "three,3"], [("two", 2.0), ("three", 3.0)], ['"one,1']),
        (['"one,1', "two,2", '"three,3'], [("two", 2.0)], ['"one,1', '"three,3']),
        (['5" pipe,1', 'two,2', '3" pipe,3'], [('5" pipe', 1.0), ("two", 2.0), ('3" pipe', 3.0)], []),
    ],
)  # fmt: skip
def test_no_half_of_a_record_that_a_line_break_cuts_is_a_row(lines, rows, bad):
    assert parse(lines) == (rows, [(text, CUT_OFF) for text in bad])


def test_a_record_may_be_cut_by_the_end_of_a_block_too():
    rows, bad = parse(["a,1", '"one'], ['two",4', "three,6"])

    assert rows == [("a", 1.0), ("three", 6.0)]
    assert bad == [('"one', CUT_OFF), ('two",4', CUT_OFF)]


def test_a_quote_far_above_opens_nothing():
    assert parse(['"one', *["x,1"] * 1001, 'two",4'])[0][-1] == ('two"', 4.0)
