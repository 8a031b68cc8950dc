"""What is said of values that cannot be used as they are: the advice names the column, and does not ruin the others."""

import ast
import re

import pytest

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.ml import process_csv

pytestmark = pytest.mark.spark


GAPS = "a,b,c,label\n1,,3,1\n2,2,,0\n,3,3,1\n4,4,4,\n5,5,5,0\n"


@pytest.mark.parametrize(
    ("content", "options", "advice"),
    [
        ("x,label\n1,1\n2,\n3,3\n", {}, "Set missing={'label': 'drop'}"),
        (GAPS, {"missing": "mean"}, "Set missing={'a': 'mean', 'b': 'mean', 'c': 'mean', 'label': 'drop'}"),
        (GAPS, {"missing": {"a": 0, "b": "indicator", "c": "drop"}}, "missing={'a': 0.0, 'b': 'indicator', 'c': 'drop', 'label': 'drop'}"),
        ("x,w,label\n1,1,1\n2,,3\n3,1,3\n", {"weight_col": "w"}, "Set missing={'w': 'drop'}"),
    ],
)  # fmt: skip
def test_the_advice_about_missing_values_names_the_columns_and_works(spark, write, content, options, advice):
    with pytest.raises(DataError) as error:
        process_csv(write(content), **options)
    assert advice in str(error.value)
    assert "missing='drop'" not in str(error.value)
    policies = ast.literal_eval(str(error.value).split("Set missing=")[1].split("}")[0] + "}")
    assert process_csv(write(content), **{**options, "missing": policies}).count() > 1


def test_dropped_rows_are_told_with_the_columns_that_caused_it(spark, write, caplog):
    assert process_csv(write(GAPS), missing="drop").count() == 1
    assert (
        "4 of 5 rows are dropped, for they lack a value: 'a' (1 rows), 'b' (1 rows), 'c' (1 rows), 'label' (1 rows)."
        in caplog.text
    )
    with pytest.raises(DataError, match=r"No row is left: all 2 lack .*: 'a' \(1 rows\), 'label' \(2 rows\)\. .*missing="):
        process_csv(write("a,label\n1,\n,\n"), missing="drop", schema={"label": "number"})


@pytest.mark.parametrize("text", ["NA", "n/a", "NULL", "None", "-", "?", "missing", "#N/A"])
@pytest.mark.parametrize("others", [1, 9])
def test_a_text_that_stands_for_nothing_is_one_of_null_values(spark, write, text, others):
    """Whether the column is taken for text or, as most values are numbers, its line for one that does not fit."""
    content = "x,label\n1,1\n" + f"{text},2\n" + "3,3\n" * others
    with pytest.raises(DataError) as error:
        process_csv(write(content))
    assert f"null_values=['{text}']" in str(error.value)
    assert "categorical_columns" not in str(error.value)
    assert process_csv(write(content), null_values=[text], missing="mean").count() == 2 + others


def test_a_number_with_two_readings_is_told_with_both(spark, write):
    with pytest.raises(DataError, match=r"'x' holds text such as '\$5'") as error:
        process_csv(write("x,label\n$5,1\n$1.600,2\n"))
    assert "Set number_formats={'x': 'currency'} or number_formats={'x': 'currency'}, decimal=','" in str(error.value)


def test_numbers_that_no_option_reads_are_to_be_written_as_numbers(spark, write):
    with pytest.raises(DataError, match=r"'label' holds text such as '\$1'.* Write the numbers alone"):
        process_csv(write("x,label\n5,$1\n6,12 %\n"))


@pytest.mark.parametrize(
    ("value", "advice"),
    [("inf", r"such as null_values=\['inf'\]"), ("-Infinity", r"null_values=\['-inf'\]"), ("1e39", r"null_values=\['1e\+39'\]")],
)
def test_what_float32_cannot_hold_is_named(spark, write, value, advice):
    content = f"x,label\n1,1\n{value},2\n3,3\n"
    with pytest.raises(DataError, match=rf"Infinite values in 'x' \(1 rows\), .*{advice}") as error:
        process_csv(write(content))
    nulls = str(error.value).split("null_values=['")[1].split("']")[0]
    assert process_csv(write(content), null_values=[nulls], missing="mean").count() == 3


@pytest.mark.parametrize("null", ["-200", "-200.0", "-2e2"])
def test_null_values_of_numbers_are_compared_as_numbers(spark, write, null):
    data = process_csv(write("x,label\n1,1\n-200,2\n-200.0,3\n 3 ,4\n"), null_values=[null], missing="mean")
    assert [row.features[0] for row in data.orderBy("label").collect()] == [1, 2, 2, 3]
    texts = process_csv(
        write("x,label\n1,1\n-200,2\n-200.0,3\n"), null_values=["-200"], categorical_columns=["x"], missing="mean"
    )
    assert [row.x for row in texts.orderBy("label").collect()] == ["1", None, "-200.0"]


IDS = "id,label\n" + "".join(f"{16_777_216 + number},{number % 2}\n" for number in range(6))


@pytest.mark.parametrize("content", [IDS, "id,label\n16777217,1\n16777216,2\n16777218,3\n"])
def test_features_that_float32_makes_equal_are_refused(spark, write, content):
    message = r"'id' holds whole numbers that are one number in float32, such as 167772\d\d and 167772\d\d: .*excluded_columns"
    with pytest.raises(DataError, match=message):
        process_csv(write(content))


def test_so_are_those_in_arrays(spark, write):
    with pytest.raises(DataError, match=r"'x' holds whole numbers .*: the network could not tell them apart"):
        process_csv(write("x,label\n1 16777217,1\n3 16777216,2\n"), schema={"x": "array[2]"})


def test_a_single_row_holds_no_such_numbers(spark, write, caplog):
    process_csv(write("x,label\n1.5,1\n"), scaling="quantile")
    assert "float32" not in caplog.text


@pytest.mark.parametrize(
    ("content", "options", "advice"),
    [
        ("x,label\n1,16777216\n1,16777217\n", {}, "'label' .*: .* write the label from another zero"),
        ("x,w,label\n1,16777216,1\n1,16777217,1\n", {"weight_col": "w"}, "'w' .*: .* write smaller weights"),
    ],
    ids=["label", "weight"],
)
def test_labels_and_weights_of_that_kind_are_told(spark, write, caplog, content, options, advice):
    process_csv(write(content), **options)
    assert re.search(advice.replace(".*:", "holds whole numbers that are one number in float32, such as .*:"), caplog.text)


def test_they_are_found_across_files(spark, write, tmp_path):
    for number in range(2):
        write(f"id,label\n{16_777_216 + number},1\n", f"{number}.csv")
    with pytest.raises(DataError, match="such as 16777216 and 16777217"):
        process_csv(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (IDS, {"scaling": "standard"}),
        (IDS, {"categorical_columns": ["id"]}),
        ("x,label\n" + "".join(f"{20_000_001 * number},1\n" for number in range(9)), {}),
        ("x,label\n" + "20000001,1\n" * 9, {}),
    ],
    ids=["scaled", "categories", "far apart", "the same"],
)
def test_numbers_that_stay_apart_are_not_told(spark, write, caplog, content, options):
    process_csv(write(content), **options)
    assert "float32" not in caplog.text
