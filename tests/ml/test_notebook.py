"""Files that are prepared as others were, in a notebook."""

import warnings

import pytest
from pyspark.ml import PipelineModel

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.ml import preparation_of, process_csv
from airflow_provider_distkeras.spark.columns import is_standardized

pytestmark = pytest.mark.spark

TRAIN = "c,x,y.z\na,1,1\nb,2,2\nc,3,3\n"
TEST = "y.z,c,x\n2,b,2\n3,c,\n4,d,4\n"
OPTIONS = {"columns_renamed": {"y.z": "label"}, "categorical_columns": ["c"], "scaling": "standard", "missing": {"x": "mean"}}


def rows(data):
    """Features per label."""
    return {row.label: row.features.toArray().round(6).tolist() for row in data.collect()}


def test_a_test_set_has_the_features_of_the_training_set(spark, write):
    train = process_csv(write(TRAIN), **OPTIONS)
    test = process_csv(write(TEST, "test.csv"), like=train, num_workers=3)
    known, new = rows(train), rows(test)
    assert test.columns == train.columns
    assert test.rdd.getNumPartitions() == 3
    assert new[2] == known[2]
    assert new[3] == [*known[3][:3], 0]  # the mean in place of a missing value
    assert len({*new[4][:3], *known[1][:3]}) == 2  # no category of the training set
    assert new[4][3] == 2  # scaled by the spread of the training set


def test_what_is_made_of_a_prepared_frame_keeps_its_preparation(spark, write, tmp_path):
    train = process_csv(write(TRAIN), **OPTIONS)
    part, _ = train.where("label < 9").repartition(2).cache().randomSplit([0.9, 0.1], seed=1)
    assert preparation_of(part).uid == preparation_of(train).uid
    assert is_standardized(part, "features")
    assert is_standardized(process_csv(write(TRAIN, "like.csv"), like=part), "features")
    assert not is_standardized(process_csv(write(TRAIN, "raw.csv"), **{**OPTIONS, "scaling": "minmax"}), "features")
    assert rows(process_csv(write(TRAIN, "again.csv"), like=part)) == rows(train)


def test_a_preparation_is_saved_and_goes_before_a_model(spark, write, tmp_path, network):
    train = process_csv(write(TRAIN), **OPTIONS)
    preparation_of(train).save(f"{tmp_path}/preparation")
    loaded = PipelineModel.load(f"{tmp_path}/preparation")
    assert rows(process_csv(write(TEST, "test.csv"), like=loaded)) == rows(process_csv(f"{tmp_path}/test.csv", like=train))
    model = network([[1.0], [0.0], [0.0], [0.0]], [0.0])
    model._setDefault(predict_batch_size=16)
    whole = PipelineModel([*preparation_of(train).stages, model])
    assert rows(process_csv(f"{tmp_path}/test.csv", like=whole)) == rows(process_csv(f"{tmp_path}/test.csv", like=train))
    raw = spark.read.csv(f"{tmp_path}/test.csv", header=True)
    features = [
        row.features.toArray().round(6).tolist() for row in whole.transform(raw).select("features", "prediction").collect()
    ]
    assert sorted(features) == sorted(rows(process_csv(f"{tmp_path}/test.csv", like=train)).values())


def test_the_dialect_is_that_of_the_training_files_unless_it_is_said(spark, write):
    train = process_csv(write("x;label\n1;1\n-9;2\n3;3\n"), delimiter=";", null_values=["-9"], missing="mean")
    assert rows(process_csv(write("x;label\n-9;1\n5;2\n", "test.csv"), like=train)) == {1: [2], 2: [5]}
    assert rows(process_csv(write("x,label\n-9,1\n5,2\n", "test.csv"), like=train, delimiter=",", null_values=[])) == {
        1: [-9],
        2: [5],
    }


def test_a_label_may_be_lacking_and_its_classes_are_those_of_the_training_files(spark, write, caplog):
    train = process_csv(write("x,kind\n1,b\n2,c\n3,a\n"), label_col="kind", categorical_columns=["kind"])
    assert process_csv(write("x\n1\n", "test.csv"), like=train).columns == ["x", "features"]
    test = process_csv(write("x,kind\n1,c\n2,b\n3,c.\n", "test.csv"), like=train)
    assert {row.x: row.kind for row in test.collect()} == {1: 2, 2: 1, 3: 3}
    assert "1 labels in 'kind' are no class of the training files" in caplog.text
    assert "'c.' (1 rows). Expected 'a', 'b', 'c'." in caplog.text


ROLES = {"weight_col": "w", "fold_col": "f", "validation_col": "v", "missing": {"x": "mean", "w": "drop"}}


def test_several_labels_keep_their_names(spark, write, tmp_path, caplog):
    train = process_csv(write("x,y,kind\n1,5,tin\n2,6,wood\n"), label_col=["kind", "y"], categorical_columns=["kind"])
    assert train.columns == ["x", "features", "kind", "y"]
    assert {(row.kind, row.y) for row in train.collect()} == {(0.0, 5.0), (1.0, 6.0)}
    preparation_of(train).save(f"{tmp_path}/preparation")
    test = process_csv(write("x,kind\n3,clay\n", "test.csv"), like=PipelineModel.load(f"{tmp_path}/preparation"))
    assert test.columns == ["x", "features", "kind"]
    assert "1 labels in 'kind' are no class of the training files" in caplog.text
    with pytest.raises(DataError, match=r"The label 'y' is missing in 1 rows. Set missing={'y': 'drop'}"):
        process_csv(write("x,y,z\n1,5,1\n2,,2\n", "lacking.csv"), label_col=["y", "z"])
    with pytest.raises(DataError, match="The label column 'w' is absent"):
        process_csv(f"{tmp_path}/lacking.csv", label_col=["y", "w"])


def test_a_test_set_has_the_columns_of_the_training_set(spark, write, tmp_path):
    train = process_csv(write("x,W,f,v,label\n1,0.5,0,false,1\n3,1,1,true,2\n"), columns_renamed={"W": "w"}, **ROLES)
    preparation_of(train).save(f"{tmp_path}/preparation")
    path = write("v,W,f,x,label\n1,2,3,4,5\n0,,1,,6\n0,1,0.5,,7\n", "test.csv")
    for like in (train, PipelineModel.load(f"{tmp_path}/preparation")):
        test = process_csv(path, like=like)
        assert test.schema.fieldNames() == train.schema.fieldNames()
        assert test.dtypes == train.dtypes
        assert {(row.label, row.w, row.f, row.v, *row.features) for row in test.collect()} == {
            (5, 2, 3, True, 4), (7, 1, None, False, 1)
        }  # fmt: skip
    assert process_csv(write("x,f\n1,2\n", "test.csv"), like=train).columns == ["x", "features", "f"]


def test_the_order_and_the_groups_of_a_test_set_are_as_in_training(spark, write):
    train = process_csv(write("x,day,label\n1,2026-01-01,1\n"), time_col="day")
    assert process_csv(write("day,x\n2026-01-02,1\n", "test.csv"), like=train).dtypes[-1] == ("day", "timestamp_ntz")
    train = process_csv(write("x,g,label\n1,7,1\n"), group_col="g")
    assert process_csv(write("g,x\n01,1\n", "test.csv"), like=train).first()["g"] == "01"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,-1,0,0,1", "weight_col: expected numbers of at least 0 in 'w', received -1"),
        ("1,1,,0,1", r"Missing values in 'f' \(1 rows\), for which the preparation has no policy"),
        ("1,1,0,2,1", "'v' is '2', expected true or false, or 1 or 0"),
    ],
)
def test_weights_folds_and_marks_are_checked_as_in_training(spark, write, row, message):
    train = process_csv(write("x,w,f,v,label\n1,0.5,0,false,1\n3,1,1,true,2\n"), **ROLES)
    with pytest.raises(DataError, match=message):
        process_csv(write(f"x,w,f,v,label\n{row}\n", "test.csv"), like=train)


def test_rows_are_dropped_as_in_training(spark, write, caplog):
    train = process_csv(write(TRAIN), **{**OPTIONS, "missing": "drop"})
    assert sorted(rows(process_csv(write(TEST + ",a,1\n", "test.csv"), like=train))) == [2, 4]
    assert "2 of 4 rows are dropped, for they lack a value: 'x' (1 rows), 'label' (1 rows)." in caplog.text


@pytest.mark.parametrize(
    ("content", "options", "error", "message"),
    [
        ("c,label\na,1\n", {}, DataError, "The data lacks the column 'x' that the pipeline was fitted with"),
        ("c,x,label\na,1,\n", {}, DataError, r"Missing values in 'label' \(1 rows\), for which the preparation has no policy"),
        ("c,x,label\na,inf,1\n", {}, DataError, r"Infinite values in 'x' \(1 rows\)"),
        ("c,x,label\na,1,1\na,b,1\n", {}, DataError, "1 of 2 lines do not fit"),
        (TRAIN, {"scaling": "minmax"}, SpecError, "scaling: with like, files are prepared as those before"),
        (TRAIN, {"excluded_columns": ["c"]}, SpecError, "excluded_columns: with like, files are prepared as those before"),
        (TRAIN, {"like": 5}, SpecError, "like: expected a DataFrame that process_csv returned in this process"),
    ],
)
def test_files_and_options_that_do_not_fit_are_refused(spark, write, content, options, error, message):
    train = process_csv(write(TRAIN), **OPTIONS)
    with pytest.raises(error, match=message):
        process_csv(write(content, "test.csv"), **{"like": train, **options})


def test_a_column_that_training_left_out_may_have_the_name_of_a_value(spark, write):
    content = "2020,x,label\n1,2,3\n2,3,4\n"
    train = process_csv(write(content), excluded_columns=["2020"])
    assert rows(process_csv(write(content, "test.csv"), like=train)) == rows(train)


@pytest.mark.parametrize(
    ("training", "content", "trained", "options", "message"),
    [
        ("x,label\n1,2\n", "1,2\n3,4\n", {}, {}, "such as '1'. If the file has no header, give it that of the training files"),
        (
            "x,label\n1,2\n",
            "1,2\n",
            {},
            {"header": False},
            "found 0, 1. '0' looks like a value: if the files have no header, give",
        ),
        ("x,label\n1,2\n", "1,a\n3,b\n", {}, {}, "found 1, a. '1' looks like a value: if the files have no header, give them"),
        (
            "1,2\n",
            "x,label\n1,2\n",
            {"header": False, "label_col": "1"},
            {},
            "and the model's training files had none: remove it.",
        ),
    ],
)
def test_files_have_a_header_as_the_training_files_had(spark, write, training, content, trained, options, message):
    train = process_csv(write(training), **trained)
    with pytest.raises(DataError) as error:
        process_csv(write(content, "test.csv"), like=train, **options)
    assert message in str(error.value)


def test_a_frame_that_was_made_elsewhere_has_no_preparation(spark, write):
    frame = process_csv(write(TRAIN), **OPTIONS).drop("features")
    with pytest.raises(SpecError, match=r"use the PipelineModel that preparation_of\(df_train\)\.save\(path\) has saved"):
        process_csv(write(TEST, "test.csv"), like=frame)


def test_a_second_fit_on_other_files_warns_where_anything_is_fitted(spark, write):
    content = "day,label,kind_of_warning\n1,1,a\n2,2,b\n"
    options = {"categorical_columns": ["kind_of_warning"]}
    process_csv(write(content), **options)
    with pytest.warns(UserWarning, match=r"use process_csv\(path, like=df_train\)") as caught:
        process_csv(write(content + "3,3,c\n", "test.csv"), **options)
    assert [each.filename for each in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        process_csv(write(content), **options)  # the same files
        for number in range(2):
            process_csv(write("nothing_fitted,label\n1,1\n" + "2,2\n" * number, f"{number}.csv"))
