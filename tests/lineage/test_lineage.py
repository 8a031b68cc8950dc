"""OpenLineage events of Airflow's own listener, and the properties for Spark's listener, with a stub in place of Spark."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.sdk import Asset

from airflow_provider_distkeras.contract.files.storage import local_path
from airflow_provider_distkeras.lineage.facets import dataset_name, started
from airflow_provider_distkeras.operators import (
    DistKerasPromoteOperator,
    DistKerasScoreOperator,
    DistKerasTrainOperator,
)

pytestmark = pytest.mark.airflow


@pytest.fixture
def listen(tmp_path, monkeypatch, airflow_db):
    """Has OpenLineage's listener write its events to a file; returns the last event of a kind that it wrote about a task."""
    from airflow.providers.openlineage.plugins.listener import OpenLineageListener
    from airflow.sdk.listener import get_listener_manager

    file = tmp_path / "events.jsonl"
    manager, listener = get_listener_manager(), OpenLineageListener()  # plugins are loaded before there is a transport
    transport = {"type": "file", "log_file_path": str(file), "append": True}
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
    manager.add_listener(listener)

    def last(task_id, kind="COMPLETE"):
        events = [json.loads(line) for line in file.read_text().splitlines()]
        return [e for e in events if e["job"]["name"] == f"dag.{task_id}" and e["eventType"] == kind][-1]

    yield last
    manager.pm.unregister(listener)


@pytest.fixture
def pipeline(prepare, csv, root):
    """Makes the tasks prepare, train, score and promote."""

    def make(**score):
        shared = {"artifact_root": str(root)}
        trained = DistKerasTrainOperator(
            task_id="train",
            dataset_path=prepare().output["dataset_path"],
            hyperparameters={"layer_dims": [None, 8, 1]},
            **shared,
        )
        model = trained.output["model_path"]
        scored = DistKerasScoreOperator(task_id="score", model_path=model, input_path=f"{csv.parent}/*.csv", **shared, **score)
        promoted = DistKerasPromoteOperator(
            task_id="promote", champion="bikes", model_path=model, input_path=str(csv), outlets=[Asset("champion")], **shared
        )
        scored >> promoted

    return make


def names(datasets):
    return [(dataset["namespace"], dataset["name"]) for dataset in datasets]


def file(*paths):
    return [("file", str(local_path(path))) for path in map(str, paths)]


def test_every_task_reports_its_inputs_and_outputs(stub, run, pipeline, listen, csv, root):
    done = run(pipeline)
    prepared, trained, scored, promoted = (done.xcoms(task) for task in ("prepare", "train", "score", "promote"))
    assert done.state == "success"

    event = listen("prepare")
    assert names(event["inputs"]) == file(csv)
    quality = event["inputs"][0]["facets"]["dataQualityMetrics"]
    temp, day = quality["columnMetrics"]["temp"], quality["columnMetrics"]["day"]
    assert (quality["rowCount"], temp["count"], temp["nullCount"], temp["quantiles"]) == (12, 11, 1, {"0.5": 0.6})
    assert (temp["min"], temp["max"], day["count"]) == (0.5, 0.7, 12)
    assert not {"min", "max"} & {*day}  # times are no numbers
    assert names(event["outputs"]) == file(prepared["dataset_path"], prepared["pipeline_path"])
    dataset = event["outputs"][0]
    assert dataset["outputFacets"]["outputStatistics"]["rowCount"] == 12
    features, label = dataset["facets"]["schema"]["fields"]
    assert (features["name"], [field["name"] for field in features["fields"]], label["name"]) == ("features", ["temp"], "label")
    assert dataset["facets"]["version"]["datasetVersion"] == prepared["manifest_path"].split("/")[-2]

    event = listen("train")
    assert names(event["inputs"]) == file(prepared["dataset_path"])
    assert names(event["outputs"]) == file(trained["model_path"])
    facets = event["outputs"][0]["facets"]
    assert facets["distkeras_model"]["metrics"] == {"r2": {"mean": 0.9, "std": 0.01}}
    assert facets["distkeras_model"]["bestParams"] == {"learning_rate": 0.01}
    about = event["run"]["facets"]["distkeras"]
    assert (about["kind"], about["period"]) == ("train", "2026-03-01T000000Z")
    request = json.loads(local_path(trained["manifest_path"]).read_text())
    assert about["specSha256"] == facets["distkeras_artifact"]["specSha256"] == request["spec_sha256"]
    assert about["result"]["metrics"] == trained["metrics"]

    event = listen("score")
    assert names(event["inputs"]) == file(trained["model_path"], csv.parent)
    assert names(event["outputs"]) == file(scored["predictions_path"])
    assert event["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 12

    event = listen("promote")
    assert names(event["inputs"]) == file(promoted["champion_path"], csv)
    assert names(event["outputs"]) == file(root / "champions" / "bikes")
    assert event["outputs"][0]["facets"]["version"]["datasetVersion"] == trained["model_path"].split("/")[-2]


def test_a_task_that_starts_or_fails_reports_its_inputs(stub, run, prepare, listen, csv):
    stub.mode("permanent")
    assert run(prepare).state == "failed"

    for kind in ("START", "FAIL"):
        assert names(listen("prepare", kind)["inputs"]) == file(csv)
        assert listen("prepare", kind)["outputs"] == []


def test_a_challenger_that_is_not_promoted_has_no_output(stub, run, pipeline, listen):
    run(pipeline)
    stub.metrics(challenger=0.7, champion=0.8)
    second = run(pipeline)
    assert second.states()["promote"] == "skipped"

    event = listen("promote")
    assert len(event["inputs"]) == 3  # both models, and the rows
    assert event["outputs"] == []
    assert event["run"]["facets"]["distkeras"]["result"]["promoted"] is False


def test_a_reused_result_reports_its_attempt(stub, run, prepare, listen):
    first = run(prepare).xcoms("prepare")
    run(lambda: prepare(if_exists="reuse"))

    assert len(stub.calls()) == 1
    assert names(listen("prepare")["outputs"])[0] == file(first["dataset_path"])[0]


@pytest.mark.parametrize(
    ("path", "namespace", "name"),
    [
        ("s3a://bikes/in/day.csv", "s3://bikes", "in/day.csv"),
        ("gs://bikes/in/", "gs://bikes", "in"),
        ("abfss://data@bikes.dfs.core.windows.net/in", "abfss://data@bikes.dfs.core.windows.net", "in"),
        ("hdfs://name-node:8020/in/day.csv", "hdfs://name-node:8020", "/in/day.csv"),
        ("file:///in/day.csv", "file", "/in/day.csv"),
        ("/in/day.csv", "file", "/in/day.csv"),
        ("s3a://bikes", "s3://bikes", "/"),
    ],
)
def test_datasets_are_named_as_openlineage_names_them(path, namespace, name):
    assert dataset_name(path) == (namespace, name)


def test_a_pattern_stands_for_its_folder_while_its_files_are_not_known():
    lineage = started([["s3a://bikes/in/*/day-?.csv", "s3a://bikes/more.csv"], None])
    assert [(i.namespace, i.name) for i in lineage.inputs] == [("s3://bikes", "more.csv"), ("s3://bikes", "in")]


def test_a_path_with_a_password_is_not_told():
    assert started([["hdfs://ann:pa55@host/a.csv", "/b.csv"], None]).inputs == started(["/b.csv"]).inputs


@pytest.fixture
def over_http(monkeypatch, airflow_db):
    """OpenLineage is configured with a server and its key; nothing is sent."""
    from airflow.providers.openlineage.plugins.listener import get_openlineage_listener
    from airflow.sdk.listener import get_listener_manager

    get_listener_manager()  # plugins are loaded before there is a transport, so nothing listens
    transport = {
        "type": "http",
        "url": "http://127.0.0.1:9",
        "auth": {"type": "api_key", "apiKey": "k3y-of-lineage"},
        "custom_headers": {"X-Token": "t0ken-of-lineage"},
    }
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
    get_openlineage_listener.cache_clear()
    yield
    get_openlineage_listener.cache_clear()


def test_spark_receives_its_parent_and_the_server_but_no_secret_on_the_command_line(
    stub, run, prepare, over_http, tmp_path, capfd, monkeypatch
):
    defaults = stub.home / "conf" / "spark-defaults.conf"
    defaults.parent.mkdir()
    defaults.write_text("spark.ui.enabled false")
    monkeypatch.setenv("STUB_COPY_PROPERTIES", str(tmp_path / "copied"))
    done = run(lambda: prepare(openlineage_inject_parent_job_info=True, openlineage_inject_transport_info=True))
    assert done.state == "success"

    argv = stub.calls()[0]["argv"]
    properties_of_spark = dict(argv[n + 1].split("=", 1) for n, part in enumerate(argv) if part == "--conf")
    assert properties_of_spark["spark.openlineage.parentJobName"] == "dag.prepare"
    assert properties_of_spark["spark.openlineage.transport.url"] == "http://127.0.0.1:9"
    properties = [line for line in Path(tmp_path / "copied").read_text().splitlines() if line]
    assert properties[1].startswith("spark.redaction.regex=(?i)secret|password|")
    assert [properties[0], *properties[2:]] == [
        "spark.ui.enabled false",
        "spark.openlineage.transport.auth.apiKey=Bearer k3y-of-lineage",
        "spark.openlineage.transport.headers.X-Token=t0ken-of-lineage",
    ]
    log = "".join(capfd.readouterr())
    for secret in ("k3y-of-lineage", "t0ken-of-lineage"):
        assert secret not in " ".join(argv)
        assert secret not in log


def test_the_facets_are_not_imported_with_the_operators():
    code = "import sys, airflow_provider_distkeras.operators as o; o.DistKerasPromoteOperator; sys.exit('{}' in sys.modules)"
    module = "airflow_provider_distkeras.lineage.facets"
    assert subprocess.run([sys.executable, "-c", code.format(module)], check=False).returncode == 0
