"""Records to typed columns, in this process: which are parsed, which are not, and why."""

import random

import pyarrow as pa
import pytest

from airflow_provider_distkeras.contract.files.csv_dialect import Dialect
from airflow_provider_distkeras.ml.data.sources.csv_parser import CsvParser, infer_kind


def parse(records, kinds, dialect=None, columns=None):
    parser = CsvParser(columns or list(kinds), kinds, dialect or Dialect())
    kind = pa.binary() if isinstance(records[0], bytes) else pa.string()
    batches, bad = parser.parse(pa.array(records, kind))
    rows = [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
    return rows, [(record.position, record.reason) for record in bad]


@pytest.mark.parametrize(
    ("field", "number"),
    [
        ("1", 1.0),
        (" -2.5 ", -2.5),
        ("+3", 3.0),
        ("1e3", 1000.0),
        ("", None),
        (" ", None),
        ("NaN", None),
        ('""', None),
        ('"4"', 4.0),
    ],
)
def test_numbers(field, number):
    assert parse([f"{field},a"], {"x": "number", "y": "text"}) == ([(number, "a")], [])


@pytest.mark.parametrize("field", ["warm", "1d", "0x1", "1_000", "1.2.3", "--1"])
def test_a_field_that_is_not_a_number_is_reported(field):
    rows, bad = parse(["1,a", f"{field},b", "3,c"], {"x": "number", "y": "text"})
    assert rows == [(1.0, "a"), (3.0, "c")]
    assert bad == [(1, f"'x' is '{field}', expected a number")]


def test_booleans_are_numbers():
    assert parse(["true", "False", ""], {"x": "boolean"})[0] == [(1.0,), (0.0,)]


def test_every_bad_record_is_reported_with_its_position():
    lines = ["1,a", "", "2", "3,b,c", '4,"open', '5,"done"', "x,d", '6,say "hi"']
    rows, bad = parse(lines, {"x": "number", "y": "text"})
    assert rows == [(1.0, "a"), (5.0, "done"), (6.0, 'say "hi"')]
    assert [position for position, _ in bad] == [2, 3, 4, 6]
    assert bad[0][1] == "1 fields, expected 2"
    assert bad[2][1].startswith("a quote is not closed on the same line; set multiline=True")


def test_columns_that_are_not_wanted_are_not_looked_at():
    assert parse(["x,1", "y,2"], {"b": "number"}, columns=["a", "b"]) == ([(1.0,), (2.0,)], [])


def test_dialects():
    kinds = {"x": "number", "y": "text"}
    assert parse(["1;'a;''b'"], kinds, Dialect(delimiter=";", quote="'"))[0] == [(1.0, "a;'b")]
    assert parse(['1,"a'], kinds, Dialect(quote=None))[0] == [(1.0, '"a')]
    assert parse(["NA, NA "], kinds, Dialect(null_values=("NA",)))[0] == [(None, None)]
    assert parse([b"1,caf\xe9"], kinds, Dialect(encoding="latin-1"))[0] == [(1.0, "café")]
    assert parse(['1,"a\nb"'], kinds, Dialect(multiline=True))[0] == [(1.0, "a\nb")]


@pytest.mark.parametrize("null", ["-1", "-1.0"])
@pytest.mark.parametrize("field", ["-1", "-1.0", " -1e0 ", '"-1.00"'])
def test_numbers_that_stand_for_a_missing_value_do_so_however_they_are_written(null, field):
    dialect = Dialect(null_values=(null, "NA"))
    assert parse(["1", field, "0", "NA"], {"x": "number"}, dialect)[0] == [(1.0,), (None,), (0.0,), (None,)]
    rows, bad = parse(["1", " true", field, "FALSE", "NA", "0", "", "-2"], {"x": "boolean"}, dialect)
    assert rows == [(1.0,), (1.0,), (None,), (0.0,), (None,), (0.0,)]
    assert bad == [(7, "'x' is '-2', expected true or false, or 1 or 0")]


@pytest.mark.parametrize("element", ["-200", "-200.0", "-2e2", "NA", "nan"])
def test_an_array_with_a_number_that_is_missing_is_missing(element):
    dialect = Dialect(null_values=("-200", "NA"))
    records = ["1 2 3", f"1 {element} 3", "[4 5 6]", "", f"{element} 8 9"]
    rows, bad = parse([f"{record},x" for record in records], {"v": "array[3]", "t": "text"}, dialect)
    assert (rows, bad) == ([([1, 2, 3], "x"), (None, "x"), ([4, 5, 6], "x"), (None, "x"), (None, "x")], [])


def test_bytes_in_another_encoding_are_reported():
    assert parse([b"1,ok", b"2,\xff"], {"x": "number", "y": "text"}) == ([(1.0, "ok")], [(1, "not in the encoding utf-8")])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2.5"], "number"),
        ([None, None], "number"),
        (["1", "2", "3", "4", "?"], "number"),
        (["1", "?"], "text"),
        (["true", "FALSE", None], "boolean"),
        (["2026-03-01", "2026-03-01T12:00:00"], "timestamp"),
        (["winter", "2026-03-01"], "text"),
    ],
)
def test_kinds_are_inferred(values, kind):
    assert infer_kind(pa.array(values, pa.string()), Dialect()) == kind


def test_a_block_of_mostly_bad_records_is_judged_as_each_record_would_be_alone():
    kinds = {"n": "number", "b": "boolean", "t": "timestamp", "a": "array[2]", "s": "text"}
    fields = {
        "n": ["1", " 2.5 ", "", "warm", "1d", "nan", '"3"'],
        "b": ["true", " FALSE", "", "1", "yes"],
        "t": ["2026-03-01", "2026-02-30", "", "01/03/2026"],
        "a": ["1 2", "[1,,2]", "1 2 3", "1 x", ""],
        "s": ["a", " ", '"say ""hi"""', '"open'],
    }
    draw = random.Random(7)
    records = [
        ",".join(f'"{value}"' if "," in value else value for value in map(draw.choice, fields.values())) for _ in range(400)
    ]
    records[50:60] = ["", "1,true", "", "1,2,3,4,5,6,7,8", "", "", "", ",,,,", "", "x"]
    rows, bad = parse(records, kinds)
    alone = [parse([record], kinds) for record in records]
    assert rows == [row for parsed, _ in alone for row in parsed]
    assert bad == [(position, reason) for position, (_, refused) in enumerate(alone) for _, reason in refused]
    assert len(rows) > 5
    assert len(bad) > 200
