"""CSV files through the real reader and Spark ML's stages."""

import bz2
import gzip
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyspark.ml.feature import MinMaxScaler, StandardScaler

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.ml import process_csv

pytestmark = pytest.mark.spark

HEADER = "id,temp,season,cnt\n"
BIKES = HEADER + "1,0.5,winter,10\n2,1.5,summer,30\n3,2.5,winter,20\n4,3.5,autumn,40\n"
USUAL = {"columns_renamed": [("cnt", "label")], "excluded_columns": ["id"], "categorical_columns": ["season"]}


@pytest.fixture
def write(write):
    """As the fixture of all tests, with rows of bikes unless others are given."""
    return lambda content=BIKES, name="a.csv": write(content, name)


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
    result = rows(data)
    np.testing.assert_allclose([result[label][0] for label in (10, 30, 20, 40)], expected)


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
            "The column 'season' holds text such as 'winter'; expected numbers. Add it to categ",
        ),
        (
            "x,cnt\n1,1\n2,2\n#DIV/0!,3\n",
            {"excluded_columns": [], "categorical_columns": []},
            "The column 'x' holds text such as '#DIV/0!'; expected numbers. If they stand for missing values, set null_values=",
        ),
        (
            "day,cnt\n2026-03-01,1\n",
            {"excluded_columns": [], "categorical_columns": []},
            "The column 'day' holds times such as '2026-03-01'. Add it to timestamp_columns={'day': ",
        ),
        (BIKES + "5,warm,winter,50\n", {}, "a.csv, '5,warm,winter,50': 'temp' is 'warm', expected a number. Correct"),
        (
            BIKES + "5,1.5,winter,many\n",
            {},
            "1 of 5 lines do not fit, such as line 6 of ",
        ),
        (BIKES + "5,,winter,50\n6,NaN,,60\n", {}, "Missing values in 'temp' (2 rows), 'season' (1 rows). Set missing='mean'"),
        (BIKES + "5,1,winter,\n", {"missing": "mean"}, "The label 'label' is missing in 1 rows."),
        (BIKES + "5,Infinity,winter,50\n", {}, "Infinite values in 'temp' (1 rows)"),
        (BIKES + "5,1.5,winter\n", {}, "'5,1.5,winter': 3 fields, expected 4. Correct them, or set bad_lines="),
        (BIKES + "5,1.5,winter,50,60\n", {}, "'5,1.5,winter,50,60': 5 fields, expected 4."),
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


def test_a_path_may_be_a_path_and_a_number_a_text(spark, write):
    data = process_csv(Path(write()), [("cnt", "label")], ["id"], "3", categorical_columns=["season"])
    assert (data.count(), data.rdd.getNumPartitions()) == (4, 3)


def test_an_error_in_all_lines_has_a_fix_of_its_own(spark, write, tmp_path):
    with pytest.raises(DataError, match=r"4 of 4 lines do not fit.* check schema, timestamp_columns and the delimiter"):
        process_csv(write(), **{**USUAL, "categorical_columns": []}, schema={"season": "number"})
    (tmp_path / "latin.csv").write_bytes(BIKES.replace("winter", "été").encode("cp1252"))
    with pytest.raises(
        DataError, match=r"not in the encoding utf-8\. Set encoding to what they are written in, such as 'cp1252'"
    ):
        process_csv(str(tmp_path / "latin.csv"), **USUAL)


def test_categories_of_columns_with_more_and_with_fewer_of_them(spark, write):
    text = "color,size,shape,cnt\n" + "".join(f"c{i % 3},{'sl'[i % 2]},{i % 5},{i}\n" for i in range(30))
    result = rows(process_csv(write(text), [("cnt", "label")], categorical_columns=["color", "size", "shape"]))
    assert result[7] == [0, 1, 0, 1, 0, 0, 0, 1, 0, 0]
    assert result[29] == [0, 0, 1, 1, 0, 0, 0, 0, 0, 1]


def test_days_that_no_month_has_and_days_far_away(spark, write):
    text = "day,cnt\n{},1\n28/02/2026,2\n"
    options = {"columns_renamed": [("cnt", "label")], "timestamp_formats": ["%d/%m/%Y"], "timestamp_columns": {"day": ["year"]}}
    with pytest.raises(DataError, match=r"'day' is '31/02/2026', expected a date .* or one written as '%d/%m/%Y'"):
        process_csv(write(text.format("31/02/2026")), **options)
    assert rows(process_csv(write(text.format("31/12/9999")), **options)) == {1: [9999], 2: [2026]}


def test_numbers_too_large_for_a_feature_are_refused(spark, write):
    with pytest.raises(DataError, match=r"Infinite values in 'a' \(1 rows\), or such that float32 cannot hold them"):
        process_csv(write("a,label\n1e39,1\n2,2\n"))
    assert rows(process_csv(write("a,label\n1e38,1\ninf,2\n"), null_values=["inf"], missing={"a": 3.0}))[2] == [3]


def test_a_repeated_header_does_not_count_for_the_types_of_columns(spark, write):
    assert sorted(rows(process_csv(write("a,label\n1,2\na,label\n3,4\n")))) == [2, 4]


def test_repeated_headers_are_counted_and_told(spark, write, tmp_path, caplog):
    write("a,label\n1,2\n" + 'a, "label"\n3,4\n' * 3)
    write("a,label\n5,6\n", "b.csv")
    assert process_csv(str(tmp_path)).count() == 5
    assert "3 lines repeat the header and are no rows." in caplog.text


TEXTS = {"label_col": "small", "categorical_columns": ["red", "small"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "red,small\nblue,large\nred,large\nred,small\n",
            "The first line names a column 'red', which holds 'red' as a value, too, in 1 rows. If the file has no header, set "
            "header=False",
        ),
        (
            "red,small\n" + "blue,large\nred,small\n" * 2,
            "2 of 4 lines are the same as the first one, which was taken for the header. If the file has no header, set header=False",
        ),
    ],
)
def test_a_first_line_that_is_more_likely_a_row_is_refused(spark, write, content, message):
    with pytest.raises(DataError) as error:
        process_csv(write(content), **TEXTS)
    assert message in str(error.value)
    assert process_csv(write(content), header=True, **TEXTS).count() == 2
    without = {"label_col": "1", "categorical_columns": ["0", "1"], "header": False}
    assert process_csv(write(content), **without).count() == content.count("\n")


def test_a_name_may_be_a_value_of_its_column_where_another_column_holds_numbers(spark, write):
    data = process_csv(write("red,label\nred,1\nblue,2\n"), categorical_columns=["red"])
    assert rows(data) == {1: [0, 1], 2: [1, 0]}


def test_texts_of_joined_files_may_repeat_their_header(spark, write, caplog):
    content = "red,small\n" + "blue,large\ngreen,small size\n" * 50
    assert process_csv(write(content * 2), **TEXTS).count() == 200
    assert "1 lines repeat the header" in caplog.text


def test_no_file_matches(spark, tmp_path):
    with pytest.raises(DataError, match=r"No file matches '.*/\*\.csv'"):
        process_csv(f"{tmp_path}/*.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"excluded_columns": "id"}, "excluded_columns: expected a list, received 'id' (str)."),
        (
            {"compare_with": "file:///earlier"},
            "compare_with: process_csv writes no manifest to report the drift in; use DistKerasPreprocessOperator.",
        ),
        (
            {"columns_renamed": ["cnt"]},
            "columns_renamed: expected pairs such as [('cnt', 'label')], or a dict, received ['cnt'].",
        ),
        (
            {"columns_renamed": [("cnt", "label"), ("cnt", "y")]},
            "columns_renamed: a column has two new names in [('cnt', 'label'), ('cnt', 'y')]; leave one of them out.",
        ),
    ],
)
def test_arguments_of_a_wrong_shape_are_refused(spark, write, options, message):
    with pytest.raises(SpecError) as error:
        process_csv(write(), **options)
    assert str(error.value) == message


def test_an_option_that_does_not_exist_is_refused(spark, write):
    with pytest.raises(SpecError, match="Did you mean 'scaling'"):
        process_csv(write(), scalin="standard")


def test_missing_values_by_column(spark, write):
    text = "a,b,c,d,kind,cnt\n1,,5,,x,1\n,4,,2,,2\n3,6,7,4,y,3\n5,8,9,6,x,4\n"
    policies = {"a": "mean", "b": "median", "c": "indicator", "d": -1, "kind": "mean"}
    data = process_csv(write(text), [("cnt", "label")], categorical_columns=["kind"], missing=policies)
    result = rows(data)
    assert result[1] == [1, 6, 5, 0, -1, 1, 0]
    assert result[2] == [3, 4, 7, 1, 2, 0, 0]


def test_stages_fitted_from_the_profile_are_those_that_spark_would_fit_on_the_rows(spark, write):
    """Scaled: a number with gaps, one without, a truth value and a category."""
    random = np.random.default_rng(0)
    lines = [
        f"{a:.4f},{b:.4f},{c},{kind},{a + b:.4f}"
        for a, b, c, kind in zip(
            random.lognormal(size=500),
            random.normal(5, 2, 500),
            random.choice(["true", "false"], 500),
            random.choice([*"xyz"], 500),
            strict=True,
        )
    ]
    lines[::7] = ["," + line.split(",", 1)[1] for line in lines[::7]]
    path = write("a,b,c,kind,cnt\n" + "\n".join(lines) + "\n")
    usual = {"columns_renamed": [("cnt", "label")], "categorical_columns": ["kind"], "missing": "mean"}
    unscaled = process_csv(path, **usual).withColumnRenamed("features", "raw")
    for scaling, scaler in (("standard", StandardScaler(withMean=True)), ("minmax", MinMaxScaler())):
        scaler.setInputCol("raw").setOutputCol("features")
        expected = np.array([row.features.toArray() for row in scaler.fit(unscaled).transform(unscaled).collect()])
        result = np.array([row.features.toArray() for row in process_csv(path, scaling=scaling, **usual).collect()])
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-12)


def test_bad_lines_are_left_out_on_request_up_to_a_share(spark, write):
    path = write(BIKES + "5,warm,winter,50\n")
    assert sorted(rows(process_csv(path, bad_lines="drop", max_bad_lines=0.2, **USUAL))) == [10, 20, 30, 40]
    with pytest.raises(DataError, match=r"1 of 5 lines do not fit, such as line 6 of .*a\.csv, .*raise max_bad_lines"):
        process_csv(path, bad_lines="drop", max_bad_lines=0.1, **USUAL)


def test_a_bad_line_of_one_of_many_files_is_reported(spark, write, tmp_path):
    for number in range(3):
        write(BIKES, f"{number}.csv")
    write(BIKES.replace("3.5", "hot"), "3.csv")
    with pytest.raises(
        DataError, match=r"1 of 16 lines do not fit, such as line 5 of \S*/3\.csv, '4,hot,autumn,40': 'temp' is 'hot'"
    ):
        process_csv(str(tmp_path), **USUAL)


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.csv.gz", gzip.compress(BIKES.encode(), mtime=0), {}),
        ("a.csv.bz2", bz2.compress(BIKES.encode()), {}),
        ("a.csv.zst", pa.compress(BIKES.encode(), "zstd", asbytes=True), {}),
        ("a.csv", BIKES.encode("utf-16"), {"encoding": "utf-16"}),
        ("a.csv", "\ufeff".encode() + BIKES.replace("\n", "\r\n").encode(), {}),
        ("a.csv", BIKES.replace("winter", "été").encode("cp1252"), {"encoding": "cp1252"}),
        ("a.csv", BIKES.replace("winter", '"win\nter"').encode(), {"multiline": True}),
        ("a.csv", BIKES.replace(",", "|").encode(), {"delimiter": "|"}),
        ("a.csv", BIKES.replace(",", " ").encode(), {"delimiter": " "}),
    ],
    ids=["gzip", "bzip2", "zstd", "utf-16", "byte order mark", "cp1252", "line breaks", "bars", "spaces"],
)
def test_files_in_many_forms(spark, tmp_path, name, content, options):
    (tmp_path / name).write_bytes(content)
    result = rows(process_csv(str(tmp_path / name), **options, **USUAL))
    assert sorted(result) == [10, 20, 30, 40]
    assert {label: values[0] for label, values in result.items()} == {10: 0.5, 30: 1.5, 20: 2.5, 40: 3.5}


def test_a_truncated_file_is_named(spark, tmp_path):
    content = gzip.compress("".join([HEADER, *(f"{i},{i / 7},winter,{i * 3}\n" for i in range(50_000))]).encode())
    (tmp_path / "a.csv.gz").write_bytes(content[: len(content) - 1000])
    with pytest.raises(DataError, match=r"Cannot read file:\S*a\.csv\.gz: \w"):
        process_csv(str(tmp_path / "a.csv.gz"), **USUAL)


def test_files_are_read_by_the_very_names_that_were_found(spark, write, tmp_path):
    for number, name in enumerate(("d1.csv", "d[1].csv", "d 2%20{3}.csv")):
        write(f"x,label\n{number},{number}\n", name)
    assert rows(process_csv(str(tmp_path))) == {0: [0], 1: [1], 2: [2]}
    assert rows(process_csv(f"{tmp_path}/d[1].csv")) == {1: [1]}
    with pytest.raises(DataError, match=r"such as line 3 of file:\S*/bad \[x\]%20\.csv, 'no,1'"):
        process_csv(write("x,label\n1,1\nno,1\n2,2\n3,3\n4,4\n", "bad [x]%20.csv"))


def test_a_record_that_a_line_break_cuts_is_one_bad_record(spark, write):
    content = 't,label\n"one\ntwo",4\nthree,6\n'
    options = {"bad_lines": "quarantine", "max_bad_lines": 0.6, "categorical_columns": ["t"]}
    assert rows(process_csv(write(content), **options)) == {6: [1]}


def test_declared_columns_are_not_inferred(spark, write):
    content = "open,cnt\n2,1\n0,2\n"
    with pytest.raises(DataError, match="'open' is '2', expected true or false, or 1 or 0"):
        process_csv(write(content), [("cnt", "label")], schema={"open": "boolean"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"missing": "media"}, "Did you mean 'median'"),
        ({"missing": {"a": "mean", "b": [1]}}, "missing['b']: expected a number, received [1]"),
        ({"bad_lines": "skip"}, "Unknown policy 'skip'"),
        ({"timestamp_formats": ["%Y %Z"]}, "timestamp_formats[0]: names of time zones, such as EST, have no one meaning"),
        ({"escape": '"'}, "escape: expected another character than delimiter and quote"),
        ({"escape": "\\", "quote": ""}, "escape: expected a quote to escape, received quote=''"),
        ({"encoding": "utf-9"}, "encoding: expected the name of an encoding, such as utf-8 or cp1252, received 'utf-9'"),
        ({"encoding": "base64"}, "encoding: expected the name of an encoding"),
        ({"encoding": "cp037"}, "encoding: 'cp037' ends lines by another byte than ASCII does"),
        ({"missing": None}, "missing: expected a policy (fail, "),
        ({"path": 5}, "input_path: expected a list of at least 1 values, received 5"),
        ({"delimiter": "::"}, "delimiter: expected one ASCII character, no line break, 0x00 or 0x1a, received '::'"),
        ({"delimiter": '"'}, "quote: expected another character than the delimiter"),
        ({"schema": {"temp": "int"}}, "Unknown kind 'int'"),
        ({"max_bad_lines": 2}, "max_bad_lines: expected a share from 0 to 1, received 2."),
    ],
)
def test_options_of_a_wrong_value_are_refused(spark, write, options, message):
    with pytest.raises(SpecError) as error:
        process_csv(**{"path": write(), **options})
    assert message in str(error.value)
