"""Scoring with networks with given weights, on real Spark."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.ml import PipelineModel

from airflow_provider_distkeras.contract.errors import ArtifactError, DataError, SpecError
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.ml.data import prepare
from airflow_provider_distkeras.ml.data.sources import parquet_row_groups
from airflow_provider_distkeras.ml.scoring import reader

pytestmark = pytest.mark.spark


def rows_of(spark, path, *order):
    return [tuple(row) for row in spark.read.parquet(path).orderBy(*order).collect()]


BAD_ROWS = "id,a,b\n1,1,1\n2,,1\n3,nan,1\n4,1,inf\n5,1e300,1\n6,0,0\n7,3e38,3e38\n"


def test_raw_rows_that_cannot_be_scored_are_quarantined_with_a_reason(spark, regression, scoring):
    done = scoring(regression, BAD_ROWS, max_quarantined=0.8, key_columns=["id"])
    assert (done.result["rows"], done.result["quarantined_rows"]) == (2, 5)
    assert rows_of(spark, done.result["predictions_path"], "id") == [("1", 0.0), ("6", 1.0)]
    reasons = {
        "2": "'a' is missing",
        "3": "'a' is missing",
        "4": "feature 1 is infinite",
        "5": "feature 0 is infinite",
        "7": "the prediction is not finite",
    }
    assert dict(rows_of(spark, done.details.quarantine_path, "id")) == reasons
    assert done.details.quarantined == {
        "'a' is missing": 2, "feature 0 is infinite": 1, "feature 1 is infinite": 1, "the prediction is not finite": 1,
    }  # fmt: skip


PREPARED = [[1.0, 1.0], None, [1.0], [1.0, None], [float("nan"), 0.0], [0.0, float("-inf")], [0.0, 0.0], [1.0, 2.0, 3.0]]
REASONS = {
    1: "the features are missing",
    2: "expected 2 features, received 1",
    3: "feature 1 is missing",
    4: "feature 0 is missing",
    5: "feature 1 is infinite",
    7: "expected 2 features, received 3",
}


@pytest.mark.parametrize("key", [pa.array(range(8)), pa.array(range(8), pa.timestamp("s"))], ids=["by-python", "by-spark"])
def test_prepared_rows_that_cannot_be_scored_are_quarantined_with_a_reason(spark, regression, scoring, prepared, key):
    """Whether Python reads the files itself, or Spark must, as for times."""
    folder = prepared(PREPARED, id=pa.array(range(8)), key=key)
    done = scoring(regression, folder, max_quarantined=0.75, key_columns=["id", "key"])
    assert (done.result["rows"], done.result["quarantined_rows"]) == (2, 6)
    predictions = spark.read.parquet(done.result["predictions_path"])
    assert [tuple(row) for row in predictions.orderBy("id").select("id", "prediction").collect()] == [(0, 0.0), (6, 1.0)]
    quarantine = spark.read.parquet(done.details.quarantine_path)
    assert quarantine.columns == ["id", "key", "reason"]
    assert {row.id: row.reason for row in quarantine.collect()} == REASONS


def test_too_many_quarantined_rows_fail_the_job(regression, scoring):
    with pytest.raises(DataError) as error:
        scoring(regression, BAD_ROWS)
    message = str(error.value)
    assert message.startswith("5 of 7 rows cannot be scored: 'a' is missing (2 rows), feature 0 is infinite (1 rows)")
    assert "max_quarantined=0.1 allows 0. They are in file:///" in message
    assert message.endswith("/quarantine: correct them, or raise max_quarantined.")


def test_a_job_whose_rows_are_all_quarantined_commits_an_empty_result_if_that_is_allowed(spark, regression, scoring):
    done = scoring(regression, "a,b\n,1\n", max_quarantined=1, partition_by=["a"])
    assert (done.result["rows"], done.result["quarantined_rows"], done.result["metrics"]) == (0, 1, {})


def test_rows_that_get_lost_are_an_error(regression, scoring, prepared, monkeypatch):
    folder = prepared([[0.0, 0.0]] * 3, row_group_size=1)
    write, row_groups = reader.writer.write, parquet_row_groups.row_groups
    message = "3 rows were read, but 1 scored and 0 quarantined: expected as many together"
    with monkeypatch.context() as lossy:
        lossy.setattr(reader.writer, "write", lambda data, *args: write(data.limit(1), *args))
        with pytest.raises(ArtifactError, match=message):
            scoring(regression, folder, output_format="json")
    monkeypatch.setattr(parquet_row_groups, "row_groups", lambda *args: row_groups(*args)[:1])
    with pytest.raises(ArtifactError, match=message):
        scoring(regression, folder)


def test_every_row_of_every_batch_and_row_group_is_scored(spark, regression, scoring, prepared):
    """Files, row groups and batches end at odd places."""
    features = np.random.default_rng(0).normal(size=(1000, 2))
    for start, stop, group in ((0, 1, None), (1, 700, 130), (700, 1000, 299)):
        folder = prepared(features[start:stop].tolist(), row_group_size=group, id=pa.array(range(start, stop)))
    done = scoring(regression, folder, batch_size=64, key_columns=["id"])
    assert done.result["rows"] == 1000
    ids, predictions = zip(*rows_of(spark, done.result["predictions_path"], "id"), strict=True)
    assert list(ids) == list(range(1000))
    np.testing.assert_allclose(predictions, features @ [2, -3] + 1, atol=1e-5)


def test_prepared_rows_keep_all_columns_and_are_measured(spark, regression, scoring, prepared):
    folder = prepared([[1.0, 1.0], [0.0, 0.0], [2.0, 0.0]], label=pa.array([0.0, 1.0, 6.0]))
    done = scoring(regression, folder)
    assert done.result["metrics"] == pytest.approx({"mae": 1 / 3, "rmse": np.sqrt(1 / 3), "r2": 1 - 1 / (62 / 3)})
    predictions = spark.read.parquet(done.result["predictions_path"])
    assert dict(predictions.dtypes) == {"features": "array<float>", "label": "double", "prediction": "double"}
    assert scoring(regression, folder, key_columns=[]).result["metrics"] == done.result["metrics"]


CLASSES = "id,a,b,kind\n1,2,0,sour\n2,0,2,sweet\n3,0,0,salty\n4,2,0,salty\n5,0,2,umami\n"


def test_classes_are_written_as_texts(spark, classes, scoring):
    columns = ["label", "probability", "prediction", "raw"]
    done = scoring(classes, CLASSES, key_columns=["id", "kind"], output_columns=columns)
    predictions = spark.read.parquet(done.result["predictions_path"]).orderBy("id")
    assert predictions.columns == ["id", "kind", "prediction_label", "probability", "prediction", "rawPrediction"]
    rows = predictions.collect()
    assert [row.prediction_label for row in rows] == ["sour", "sweet", "salty", "sour", "sweet"]
    assert [row.prediction for row in rows] == [1.0, 2.0, 0.0, 1.0, 2.0]
    np.testing.assert_allclose([sum(row.probability) for row in rows], 1, atol=1e-6)
    np.testing.assert_allclose(np.exp(rows[0].rawPrediction), rows[0].probability)
    assert done.result["metrics"]["accuracy"] == pytest.approx(3 / 5)
    default = scoring(classes, CLASSES).result["predictions_path"]
    assert spark.read.parquet(default).columns == ["id", "a", "b", "kind", "prediction", "probability"]


def test_class_numbers_of_prepared_rows_are_measured_as_they_are(classes, scoring, prepared):
    folder = prepared([[2.0, 0.0], [0.0, 2.0]], label=pa.array([1.0, 0.0]))
    assert scoring(classes, folder, output_columns=["prediction", "label"]).result["metrics"]["accuracy"] == 0.5


@pytest.mark.parametrize("output_format", ["csv", "json"])
def test_other_formats(spark, classes, scoring, output_format, prepared):
    names = ['a "quoted",\nbroken name', "plain"]
    folder = prepared([[2.0, 0.0], [0.0, 2.0]], name=pa.array(names))
    columns = ["label", "probability"]
    done = scoring(classes, folder, key_columns=["name"], output_columns=columns, output_format=output_format)
    assert done.result["rows"] == 2
    path = done.result["predictions_path"]
    if output_format == "json":
        rows = spark.read.json(path).collect()
        probability = {row.name: row.probability for row in rows}
    else:
        rows = spark.read.csv(path, header=True, escape='"', multiLine=True).collect()
        probability = {row.name: json.loads(row.probability) for row in rows}
    assert {row.name: row.prediction_label for row in rows} == dict(zip(names, ["sour", "sweet"], strict=True))
    assert [len(probability[name]) for name in names] == [3, 3]


@pytest.mark.parametrize("key", [pa.array([1]), pa.array([1], pa.timestamp("s"))], ids=["by-python", "by-spark"])
def test_partition_folders_become_columns_and_partition_the_output(spark, regression, scoring, prepared, key):
    for day in (1, 2):
        prepared([[float(day), 0.0]], f"rows/day=2026-01-0{day}/part={day}", key=key)
    folder = str(prepared([[9.0, 0.0]], "rows/day=__HIVE_DEFAULT_PARTITION__/part=3", key=key)).rsplit("/", 2)[0]
    done = scoring(regression, folder, key_columns=["key", "day", "part"], partition_by=["day"])
    predictions = (
        spark.read.parquet(done.result["predictions_path"]).orderBy("part").selectExpr("string(day)", "part", "prediction")
    )
    assert [tuple(row) for row in predictions.collect()] == [("2026-01-01", 1, 3.0), ("2026-01-02", 2, 5.0), (None, 3, 19.0)]
    assert sorted(done.inputs) == sorted(f"file://{folder}/{tail}" for tail in (
        "day=2026-01-01/part=1/part-0.parquet", "day=2026-01-02/part=2/part-0.parquet",
        "day=__HIVE_DEFAULT_PARTITION__/part=3/part-0.parquet",
    ))  # fmt: skip


def test_raw_parquet_goes_through_the_pipeline(spark, regression, scoring, tmp_path):
    pq.write_table(pa.table({"b": [1, 0, None], "a": [1.0, 0.0, 0.0], "extra": ["x", "y", "z"]}), tmp_path / "raw.parquet")
    done = scoring(regression, str(tmp_path / "raw.parquet"), max_quarantined=0.5)
    assert rows_of(spark, done.result["predictions_path"], "extra") == [(1.0, 1.0, "x", 0.0), (0.0, 0.0, "y", 1.0)]
    assert done.details.quarantined == {"'b' is missing": 1}


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"key_columns": ["ID"]}, SpecError, "key_columns: Unknown column 'ID'. Did you mean 'id'?"),
        ({"partition_by": ["day"]}, SpecError, "partition_by: Unknown column 'day'."),
        ({"output_columns": ["label"]}, SpecError, "output_columns: 'label' is not available, as the label was no text column"),
        ({"output_columns": ["raw"]}, SpecError, "output_columns: 'raw' is not available, as the model is a regression"),
        ({"output_columns": ["std"]}, SpecError, "'std' is not available, as the model is no regression by an EnsembleTrainer"),
        ({"input_path": "file:///no/such"}, DataError, "No file matches 'file:///no/such'."),
    ],
)
def test_what_cannot_be_scored_is_refused_with_the_fix(regression, scoring, fields, error, message):
    with pytest.raises(error) as raised:
        scoring(regression, fields.pop("input_path", "id,a,b\n1,1,1\n"), **fields)
    assert message in str(raised.value)


def test_a_column_with_the_name_of_one_that_is_added_is_refused_unless_it_is_left_out(regression, scoring, prepared):
    folder = prepared([[0.0, 0.0]], reason=pa.array(["because"]))
    with pytest.raises(DataError, match="The column 'reason' has the name of a column that scoring adds"):
        scoring(regression, folder)
    assert scoring(regression, folder, key_columns=[]).result["rows"] == 1


TOWNS = "town,id,label\nOslo,1,0\nRome,2,1\n"


@pytest.mark.parametrize(
    ("policy", "missing", "reasons"),
    [
        ("ignore", "fail", {"3": "'town' is missing"}),
        ("ignore", "mean", {}),
        ("quarantine", "mean", {"2": "'town' is a category that training did not see: Bonn"}),
        ("quarantine", "fail", {"2": "'town' is a category that training did not see: Bonn", "3": "'town' is missing"}),
    ],
)
def test_new_and_missing_categories_follow_the_recorded_policies(
    spark, network, scoring, tmp_path, run_job, policy, missing, reasons
):
    """Columns in another order, one more of them; the network adds the two features up."""
    (tmp_path / "training.csv").write_text(TOWNS)
    spec = {"excluded_columns": ["id"], "categorical_columns": ["town"], "missing": missing, "unseen_categories": policy}
    pipeline = prepare.prepare(spark, PreprocessSpec.build(input_path=str(tmp_path / "training.csv"), **spec)).pipeline
    PipelineModel([*pipeline.stages, network([[1.0], [2.0]], [0.0])]).write().save(f"file://{tmp_path}/model")
    done = scoring(
        f"file://{tmp_path}/model", "more,id,town\n,0,Oslo\n,1,Rome\n,2,Bonn\n,3,\n", key_columns=["id"], max_quarantined=0.5
    )
    scored = dict(rows_of(spark, done.result["predictions_path"], "id"))
    assert {key: value for key, value in scored.items() if key in "01"} == {"0": 1.0, "1": 2.0}
    assert done.result["quarantined_rows"] == len(reasons)
    if reasons:
        assert {row.id: row.reason for row in spark.read.parquet(done.details.quarantine_path).collect()} == reasons


def test_columns_that_the_model_adds_are_left_out_and_others_are_kept_whatever_their_names(regression, scoring, spark):
    given = "a,b,prediction,a.b,Features,id\n1,2,9,8,7,first\n2,1,9,8,7,second\n"
    done = scoring(regression, given)
    scored = spark.read.parquet(done.result["predictions_path"]).orderBy("a")
    assert scored.columns == ["a", "b", "a.b", "id", "prediction"]
    assert [row.prediction for row in scored.collect()] == [-3, 2]
    with pytest.raises(SpecError, match="key_columns: Unknown column 'prediction'"):
        scoring(regression, given, key_columns=["prediction"])


def test_paths_that_hold_something_else_are_refused(regression, scoring, tmp_path):
    with pytest.raises(ArtifactError, match="/nope holds no model of a train task; expected its model_path: "):
        scoring("file:///nope", "a,b\n1,2\n")
    (tmp_path / "x.parquet").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"Spark cannot read all of file:\S+x.parquet as Parquet: "):
        scoring(regression, f"{tmp_path}/x.parquet")
    (tmp_path / "days" / "1").mkdir(parents=True)
    (tmp_path / "days" / "1" / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        DataError, match=r"There is no file in '\S+/days' itself: for those in folders below it, set '\S+/days/\*'"
    ):
        scoring(regression, f"{tmp_path}/days", input_format="csv")
    assert scoring(regression, f"{tmp_path}/days/*").result["rows"] == 1


def stages_so_far(spark):
    """Spark's record of stages; of many, the oldest are forgotten."""
    gateway = spark.sparkContext._gateway
    quantiles, nothing = gateway.new_array(gateway.jvm.double, 0), gateway.jvm.java.util.ArrayList()
    stages = spark.sparkContext._jsc.sc().statusStore().stageList(nothing, False, False, quantiles, nothing)
    return [stages.apply(position) for position in range(stages.size())]


def records_read(spark, after):
    """Records that the stages after one have read from files."""
    return sum(stage.inputRecords() for stage in stages_so_far(spark) if stage.stageId() > after)


@pytest.mark.parametrize("options", [{}, {"partition_by": ["part"]}], ids=["written-by-workers", "written-by-spark"])
def test_a_csv_file_is_read_once(spark, regression, scoring, options):
    lines = 5000
    content = "part,a,b\n" + "1,0.5,0.25\n" * (lines - 1)
    newest = max((stage.stageId() for stage in stages_so_far(spark)), default=-1)
    done = scoring(regression, content, **options)
    assert done.result["rows"] == lines - 1
    assert lines <= records_read(spark, newest) < 1.5 * lines


@pytest.mark.parametrize("options", [{}, {"partition_by": ["part"]}], ids=["written-by-workers", "written-by-spark"])
def test_lines_that_do_not_fit_are_counted_in_the_pass_that_scores(spark, regression, scoring, options):
    content = "part,a,b\n" + "1,0.5,0.25\n" * 7 + "1,x,0.25\n1,0.5\n1,,1\n"
    done = scoring(regression, content, bad_lines="quarantine", max_bad_lines=0.5, max_quarantined=0.5, **options)
    assert (done.result["rows"], done.result["quarantined_rows"], done.details.bad_lines) == (7, 1, 2)
    assert done.details.quarantined == {"'a' is missing": 1}
    with pytest.raises(DataError, match=r"2 of 10 lines do not fit, such as line 9 of .*new\.csv, '1,x,0\.25'"):
        scoring(regression, content, max_quarantined=0.5, **options)
