"""A task from its arguments to its XComs, with a stub in place of Spark."""

import dataclasses
import inspect
import itertools
import json
import os
import sys
import zipfile
from datetime import UTC, datetime

import pytest
from airflow.sdk import Asset

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.links.spark import SparkUILink
from airflow_provider_distkeras.links.training_report import TrainingReportLink
from airflow_provider_distkeras.operators import (
    DistKerasPreprocessOperator,
    DistKerasPromoteOperator,
    DistKerasScoreOperator,
    DistKerasTrainOperator,
)
from airflow_provider_distkeras.operators.base import DistKerasBaseOperator

pytestmark = pytest.mark.airflow

OPERATORS = [DistKerasPreprocessOperator, DistKerasTrainOperator, DistKerasScoreOperator, DistKerasPromoteOperator]
SPECS = {operator.spec_class.kind: operator.spec_class for operator in OPERATORS}
NETWORK = {"layer_dims": [None, 8, 1]}


def options(argv):
    """The values that follow each option."""
    return {name: value for name, value in itertools.pairwise(argv) if name.startswith("--") and name != "--conf"}


def confs(argv):
    return dict(value.split("=", 1) for name, value in itertools.pairwise(argv) if name == "--conf")


def request_of(call):
    with open(options(call["argv"])["--spec"].removeprefix("file://")) as file:
        return json.load(file)


def test_three_operators_make_one_pipeline(stub, csv, prepare, run, root):
    def pipeline():
        prepared = prepare()
        trained = DistKerasTrainOperator(
            task_id="train",
            dataset_path=prepared.output["dataset_path"],
            hyperparameters=NETWORK,
            param_grid={"learning_rate": [0.1, 0.01]},
            artifact_root=str(root),
        )
        DistKerasScoreOperator(
            task_id="score", model_path=trained.output["model_path"], input_path=str(csv), artifact_root=str(root)
        )

    done = run(pipeline)

    assert done.state == "success"
    for task_id, kind in (("prepare", "preprocess"), ("train", "train"), ("score", "score")):
        pushed = done.xcoms(task_id)
        returned = pushed["return_value"]
        assert set(returned) == {*SPECS[kind].result_fields, "manifest_path"}
        assert {key: pushed[key] for key in returned} == returned
        assert os.path.exists(returned["manifest_path"].removeprefix("file://"))
    specs = [request_of(call)["spec"] for call in stub.calls()]
    assert specs[1]["dataset_path"] == done.xcoms("prepare")["dataset_path"]
    assert specs[2]["model_path"] == done.xcoms("train")["model_path"]


def test_a_run_is_compared_with_the_one_before_it(stub, prepare, run):
    before = "{{ ti.xcom_pull(task_ids='prepare', key='manifest_path', include_prior_dates=True) }}"

    days = [datetime(2020, 1, day, tzinfo=UTC) for day in (1, 2)]
    first, second = (run(lambda: prepare(compare_with=before, max_drift=0.2), logical_date=day) for day in days)

    assert (first.state, second.state) == ("success", "success")
    compared = [request_of(call)["spec"]["compare_with"] for call in stub.calls()]
    assert compared == ["", first.xcoms("prepare")["manifest_path"]]


@pytest.fixture
def compared_with(stub, prepare, run):
    """Runs a period that is compared with the previous one; returns its manifest and the one that it was compared with."""

    def run_period(day, **more):
        done = run(lambda: prepare(compare_with="previous", **more), logical_date=datetime(2026, 1, day, tzinfo=UTC))
        assert done.state == "success"
        return done.xcoms("prepare")["manifest_path"], request_of(stub.calls()[-1])["spec"]["compare_with"]

    return run_period


def test_the_previous_period_is_the_newest_earlier_one_with_a_result(stub, compared_with, run, prepare):
    first, nothing = compared_with(1)
    third, compared = compared_with(3)
    assert (nothing, compared) == ("", first)

    stub.mode("crash")
    run(prepare, logical_date=datetime(2026, 1, 4, tzinfo=UTC))  # a period without a result
    stub.mode("commit")
    assert compared_with(5)[1] == third
    second, compared = compared_with(2)  # a backfill: there are later ones
    assert compared == first
    assert compared_with(3)[1] == second
    assert compared_with(1)[1] == ""


def test_a_result_that_was_compared_is_reused_until_the_previous_period_has_another_one(stub, compared_with):
    compared_with(1)
    second, _ = compared_with(2)
    assert compared_with(2, if_exists="reuse")[0] == second
    assert len(stub.calls()) == 2

    compared_with(1)
    assert compared_with(2, if_exists="reuse")[0] != second


def test_a_run_that_is_compared_with_nothing_says_so(compared_with, capsys):
    compared_with(1, max_drift=0.2)
    assert (
        "there is no earlier result, so the drift of this run is not measured, and max_drift=0.2 limits"
        in capsys.readouterr().out
    )
    first, _ = compared_with(1)
    assert "the drift of this run is not measured." in capsys.readouterr().out
    compared_with(2, max_drift=0.2)
    output = capsys.readouterr().out
    assert "not measured" not in output
    assert f"Comparing with the period 2026-01-01T000000Z: {first}" in output


def test_each_mapped_task_is_compared_with_its_own_previous_period(stub, run, csv, root):
    def mapped():
        DistKerasPreprocessOperator.partial(
            task_id="prepare", columns_renamed={"cnt": "label"}, artifact_root=str(root), compare_with="previous"
        ).expand(input_path=[str(csv), str(csv)])

    for day in (1, 2, 3):
        assert run(mapped, logical_date=datetime(2026, 1, day, tzinfo=UTC)).state == "success"

    requests = {request["attempt"]["period_path"]: request["spec"] for request in map(request_of, stub.calls())}
    assert len(requests) == 6
    for segment, day in itertools.product((0, 1), (2, 3)):
        period, before = (f"file://{root}/dag/prepare/{segment}/period=2026-01-{each:02}T000000Z" for each in (day, day - 1))
        assert requests[period]["compare_with"].startswith(f"{before}/")


def test_only_what_a_preprocess_task_made_is_compared_with(stub, prepare, run, root):
    def pipeline():
        trained = DistKerasTrainOperator(
            task_id="train", dataset_path=prepare().output["dataset_path"], hyperparameters=NETWORK, artifact_root=str(root)
        )
        prepare(task_id="again", compare_with=trained.output["model_path"])

    assert "compare_with: expected what a preprocess task returned, received " in run(pipeline).message


def test_airflow_lists_files_of_other_formats_than_csv_and_does_not_open_them(stub, prepare, run, tmp_path):
    path = tmp_path / "in" / "rows.parquet"
    path.write_text("no Parquet, which only the job sees")
    done = run(lambda: prepare(input_path=str(path)))
    assert done.state == "success"
    request = request_of(stub.calls()[0])
    assert list(request["inputs"]) == [f"file://{path}"]
    assert request["inputs"][f"file://{path}"].startswith("35 bytes, modified")

    done = run(lambda: prepare(input_path=str(path), input_format="csv"))
    assert "the files hold only a header" in done.message
    assert "input_format: Unknown input format 'orc'" in run(lambda: prepare(input_format="{{ 'orc' }}")).message


def test_links_are_pushed_as_soon_as_they_are_known(stub, prepare, run, root, pushed_links):
    def pipeline():
        prepared = prepare()
        DistKerasTrainOperator(
            task_id="train", dataset_path=prepared.output["dataset_path"], hyperparameters=NETWORK, artifact_root=str(root)
        )

    done = run(pipeline)

    assert (SparkUILink.KEY, "http://127.0.0.1:4040") in pushed_links
    report = done.xcoms("train")[TrainingReportLink.KEY]
    assert report.startswith("/distkeras/report/dag?run_id=manual__")
    assert report.endswith("&task_id=train&map_index=-1")


def test_command_is_the_packaged_job_and_one_spec(stub, prepare, run, root):
    done = run(prepare)

    (call,) = stub.calls()
    *_, application, flag, spec = call["argv"]
    assert application.endswith("/airflow_provider_distkeras/jobs/preprocess.py")
    assert (flag, spec.startswith(f"file://{root}/dag/prepare/period=2026-03-01T000000Z/")) == ("--spec", True)
    assert options(call["argv"])["--name"] == "dag.prepare 2026-03-01T000000Z"
    assert done.state == "success"


def test_spark_and_python_are_the_installed_ones(stub, prepare, run):
    run(prepare)

    env = stub.calls()[0]["env"]
    assert env["SPARK_HOME"] == str(stub.home)
    assert env["PYSPARK_PYTHON"] == env["PYSPARK_DRIVER_PYTHON"] == sys.executable
    assert "SPARK_HOME" not in os.environ


def test_user_may_choose_another_python(stub, prepare, run):
    run(lambda: prepare(env_vars={"PYSPARK_PYTHON": "/opt/python"}))

    env = stub.calls()[0]["env"]
    assert env["PYSPARK_PYTHON"] == env["PYSPARK_DRIVER_PYTHON"] == "/opt/python"


def test_package_travels_with_the_users_files_and_is_removed(stub, prepare, run, tmp_path):
    seen = tmp_path / "seen.zip"
    stub.copy_package(seen)

    run(lambda: prepare(py_files="/mine/helpers.zip"))

    own, mine = options(stub.calls()[0]["argv"])["--py-files"].split(",")
    names = zipfile.ZipFile(seen).namelist()
    assert mine == "/mine/helpers.zip"
    assert not os.path.exists(own)
    assert "airflow_provider_distkeras/contract/specs/train.py" in names
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_argument_is_templated(operator):
    own = {
        name
        for cls in operator.__mro__[: operator.__mro__.index(DistKerasBaseOperator) + 1]
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    earlier_names = {field.metadata["alias"] for field in dataclasses.fields(operator.spec_class)}
    assert own - {"multiple_outputs", "deferrable"} - earlier_names <= set(operator.template_fields)


def test_earlier_names_of_arguments_are_deprecated():
    with pytest.warns(DeprecationWarning, match="is deprecated: use") as warnings:
        task = DistKerasTrainOperator(
            task_id="train", dataset_path="/d", hyperparameters={"layer_dims": [None, 1]}, search="random",
            param_grid={"learning_rate": [0.1, 0.2]}, num_cells="{{ params.n }}", max_failed_cells=0,
        )  # fmt: skip
    assert [str(warning.message) for warning in warnings] == [
        "num_cells is deprecated: use num_trials.",
        "max_failed_cells is deprecated: use max_failed_trials.",
    ]
    assert (task.num_trials, task.max_failed_trials) == ("{{ params.n }}", 0)
    with pytest.raises(SpecError, match="num_trials: received num_cells too"):
        DistKerasTrainOperator(task_id="train", dataset_path="/d", num_trials=2, num_cells=3)


def test_rendered_texts_become_their_types(stub, prepare, run, root):
    params = {"executors": 3, "memory": "2g", "workers": "4", "none": None, "excluded": ["temp2"], "root": str(root)}

    done = run(
        lambda: prepare(
            num_executors="{{ params.executors }}",
            executor_cores="{{ params.none }}",
            executor_memory="{{ params.memory }}",
            driver_memory="",
            num_workers="{{ params.workers }}",
            scaling="{{ params.none }}",
            columns_renamed="{{ {'cnt': 'label'} | tojson }}",
            categorical_columns="{{ ['temp'] | tojson }}",
            label_col="{{ ['label'] | tojson }}",
            artifact_root="{{ params.root }}",
            conn_id="spark_{{ 'default' }}",
        ),
        params=params,
    )

    (call,) = stub.calls()
    given = options(call["argv"])
    spec = request_of(call)["spec"]
    assert done.state == "success"
    assert (given["--num-executors"], given["--executor-memory"]) == ("3", "2g")
    assert not {"--executor-cores", "--driver-memory"} & set(given)
    assert (spec["num_workers"], spec["scaling"]) == (4, None)
    assert (spec["columns_renamed"], spec["categorical_columns"]) == ({"cnt": "label"}, ["temp"])
    assert spec["label_col"] == "label"


def test_mapped_tasks_keep_their_attempts_apart(stub, csv, run, root):
    done = run(
        lambda: DistKerasPreprocessOperator.partial(
            task_id="prepare", columns_renamed={"cnt": "label"}, artifact_root=str(root), num_executors="{{ 2 + 1 }}"
        ).expand(input_path=[str(csv), str(csv.parent)])
    )

    assert done.state == "success"
    assert sorted(path.name for path in (root / "dag" / "prepare").iterdir()) == ["0", "1"]
    assert {options(call["argv"])["--num-executors"] for call in stub.calls()} == {"3"}


def test_asset_events_have_path_metrics_period_and_digest(stub, prepare, run, csv, root):
    def pipeline():
        prepared = prepare(outlets=[Asset(name="bikes", uri="x://bikes")])
        trained = DistKerasTrainOperator(
            task_id="train",
            dataset_path=prepared.output["dataset_path"],
            hyperparameters=NETWORK,
            artifact_root=str(root),
            outlets=[Asset("bikes_model")],
        )
        DistKerasScoreOperator(
            task_id="score",
            model_path=trained.output["model_path"],
            input_path=str(csv),
            artifact_root=str(root),
            outlets=[Asset("bikes_scores")],
        )

    done = run(pipeline)

    events = done.asset_events()
    for task_id, kind, asset in (
        ("prepare", "preprocess", "bikes"), ("train", "train", "bikes_model"), ("score", "score", "bikes_scores"),
    ):  # fmt: skip
        event, returned = events[asset], done.xcoms(task_id)["return_value"]
        assert {key: event[key] for key in returned} == returned
        assert event["uri"] == returned[SPECS[kind].main_artifact]
        assert (event["kind"], event["period"]) == (kind, "2026-03-01T000000Z")
        assert len(event["spec_sha256"]) == 64
    assert events["bikes_model"]["metrics"] == {"r2": {"mean": 0.9, "std": 0.01}}


def test_artifact_root_defaults_to_airflow_home_for_a_local_master(stub, prepare, run):
    done = run(lambda: prepare(artifact_root=None))

    assert done.xcoms("prepare")["dataset_path"].startswith(f"file://{os.environ['AIRFLOW_HOME']}/distkeras/dag/prepare/")


def test_artifact_root_may_be_an_airflow_option(stub, prepare, run, monkeypatch, root):
    monkeypatch.setenv("AIRFLOW__DISTKERAS__ARTIFACT_ROOT", str(root / "configured"))

    done = run(lambda: prepare(artifact_root=None))

    assert done.xcoms("prepare")["dataset_path"].startswith(f"file://{root}/configured/dag/")
