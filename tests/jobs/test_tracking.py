"""What a train job logs to TensorBoard and MLflow, read back by their own libraries."""

import shutil
import sys
from pathlib import Path

import pytest

from airflow_provider_distkeras.contract.errors import DivergenceError, SpecError, TrainingError
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.specs import PreprocessSpec, TrainSpec
from airflow_provider_distkeras.jobs import train as job
from airflow_provider_distkeras.ml.reporting.mlflow import MlflowRun
from tests.fixtures.jobs import claim

pytestmark = pytest.mark.spark

TRAINING = {
    "trainer": "SingleTrainer",
    "trainer_params": {"batch_size": 16, "num_epoch": 4},
    "hyperparameters": {"layer_dims": [None, 8, 1], "optimizer": "adam"},
    "num_folds": 2,
}


@pytest.fixture
def store(monkeypatch, tmp_path):
    """MLflow's runs in a folder of this test."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    before = mlflow.get_tracking_uri()
    yield f"file://{tmp_path}/mlruns"
    mlflow.set_tracking_uri(before)


@pytest.fixture
def dataset(run_job, bikes):
    """The path of the prepared bikes."""
    fields = {"columns_renamed": {"cnt": "label"}, "excluded_columns": ["id", "busy"], "categorical_columns": ["season"]}
    return run_job(PreprocessSpec.build(input_path=bikes(), missing="mean", scaling="standard", **fields)).result["dataset_path"]


def build(dataset, **fields):
    return TrainSpec.build(dataset_path=dataset, param_grid={"learning_rate": [0.01, 1e30]}, **TRAINING, **fields)


def curves(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_event_files_have_the_curves_and_the_metrics_of_trials(run_job, dataset):
    done = run_job(build(dataset, tensorboard=True))
    folder = Path(done.result["model_path"][7:]).parent / "tensorboard"
    assert curves(folder / "refit")["loss"] == pytest.approx(done.details.training["history"]["loss"])
    good = curves(folder / "trials" / "0000")
    assert good["r2"] == pytest.approx([done.result["metrics"]["r2"]["mean"]])
    assert [len(good[f"fold_{fold}/loss"]) for fold in range(2)] == [4, 4]
    assert "r2" not in curves(folder / "trials" / "0001")


def test_mlflow_has_the_parameters_the_metrics_the_trials_the_model_and_the_report(run_job, dataset, store, spark, bikes):
    import mlflow

    done = run_job(build(dataset, mlflow_experiment="bikes", mlflow_tracking_uri=store))
    logged = done.details.mlflow
    assert logged == {"run_id": logged["run_id"], "experiment": "bikes"}
    mlflow.set_tracking_uri(store)
    client = mlflow.MlflowClient()
    run = client.get_run(logged["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["learning_rate"] == "0.01"
    assert run.data.metrics["r2_mean"] == pytest.approx(done.result["metrics"]["r2"]["mean"])
    losses = [point.value for point in client.get_metric_history(logged["run_id"], "loss")]
    assert losses == pytest.approx(done.details.training["history"]["loss"])
    assert "Training report" in Path(client.download_artifacts(logged["run_id"], "report.html")).read_text()
    children = client.search_runs(
        [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{logged['run_id']}'", order_by=["attributes.start_time"]
    )
    assert {child.data.params["learning_rate"]: child.info.status for child in children} == {
        "0.01": "FINISHED",
        "1e+30": "FAILED",
    }
    model = mlflow.spark.load_model(f"runs:/{logged['run_id']}/model")
    raw = spark.read.csv(bikes(), header=True, inferSchema=True)
    assert model.transform(raw).where("prediction is not null").count() == 240
    assert {path.name for path in Path(done.result["model_path"][7:]).parent.iterdir()} == {
        "_SPEC.json", "_MANIFEST.json", "model", "report.html", "trials",
    }  # fmt: skip


def test_a_run_of_a_search_that_fails_is_marked_so(run_job, dataset, store):
    import mlflow

    spec = TrainSpec.build(
        dataset_path=dataset, param_grid={"learning_rate": [1e30]}, mlflow_experiment="bad", mlflow_tracking_uri=store, **TRAINING
    )
    with pytest.raises(DivergenceError):
        run_job(spec)
    mlflow.set_tracking_uri(store)
    assert [run.info.status for run in mlflow.search_runs(experiment_names=["bad"], output_format="list")] == ["FAILED"]


def test_a_server_that_cannot_be_reached_is_refused_before_anything_is_trained(run_job, dataset, store, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    spec = build(dataset, mlflow_experiment="bikes", mlflow_tracking_uri="http://127.0.0.1:9")
    attempt = claim(tmp_path / "out", spec)
    with pytest.raises(TrainingError, match=r"MLflow at http://127.0.0.1:9 did not begin a run of 'bikes'"):
        run_job(spec, attempt)
    assert LocalStorage().list_names(f"{attempt.path}/trials") == []


def test_an_error_of_mlflow_at_the_end_does_not_undo_the_training(run_job, dataset, store, monkeypatch, tmp_path):
    rendered = job.report.render

    def break_the_store(*arguments):
        shutil.rmtree(tmp_path / "mlruns")
        (tmp_path / "mlruns").write_text("no folder any more")
        return rendered(*arguments)

    monkeypatch.setattr(job.report, "render", break_the_store)
    done = run_job(build(dataset, mlflow_experiment="bikes", mlflow_tracking_uri=store))
    assert done.details.mlflow["error"]
    assert Path(done.result["model_path"][7:]).exists()


def test_what_is_not_installed_is_refused_before_anything_is_trained(run_job, dataset, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(
        SpecError, match=r"mlflow_experiment: MLflow is not installed .* pip install 'airflow-provider-distkeras\[mlflow\]'"
    ):
        MlflowRun("bikes", None, {})
    with pytest.raises(SpecError, match=r"tensorboard: tensorboardX is not installed .*\[tensorboard\]"):
        run_job(build(dataset, tensorboard=True))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"mlflow_tracking_uri": "http://me:secret@host:5000", "mlflow_experiment": "a"}, "without user and password"),
        ({"mlflow_tracking_uri": "http://host:5000"}, "nothing is logged without mlflow_experiment"),
        ({"mlflow_experiment": " "}, "mlflow_experiment: expected a text"),
    ],
)
def test_specs_that_are_refused(fields, why):
    with pytest.raises(SpecError, match=why) as refused:
        TrainSpec.build(dataset_path="/d", **TRAINING, **fields)
    assert "secret" not in str(refused.value)
