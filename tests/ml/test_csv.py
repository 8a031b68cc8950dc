"""CSV files through the real reader and Spark ML's stages."""

import math

import numpy as np
import pytest

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.ml import process_csv

pytestmark = pytest.mark.spark

HEADER = "id,temp,season,cnt\n"
BIKES = HEADER + "1,0.5,winter,10\n2,1.5,summer,30\n3,2.5,winter,20\n4,3.5,autumn,40\n"
USUAL = {"columns_renamed": [("cnt", "label")], "excluded_columns": ["id"], "categorical_columns": ["season"]}


@pytest.fixture
def write(tmp_path):
    def write_csv(content=BIKES, name="a.csv"):
        path = tmp_path / name
        path.write_text(content)
        return str(path)

    return write_csv


def rows(data):
    """Features and label per row, by label."""
    return {row.label: row.features.toArray().tolist() for row in data.collect()}


def test_columns_are_assembled_in_file_order_and_categories_one_hot_in_alphabetical_order(spark, write):
    data = process_csv(write(), **USUAL)
    assert data.columns == ["temp", "season", "features", "label"]
    assert rows(data) == {10: [0.5, 0, 0, 1], 30: [1.5, 0, 1, 0], 20: [2.5, 0, 0, 1], 40: [3.5, 1, 0, 0]}
    assert dict(data.dtypes)["label"] == "double"


def test_the_articles_call_works_on_many_files_and_gives_the_partitions_asked_for(spark, write, tmp_path):
    write(HEADER + "1,0.5,1,10\n", "1.csv")
    write("cnt,season,temp,id\n30,2,1.5,2\n", "2.csv")
    data = process_csv(f"{tmp_path}/*.csv", [("cnt", "label")], ["id"], 4)
    assert rows(data) == {10: [0.5, 1], 30: [1.5, 2]}
    assert data.rdd.getNumPartitions() == 4


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        (None, [0.5, 1.5, 2.5, 3.5]),
        ("minmax", [0, 1 / 3, 2 / 3, 1]),
        ("standard", np.array([-1.5, -0.5, 0.5, 1.5]) / math.sqrt(5 / 3)),
    ],
)
def test_scaling(spark, write, scaling, expected):
    data = process_csv(write(), [("cnt", "label")], ["id", "season"], scaling=scaling)
    found = rows(data)
    np.testing.assert_allclose([found[label][0] for label in (10, 30, 20, 40)], expected)


def test_missing_numbers_are_filled_with_the_mean_and_missing_categories_are_all_zeros(spark, write):
    data = process_csv(write(BIKES + "5,,,50\n"), missing="mean", **USUAL)
    assert rows(data)[50] == [2.0, 0, 0, 0]


def test_rows_with_missing_values_are_dropped_on_request(spark, write):
    data = process_csv(write(BIKES + "5,,winter,50\n6,1,,60\n7,1,winter,\n"), missing="drop", **USUAL)
    assert sorted(rows(data)) == [10, 20, 30, 40]


def test_a_categorical_label_becomes_class_numbers(spark, write):
    data = process_csv(write(), label_col="season", excluded_columns=["id"], categorical_columns=["season"])
    assert sorted((row.temp, row.season) for row in data.collect()) == [(0.5, 2), (1.5, 1), (2.5, 2), (3.5, 0)]


def test_truth_values_are_numbers(spark, write):
    data = process_csv(write("open,cnt\ntrue,1\nFalse,2\n"), [("cnt", "label")])
    assert rows(data) == {1: [1.0], 2: [0.0]}


def test_a_doubled_quote_stands_for_one(spark, write):
    data = process_csv(write('season,cnt\n"so ""hot"", so dry",1\ncold,2\n'), [("cnt", "label")], categorical_columns=["season"])
    assert {row.season for row in data.collect()} == {'so "hot", so dry', "cold"}


def test_quotes_spaces_and_another_delimiter_are_understood(spark, write):
    text = 'id; temp ;"season";cnt\n1; 0.5 ;"winter; cold";10\n2;1.5;"dry";20\n'
    assert rows(process_csv(write(text), delimiter=";", **USUAL)) == {10: [0.5, 0, 1], 20: [1.5, 1, 0]}


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            BIKES,
            {"categorical_columns": []},
            "The column 'season' holds text such as 'winter' in 4 rows; expected numbers. Add it to categ",
        ),
        (
            "day,cnt\n2026-03-01,1\n",
            {"excluded_columns": [], "categorical_columns": []},
            "The column 'day' holds text such as '2026-03-01'",
        ),
        (BIKES + "5,warm,winter,50\n", {}, "The column 'temp' holds text such as 'warm' in 1 rows; expected numbers."),
        (
            BIKES + "5,1.5,winter,many\n",
            {},
            "The label column 'label' holds text such as 'many' in 1 rows; expected numbers. For classes,",
        ),
        (BIKES + "5,,winter,50\n6,NaN,,60\n", {}, "Missing values in 'temp' (2 rows), 'season' (1 rows). Set missing='mean'"),
        (BIKES + "5,1,winter,\n", {"missing": "mean"}, "The label 'label' is missing in 1 rows."),
        (BIKES + "5,Infinity,winter,50\n", {}, "Infinite values in 'temp' (1 rows)"),
        (BIKES + "5,1.5,winter\n", {}, "1 of 5 lines do not fit the 4 columns, such as '5,1.5,winter'"),
        (BIKES + "5,1.5,winter,50,60\n", {}, "1 of 5 lines do not fit the 4 columns, such as '5,1.5,winter,50,60'"),
        (HEADER + "1,,winter,10\n", {}, "The column 'temp' has no value in any row."),
        (HEADER + "1,1,,10\n", {"missing": "mean"}, "The column 'season' has no value in any row."),
        (HEADER, {}, "hold only a header"),
        ("", {}, "is empty: expected a header line and rows"),
    ],
)
def test_bad_files_are_refused_with_the_fix(spark, write, content, options, message):
    with pytest.raises(DataError) as error:
        process_csv(write(content), **{**USUAL, **options})
    assert message in str(error.value)


def test_no_file_matches(spark, tmp_path):
    with pytest.raises(DataError, match=r"No file matches '.*/\*\.csv'"):
        process_csv(f"{tmp_path}/*.csv")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"excluded_columns": "id"}, "excluded_columns: expected a list, received 'id' (str)."),
        (
            {"columns_renamed": ["cnt"]},
            "columns_renamed: expected pairs such as [('cnt', 'label')], or a dict, received ['cnt'].",
        ),
    ],
)
def test_arguments_of_a_wrong_shape_are_refused(spark, write, said, message):
    with pytest.raises(SpecError) as error:
        process_csv(write(), **said)
    assert str(error.value) == message


def test_an_option_that_does_not_exist_is_refused(spark, write):
    with pytest.raises(SpecError, match="Did you mean 'scaling'"):
        process_csv(write(), scalin="standard")
