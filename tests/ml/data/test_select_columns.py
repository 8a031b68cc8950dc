"""Raw columns of many types, as a pipeline takes them."""

from datetime import date, datetime

import numpy as np
import pytest
from pyspark.ml.linalg import Vectors

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.csv_dialect import Dialect
from airflow_provider_distkeras.ml.data.select_columns import SelectColumns

pytestmark = pytest.mark.spark


def selected(spark, value, kind, ddl, **params):
    data = spark.createDataFrame([(value,)], f"a {ddl}")
    return SelectColumns(kinds={"a": kind}, **params).transform(data).first()["a"]


@pytest.mark.parametrize(
    ("value", "kind", "ddl", "expected"),
    [
        ("1.5", "number", "string", 1.5),
        ("TRUE", "boolean", "string", 1.0),
        ("warm", "number", "string", None),
        (3, "number", "int", 3.0),
        (True, "boolean", "boolean", 1.0),
        (7, "text", "int", "7"),
        (7.0, "text", "double", "7"),
        (7.5, "text", "double", "7.5"),
        (float("nan"), "text", "double", None),
        (date(2026, 3, 1), "timestamp", "date", datetime(2026, 3, 1)),
        (datetime(2026, 3, 1, 12), "timestamp", "timestamp_ntz", datetime(2026, 3, 1, 12)),
        ("2026-03-01T12:00:00+02:00", "timestamp", "string", datetime(2026, 3, 1, 10)),
        ("2026-03-01 12:00", "timestamp", "string", datetime(2026, 3, 1, 12)),
        ("soon", "timestamp", "string", None),
        ([1.0, 2.0], "array[2]", "array<float>", Vectors.dense(1, 2)),
        ("[1, 2.5]", "array[2]", "string", Vectors.dense(1, 2.5)),
        ("1 2", "array[3]", "string", None),
        ("1 x", "array[2]", "string", None),
        (None, "array[2]", "string", None),
    ],
)
def test_values_of_other_types_have_the_same_meaning(spark, value, kind, ddl, expected):
    assert selected(spark, value, kind, ddl) == expected


@pytest.mark.parametrize(
    ("value", "kind", "ddl", "expected"),
    [
        (-1.0, "boolean", "double", None),
        ("-1.0", "boolean", "string", None),
        ("true", "boolean", "string", 1.0),
        ([1.0, -1.0], "array[2]", "array<double>", None),
        ([1, 2], "array[2]", "array<int>", Vectors.dense(1, 2)),
        ("[1, -1.0]", "array[2]", "string", None),
        ([1.0, float("nan")], "array[2]", "array<float>", None),
    ],
)
def test_numbers_that_stand_for_a_missing_value_do_so_in_columns_of_all_types(spark, value, kind, ddl, expected):
    assert selected(spark, value, kind, ddl, dialect=Dialect(null_values=("-1",)).to_dict()) == expected


def test_vectors_are_looked_through_for_missing_values_too(spark):
    vectors = [(Vectors.dense(1, 2),), (Vectors.sparse(2, [1], [-1.0]),), (Vectors.dense(1, float("nan")),)]
    stage = SelectColumns(kinds={"a": "array[2]"}, dialect=Dialect(null_values=("-1",)).to_dict())
    rows = stage.transform(spark.createDataFrame(vectors, ["a"])).collect()
    assert [row.a for row in rows] == [Vectors.dense(1, 2), None, None]


def test_times_in_text_are_read_by_the_formats_first(spark):
    texts = ["25/12/2020", "03/04/2020", "2020-03-04", "4.3.2020", None]
    stage = SelectColumns(kinds={"a": "timestamp"}, dialect=Dialect(timestamp_formats=("%d/%m/%Y",)).to_dict())
    rows = stage.transform(spark.createDataFrame([(text,) for text in texts], "a string")).collect()
    assert [row.a for row in rows] == [datetime(2020, 12, 25), datetime(2020, 4, 3), datetime(2020, 3, 4), None, None]


def test_instants_are_in_utc_whatever_the_sessions_zone(spark):
    data = spark.sql("SELECT timestamp'2026-03-01T12:00:00Z' AS a")
    zone = spark.conf.get("spark.sql.session.timeZone")
    try:
        spark.conf.set("spark.sql.session.timeZone", "America/New_York")
        assert SelectColumns(kinds={"a": "timestamp"}).transform(data).first()["a"] == datetime(2026, 3, 1, 12)
    finally:
        spark.conf.set("spark.sql.session.timeZone", zone)


@pytest.mark.parametrize(
    ("value", "kind", "ddl", "message"),
    [
        ([1.0], "number", "array<double>", "expected number, received array<double>"),
        (5, "timestamp", "int", "expected timestamp, received int"),
        (b"x", "text", "binary", "expected text, received binary"),
        (1.0, "array[2]", "double", r"expected array\[2\], received double"),
    ],
)
def test_a_changed_type_is_refused_with_what_was_expected(spark, value, kind, ddl, message):
    with pytest.raises(DataError, match=f"The column 'a' has another type than the pipeline was fitted with: {message}"):
        selected(spark, value, kind, ddl)


def test_constants_stand_for_missing_values(spark):
    assert selected(spark, None, "text", "string", missing={"a": "none"}) == "none"
    assert selected(spark, float("nan"), "number", "double", missing={"a": -1.0}) == -1.0


def test_it_is_saved_with_its_params(spark, tmp_path):
    stage = SelectColumns(kinds={"a": "array[2]"}, missing={"a": "drop"}, unseen="quarantine")
    stage.write().save(str(tmp_path / "stage"))
    loaded = SelectColumns.load(str(tmp_path / "stage"))
    assert loaded.with_policy("drop") == ["a"]
    assert loaded.getOrDefault("unseen") == "quarantine"
    assert loaded.for_scoring(Dialect()).with_policy("fail") == ["a"]
    data = spark.createDataFrame([("1 2",), (None,)], "a string")
    np.testing.assert_array_equal([row.a.toArray() for row in loaded.transform(data).collect()], [[1, 2]])


def test_a_name_may_move_on_to_another_column(spark):
    data = spark.createDataFrame([(1.0, 2.0)], "a double, b double")
    swapped = SelectColumns(kinds={"a": "number", "c": "number"}, renamed={"a": "c", "b": "a"}).transform(data)
    assert swapped.select("a", "c").first().asDict() == {"a": 2.0, "c": 1.0}
