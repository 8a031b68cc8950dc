"""Weights, folds, validation rows, arrays, hashed and constant categories, through the real reader."""

import numpy as np
import pytest

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.ml import process_csv

pytestmark = pytest.mark.spark


def features(data):
    return {row.label: row.features.toArray().tolist() for row in data.collect()}


ROLES = "x,w,f,v,label\n1,0.5,0,false,1\n3,1,1,false,2\n100,1,0,true,3\n,2,1,true,4\n"
NAMED = {"weight_col": "w", "fold_col": "f", "validation_col": "v"}


def test_validation_rows_take_no_part_in_statistics(spark, write):
    data = process_csv(write(ROLES), missing="mean", scaling="minmax", **NAMED)
    assert dict(data.dtypes) == {
        "x": "double", "features": "vector", "label": "double", "w": "double", "f": "int", "v": "boolean"
    }  # fmt: skip
    assert features(data) == {1: [0], 2: [1], 3: [49.5], 4: [0.5]}
    assert {(row.label, row.w, row.f, row.v) for row in data.collect()} == {
        (1, 0.5, 0, False), (2, 1, 1, False), (3, 1, 0, True), (4, 2, 1, True)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("3,1,1,false,2", "3,-1,1,false,2", "weight_col: expected numbers of at least 0 in 'w', received -1."),
        ("3,1,1,false,2", "3,1,-1,false,2", "fold_col: expected numbers of at least 0 in 'f', received -1."),
        ("3,1,1,false,2", "3,,1,false,2", r"Missing values in 'w' \(1 rows\)"),
        ("false", "true", "validation_col: all 4 rows are to validate on"),
        ("false,", "maybe,", "validation column 'v' holds text such as 'maybe'.* It must be true or false, or 1 or 0"),
    ],
)
def test_roles_that_make_no_sense_are_refused(spark, write, before, after, message):
    with pytest.raises(DataError, match=message):
        process_csv(write(ROLES.replace(before, after)), missing={"x": "mean"}, **NAMED)


def test_validation_marks_are_ones_and_zeros(spark, write):
    with pytest.raises(DataError, match=r"validation_col: expected true and false, or 1 and 0, in 'v', received 2\."):
        process_csv(write("x,v,label\n1,0,1\n2,2,2\n"), validation_col="v")


def test_a_class_may_be_among_validation_rows_only(spark, write):
    path = write("x,v,kind\n1,0,a\n2,1,b\n3,0,c\n")
    data = process_csv(path, label_col="kind", categorical_columns=["kind"], validation_col="v")
    assert {(row.x, row.kind) for row in data.collect()} == {(1, 0), (2, 1), (3, 2)}


@pytest.mark.parametrize("texts", [["1 2 3", "4 5 6"], ['"[1, 2, 3]"', '"[4, 5, 6]"'], ["1;2;3", " 4 ; 5;6 "]])
def test_fields_of_many_numbers_are_arrays(spark, write, texts):
    path = write("image,x,label\n" + "".join(f"{text},{10 * i},{i}\n" for i, text in enumerate(texts)))
    assert features(process_csv(path, schema={"image": "array[3]"})) == {0: [1, 2, 3, 0], 1: [4, 5, 6, 10]}


def test_an_array_is_scaled_as_a_whole(spark, write):
    path = write("image,label\n0 1,0\n4 2,1\n")
    assert features(process_csv(path, schema={"image": "array[2]"}, scaling="minmax")) == {0: [0, 0.25], 1: [1, 0.5]}
    scaled = np.array(list(features(process_csv(path, schema={"image": "array[2]"}, scaling="standard")).values()))
    values = np.array([[0, 1], [4, 2]])
    np.testing.assert_allclose(scaled, (values - values.mean()) / values.std(ddof=1))


@pytest.mark.parametrize(
    ("text", "reason"),
    [("1 2", "'image' holds 2 numbers, expected 3"), ("1 x 3", "'image' does not hold 3 numbers: .*'x'")],
)
def test_an_array_of_another_length_is_a_bad_line(spark, write, text, reason):
    path = write(f"image,label\n1 2 3,0\n{text},1\n")
    with pytest.raises(DataError, match=rf"line 3 of .*{reason}"):
        process_csv(path, schema={"image": "array[3]"})


def test_a_missing_array_is_an_error_or_its_row_is_dropped(spark, write):
    path = write("image,label\n1 2,0\n,1\n3 4,2\n")
    with pytest.raises(DataError, match=r"Missing values in 'image' \(1 rows\)"):
        process_csv(path, schema={"image": "array[2]"}, missing="mean")
    assert features(process_csv(path, schema={"image": "array[2]"}, missing="drop")) == {0: [1, 2], 2: [3, 4]}


def test_many_categories_are_hashed_into_as_many_features_as_there_may_be(spark, write):
    path = write("city,x,label\n" + "".join(f"c{i},5,{i}\n" for i in range(50)) + ",5,50\n")
    data = features(process_csv(path, categorical_columns=["city"], max_categories=16, missing="mean", scaling="standard"))
    rows = np.array([data[label] for label in range(51)])
    assert rows.shape == (51, 17)
    np.testing.assert_allclose(rows[:50, :16].sum(axis=1), 1)  # scaling leaves them alone
    assert (rows[50, :16] == 0).all()
    assert (rows[:, 16] == 0).all()
    exactly = process_csv(path, categorical_columns=["city"], max_categories=50, missing="mean")
    assert len(exactly.first().features) == 51


def test_a_text_stands_for_missing_categories(spark, write):
    path = write("city,label\nb,1\n,2\nc,3\n")
    result = features(process_csv(path, categorical_columns=["city"], missing={"city": "a"}))
    assert result == {1: [0, 1, 0], 2: [1, 0, 0], 3: [0, 0, 1]}


def test_missing_categories_have_a_feature_of_their_own(spark, write):
    path = write("city,label\nb,1\n,2\nc,3\n")
    result = features(process_csv(path, categorical_columns=["city"], missing="indicator"))
    assert result == {1: [1, 0, 0], 2: [0, 0, 1], 3: [0, 1, 0]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_col": "label"}, "The column 'label' has two uses"),
        ({"categorical_columns": ["t"], "timestamp_columns": {"t": ["hour"]}}, "The column 't' has two uses"),
        ({"timestamp_columns": {"t": ["hours"]}}, "Unknown calendar part 'hours'. Did you mean 'hour'?"),
        ({"timestamp_columns": {"t": []}}, "timestamp_columns['t']: expected a list of at least 1"),
        ({"timestamp_columns": {"t": ["hour"]}, "missing": {"t": 0}}, "missing['t']: Unknown policy 0.0"),
        ({"missing": {"x": "none"}}, "missing['x']: Unknown policy 'none'"),
        ({"missing": {"label": "mean"}}, "missing['label']: Unknown policy 'mean'"),
        ({"categorical_columns": ["t"], "missing": {"t": 0}}, "missing['t']: expected a policy, or the category to fill in"),
        ({"categorical_columns": ["t"], "missing": {"t": "medain"}}, "Did you mean 'median'"),
        ({"schema": {"x": "array[0]"}}, "Unknown kind 'array[0]'"),
        ({"schema": {"x": "array[2]"}, "missing": {"x": "mean"}}, "missing['x']: Unknown policy 'mean'"),
        ({"unseen_categories": "fail"}, "unseen_categories: Unknown policy 'fail'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(spark, write, options, message):
    with pytest.raises(SpecError) as error:
        process_csv(write("x,t,label\n1,2,3\n"), **options)
    assert message in str(error.value)


@pytest.mark.parametrize(("header", "missing"), [("t,t__index,label", "fail"), ("x,x__missing,label", "indicator")])
def test_a_column_named_as_one_that_is_made_is_refused(spark, write, header, missing):
    path = write(f"{header}\n1,2,3\n")
    with pytest.raises(DataError, match=r"Duplicate column '.__(index|missing)' among those that preprocessing makes"):
        process_csv(path, categorical_columns=["t"] if header.startswith("t") else [], missing=missing)
