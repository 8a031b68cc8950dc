"""The three jobs, one after the other, on real Spark."""

import json
import re
from pathlib import Path

import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import committed
from airflow_provider_distkeras.contract.errors import ArtifactError, DataError
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.specs import PreprocessSpec, ScoreSpec, TrainSpec
from tests.fixtures.jobs import claim

pytestmark = pytest.mark.spark

TRAINING = {
    "trainer_params": {"batch_size": 16, "num_epoch": 30, "num_workers": 2, "communication_window": 2},
    "hyperparameters": {"layer_dims": [None, 8, 1], "optimizer": "adam", "learning_rate": 0.1},
    "num_folds": 2,
    "seed": 1,
}


@pytest.fixture
def prepared(run_job, bikes):
    """The result of preparing the bikes."""

    def prepare(path=None, **fields):
        usual = {
            "columns_renamed": {"cnt": "label"},
            "excluded_columns": ["id", "busy"],
            "categorical_columns": ["season"],
            "missing": "mean",
            "scaling": "standard",
        }
        return run_job(PreprocessSpec.build(input_path=path or bikes(), **{**usual, **fields})).result

    return prepare


def test_from_csv_to_scores(run_job, prepared, bikes, spark):
    dataset = prepared(num_workers=2)
    assert (dataset["rows"], dataset["rejected_rows"]) == (240, 0)
    assert dataset["feature_columns"] == ["season", "temp", "hum"]
    assert dict(spark.read.parquet(dataset["dataset_path"]).dtypes) == {
        "features": "array<float>", "label": "double", "filled": "array<int>"
    }  # fmt: skip

    spec = TrainSpec.build(dataset_path=dataset["dataset_path"], param_grid={"dropout_rate": [0.0, 0.9]}, **TRAINING)
    trained = run_job(spec)
    assert trained.result["best_params"]["dropout_rate"] == 0.0
    assert trained.result["best_params"]["layer_dims"] == [None, 8, 1]
    assert trained.result["metrics"]["r2"]["mean"] > 0.8
    assert trained.result["rows"] == 240
    assert trained.details.dialect["delimiter"] == ","
    assert [trial["params"]["dropout_rate"] for trial in trained.details.trials] == [0.0, 0.9]
    assert trained.details.training["rows_trained"] == 240 * 30
    report = LocalStorage().read_bytes(trained.result["report_path"]).decode()
    assert "<th>dropout_rate</th><th>r2, mean ± std</th>" in report
    assert re.search(r"<tr>\s*<td>0.9</td>", report)
    assert "<td>hum</td><td>number</td><td>228</td><td>12</td>" in report
    assert "http" not in report.replace("http://www.w3.org", "")

    # New rows: columns in another order, one the training never saw, no label.
    new = bikes("new.csv", columns=("hum", "extra", "temp", "season", "id"))
    scored = run_job(ScoreSpec.build(model_path=trained.result["model_path"], input_path=new)).result
    assert (scored["rows"], scored["metrics"]) == (240, {})
    predictions = spark.read.parquet(scored["predictions_path"])
    assert predictions.columns == ["hum", "extra", "temp", "season", "id", "prediction"]
    assert dict(predictions.dtypes)["prediction"] == "double"

    # The rows it was trained on, as CSV, with the label: scored exactly as in training.
    scored = run_job(ScoreSpec.build(model_path=trained.result["model_path"], input_path=bikes(), output_format="csv")).result
    assert scored["metrics"]["r2"] > 0.8
    again = spark.read.csv(scored["predictions_path"], header=True, inferSchema=True)
    assert again.columns == ["id", "season", "temp", "hum", "cnt", "busy", "prediction"]
    both = again.select("id", "prediction").join(predictions.selectExpr("int(id) id", "prediction p"), "id")
    assert both.where("abs(prediction - p) > 1e-4").count() == 0


def test_classes_are_learned_from_texts(run_job, prepared, bikes, spark):
    dataset = prepared(
        columns_renamed={}, label_col="busy", excluded_columns=["id", "cnt"], categorical_columns=["season", "busy"]
    )
    fields = {**TRAINING, "hyperparameters": {**TRAINING["hyperparameters"], "loss": "binary_crossentropy"}}
    trained = run_job(TrainSpec.build(dataset_path=dataset["dataset_path"], evaluator="binary", **fields)).result
    assert trained["metrics"]["areaUnderROC"]["mean"] > 0.9
    scored = run_job(ScoreSpec.build(model_path=trained["model_path"], input_path=bikes(), output_format="csv")).result
    assert scored["metrics"]["accuracy"] > 0.85
    row = spark.read.csv(scored["predictions_path"], header=True).first()
    assert len(json.loads(row["probability"])) == 2


def test_drift_is_recorded_and_above_the_limit_nothing_is_written(run_job, bikes, tmp_path):
    usual = {"columns_renamed": {"cnt": "label"}, "missing": "mean"}
    first = run_job(
        PreprocessSpec.build(input_path=bikes(), **usual, excluded_columns=["id", "busy"], categorical_columns=["season"])
    )
    lines = [line.split(",") for line in Path(bikes("warm.csv")).read_text().splitlines()]
    warm = [[*line[:2], f"{1 + float(line[2])}", *line[3:]] for line in lines[1:]]
    (tmp_path / "warmer.csv").write_text("\n".join(map(",".join, [lines[0], *warm])) + "\n")
    fields = {**usual, "excluded_columns": ["id"], "categorical_columns": ["season", "busy"]}
    fields |= {"input_path": str(tmp_path / "warmer.csv"), "compare_with": first.result["dataset_path"]}

    details = run_job(PreprocessSpec.build(**fields)).details
    assert list(details.drift) == ["temp", "season", "hum", "label"]
    assert details.drift["temp"] > 5
    assert {**details.drift, "temp": 0} == {"temp": 0, "season": 0, "hum": 0, "label": 0}
    assert (details.columns_added, details.columns_gone) == (["busy"], [])

    limited = PreprocessSpec.build(**fields, max_drift=0.25)
    attempt = claim(tmp_path / "out", limited)
    with pytest.raises(DataError, match=r"Columns have drifted since .*dataset: .* max_drift=0.25, received 'temp'"):
        run_job(limited, attempt)
    assert LocalStorage().list_names(attempt.path) == ["_ERROR.json", "_SPEC.json"]
    assert first.details.drift is None


def test_rows_that_the_policy_drops_are_counted_in_training_and_in_scoring(run_job, prepared, bikes):
    dataset = prepared(missing="drop")
    assert (dataset["rows"], dataset["rejected_rows"]) == (228, 12)
    trained = run_job(TrainSpec.build(dataset_path=dataset["dataset_path"], **TRAINING)).result
    scored = run_job(ScoreSpec.build(model_path=trained["model_path"], input_path=bikes()))
    assert (scored.result["rows"], scored.result["quarantined_rows"]) == (228, 12)


@pytest.fixture
def model(run_job, prepared, bikes):
    """A model that was prepared with missing='fail'."""
    dataset = prepared(bikes("whole.csv", gaps=False), missing="fail")
    quick = {**TRAINING, "trainer_params": {**TRAINING["trainer_params"], "num_epoch": 1}}
    return run_job(TrainSpec.build(dataset_path=dataset["dataset_path"], **quick)).result["model_path"]


def test_new_files_that_do_not_fit_the_model_are_refused_and_rows_quarantined(run_job, model, bikes, tmp_path):
    def refused(path):
        with pytest.raises(DataError) as error:
            run_job(ScoreSpec.build(model_path=model, input_path=path))
        return str(error.value)

    message = refused(bikes("short.csv", columns=("id", "season", "temp")))
    assert message == (
        "The data lacks the column 'hum' that the pipeline was fitted with. Expected season, temp, hum; found id, season, temp."
    )
    with_gaps = run_job(ScoreSpec.build(model_path=model, input_path=bikes("gaps.csv")))
    assert with_gaps.details.quarantined == {"'hum' is missing": 12}
    (tmp_path / "text.csv").write_text("season,temp,hum\nwinter,warm,0.5\nwinter,0.5,0.5\n")
    assert "text.csv, 'winter,warm,0.5': 'temp' is 'warm', expected a number" in refused(str(tmp_path / "text.csv"))


def test_a_category_that_training_never_saw_is_scored_as_none_of_them(run_job, model, tmp_path):
    (tmp_path / "new.csv").write_text("season,temp,hum\nmonsoon,0.5,0.5\n")
    assert run_job(ScoreSpec.build(model_path=model, input_path=str(tmp_path / "new.csv"))).result["rows"] == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trainer_params": {"num_workers": 200}}, "too few for 2 folds and 200 workers"),
        ({"hyperparameters": {"layer_dims": [7, 8, 1]}}, "layer_dims[0] is 7, but the data has 4 features"),
    ],
)
def test_a_dataset_that_does_not_fit_the_request_is_refused(run_job, prepared, fields, message):
    dataset = prepared()
    with pytest.raises(DataError) as error:
        run_job(TrainSpec.build(dataset_path=dataset["dataset_path"], **{**TRAINING, **fields}))
    assert message in str(error.value)


def test_a_dataset_that_no_preprocess_task_made_is_refused(run_job, tmp_path):
    with pytest.raises(ArtifactError, match="There is no manifest at"):
        run_job(TrainSpec.build(dataset_path=f"file://{tmp_path}/dataset", **TRAINING))


def test_lines_that_repeat_the_header_are_counted_in_the_manifest(run_job, write):
    path = write('x,label\n1,1\nx,label\n2,2\n"x", "label"\n3,3\n')
    done = run_job(PreprocessSpec.build(input_path=path))
    assert (done.result["rows"], done.result["rejected_rows"], done.details.repeated_headers) == (3, 0, 2)


def test_a_job_that_fails_leaves_its_cause_and_the_previous_result(run_job, bikes, tmp_path):
    usual = {"columns_renamed": {"cnt": "label"}, "excluded_columns": ["id", "busy"], "categorical_columns": ["season"]}
    good = PreprocessSpec.build(input_path=bikes(gaps=False), **usual)
    before = run_job(good).result
    bad = PreprocessSpec.build(input_path=bikes("gaps.csv"), **usual)
    attempt = claim(tmp_path / "out", bad)
    with pytest.raises(DataError):
        run_job(bad, attempt)
    cause = json.loads(LocalStorage().read_bytes(attempt.error_path))
    assert cause["type"] == "DataError"
    assert cause["permanent"] is True
    assert cause["message"].startswith("Missing values in 'hum' (12 rows)")
    assert committed(LocalStorage(), attempt.period_path).result == before


def test_a_job_that_was_overtaken_does_not_commit(run_job, bikes, tmp_path):
    spec = PreprocessSpec.build(
        input_path=bikes(gaps=False), columns_renamed={"cnt": "label"}, excluded_columns=["id", "busy", "season"]
    )
    zombie = claim(tmp_path / "out", spec)
    newest = run_job(spec, claim(tmp_path / "out", spec)).result
    with pytest.raises(ArtifactError, match="the newer attempt"):
        run_job(spec, zombie)
    assert committed(LocalStorage(), zombie.period_path).result == newest


def test_a_dataset_has_its_roles_and_its_layout(run_job, tmp_path, spark):
    (tmp_path / "a.csv").write_text(
        "town,x,at,w,f,v,label\nOslo,1,2026-03-01,1,0,0,1\nRome,,2026-04-01,2,1,0,2\nRome,3,2026-05-01,1,1,1,3\n"
    )
    done = run_job(
        PreprocessSpec.build(
            input_path=str(tmp_path / "a.csv"),
            categorical_columns=["town"],
            timestamp_columns={"at": ["month"]},
            missing={"x": "indicator"},
            weight_col="w",
            fold_col="f",
            validation_col="v",
            scaling="minmax",
        )
    )
    rows = {row.label: row for row in spark.read.parquet(done.result["dataset_path"]).collect()}
    assert list(rows[1].asDict()) == ["features", "label", "weight", "fold", "validation", "filled"]
    assert list(rows[2]) == [[0.0, 1.0, 0.5, 1.0, 1.0], 2.0, 2.0, 1, False, [2]]
    assert list(rows[3]) == [[0.0, 1.0, 0.5, 0.0, 2.0], 3.0, 1.0, 1, True, []]
    assert done.details.validation_rows == 1
    assert done.details.scaling == "minmax"
    assert [tuple(entry.values()) for entry in done.details.layout] == [
        ("town", "category", 0, 2, None, "minmax"),
        ("x", "number", 2, 3, "mean", "minmax"),
        ("x", "indicator", 3, 4, None, "minmax"),
        ("at__month", "number", 4, 5, None, "minmax"),
    ]
    assert done.details.profile["x"]["count"] == 1


def test_folds_are_whole_numbers(run_job, tmp_path):
    (tmp_path / "a.csv").write_text("x,f,label\n1,0,1\n2,0.5,2\n")
    with pytest.raises(DataError, match="fold_col: expected whole numbers in 'f'; 1 rows have others"):
        run_job(PreprocessSpec.build(input_path=str(tmp_path / "a.csv"), fold_col="f"))
