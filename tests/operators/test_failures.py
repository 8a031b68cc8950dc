"""What a user reads when something is wrong, and that nothing is lost by it."""

import json
import os
import re
import signal
import subprocess
import threading
from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.hooks import process
from airflow_provider_distkeras.operators import (
    DistKerasPreprocessOperator,
    DistKerasPromoteOperator,
    DistKerasScoreOperator,
    DistKerasTrainOperator,
)
from tests.fakes.spark_installation import make_java

pytestmark = pytest.mark.airflow

NETWORK = {"layer_dims": [None, 8, 1]}


def templated(value):
    """A template that renders as this value."""
    return f"{{{{ {value!r} }}}}" if isinstance(value, str) else f"{{{{ {value!r} | tojson }}}}"


def assert_refused(done, stub, *parts, submitted=0):
    """The task failed for good with a message that has these parts, before Spark."""
    assert done.state == "failed"
    for part in parts:
        assert part in done.message
    assert isinstance(done.errors[-1], AirflowFailException)
    assert len(stub.calls()) == submitted


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, {}, "No file matches 'file://{csv}'. Check the path"),
        ("", {}, "The file file://{csv} is empty: expected a header line and rows."),
        ("temp,cnt\n", {}, "There is no row in file://{csv}: the files hold only a header."),
        ("temp,temp,cnt\n1,2,3\n", {}, "Duplicate column 'temp' in the header of file://{csv}"),
        ("temp,cnt\n1,2\n", {"columns_renamed": {}}, "The label column 'label' is absent; the columns are temp, cnt."),
        ("temp,cnt\n1,2\n", {"excluded_columns": ["tmp"]}, "excluded_columns: Unknown column 'tmp'. Did you mean 'temp'?"),
        ("temp,cnt\n1,2\n", {"columns_renamed": {"ctn": "label"}}, "columns_renamed: Unknown column 'ctn'. Did you mean 'cnt'?"),
        ("temp,cnt\n1,2\n", {"missing": "meen"}, "missing: Unknown policy 'meen'. Did you mean 'mean'?"),
        ("temp,cnt\n1,2\n", {"num_workers": 0}, "num_workers: expected an integer of at least 1, received 0 (int)."),
        ("temp,cnt\n1,2\n", {"if_exists": "resuse"}, "if_exists: Unknown value 'resuse'. Did you mean 'reuse'?"),
        (
            "temp,cnt\n1,2\n",
            {"num_executors": "many"},
            "num_executors: expected an integer of at least 1, received 'many' (str).",
        ),
    ],
)
def test_wrong_input_is_refused_before_spark_starts(stub, prepare, run, csv, root, content, arguments, message):
    run(prepare)
    current = (root / "dag" / "prepare" / "period=2026-03-01T000000Z" / "CURRENT").read_text()
    csv.unlink() if content is None else csv.write_text(content)

    done = run(lambda: prepare(retries=3, **{name: templated(value) for name, value in arguments.items()}))

    assert_refused(done, stub, message.format(csv=csv), submitted=1)
    assert (root / "dag" / "prepare" / "period=2026-03-01T000000Z" / "CURRENT").read_text() == current
    assert len(done.errors) == 1


WRONG_TRAINING_ARGUMENTS = pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trainer": "ADAGG"}, "trainer: Unknown trainer 'ADAGG'. Did you mean 'ADAG'? Valid: "),
        ({"trainer_params": {"num_epochs": 3}}, "Unknown parameter of ADAG 'num_epochs'. Did you mean 'num_epoch'?"),
        ({"metric": "r3"}, "Unknown metric of the regression evaluator 'r3'. Did you mean 'r2'?"),
        ({"param_grid": {"learning_rat": [1]}}, "Unknown name in param_grid 'learning_rat'. Did you mean 'learning_rate'?"),
        ({"num_folds": 0}, "num_folds: expected an integer of at least 1, received 0 (int)."),
        (
            {"param_grid": {"learning_rate": [0.1, "fast"]}},
            "param_grid['learning_rate'][1]: expected a number above 0, received 'fast' (str).",
        ),
        ({"hyperparameters": {}}, "No network: set layer_dims"),
    ],
)


@WRONG_TRAINING_ARGUMENTS
def test_wrong_training_arguments_are_refused_before_spark_starts(stub, run, root, arguments, message):
    arguments = {"hyperparameters": NETWORK} | {name: templated(value) for name, value in arguments.items()}

    done = run(lambda: DistKerasTrainOperator(task_id="train", dataset_path="/nowhere", artifact_root=str(root), **arguments))

    assert_refused(done, stub, message)


@pytest.mark.parametrize("dataset_path", ["/nowhere", "{{ ti.xcom_pull(task_ids='prepare') }}"])
@WRONG_TRAINING_ARGUMENTS
def test_wrong_constant_arguments_are_errors_of_the_dag_file(dataset_path, arguments, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        DistKerasTrainOperator(**{"task_id": "train", "dataset_path": dataset_path, "hyperparameters": NETWORK} | arguments)


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        (DistKerasPreprocessOperator, {"missing": "meen"}, "missing: Unknown policy 'meen'. Did you mean 'mean'?"),
        (DistKerasPreprocessOperator, {"delimiter": '"'}, "quote: expected another character than the delimiter"),
        (DistKerasPreprocessOperator, {"if_exists": "resuse"}, "if_exists: Unknown value 'resuse'. Did you mean 'reuse'?"),
        (DistKerasScoreOperator, {"output_format": "parket"}, "output_format: Unknown output format 'parket'."),
        (DistKerasPromoteOperator, {"champion": "c", "margin": -1}, "margin: expected a number of at least 0"),
    ],
)
def test_each_operator_checks_its_constant_arguments(operator, arguments, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        operator(
            task_id="task",
            input_path="{{ params.rows }}",
            **{} if operator is DistKerasPreprocessOperator else {"model_path": "/m"},
            **arguments,
        )


def test_an_argument_with_a_template_is_not_checked_with_the_constant_ones():
    task = DistKerasTrainOperator(
        task_id="train", dataset_path="/d", trainer="{{ params.trainer }}", num_folds="{% if 1 %}2{% endif %}"
    )

    assert task.trainer == "{{ params.trainer }}"


def test_dataset_that_nothing_committed(stub, run, root, tmp_path):
    done = run(
        lambda: DistKerasTrainOperator(
            task_id="train", dataset_path=str(tmp_path / "a" / "dataset"), hyperparameters=NETWORK, artifact_root=str(root)
        )
    )

    assert done.message == (
        f"dataset_path: expected what a preprocess task returned, received 'file://{tmp_path}/a/dataset': there is no "
        "_MANIFEST.json beside it. Nothing was committed there, or it is gone."
    )
    assert isinstance(done.errors[-1], AirflowFailException)
    assert stub.calls() == []


@pytest.mark.parametrize("path", ["", "None", "{{ ti.xcom_pull(task_ids='nothing') }}"])
def test_a_path_that_a_template_did_not_find(stub, run, root, path):
    done = run(
        lambda: DistKerasTrainOperator(task_id="train", dataset_path=path, hyperparameters=NETWORK, artifact_root=str(root))
    )

    assert_refused(done, stub, "dataset_path: expected a path, received ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"driver_memory": "2 gigs"}, "driver_memory: expected an amount of memory, such as 2g or 512m, received '2 gigs'."),
        ({"executor_memory": "lots"}, "executor_memory: expected an amount of memory, such as 2g or 512m, received 'lots'."),
        ({"deploy_mode": "cluster"}, "deploy_mode: the master 'local[2]' runs jobs in client mode only; leave deploy_mode out."),
    ],
)
def test_resources_that_spark_would_refuse(stub, run, prepare, csv, arguments, message):
    assert_refused(run(lambda: prepare(**arguments)), stub, message)


def test_dataset_in_place_of_a_model(stub, prepare, run, csv, root):
    done = run(
        lambda: DistKerasScoreOperator(
            task_id="score", model_path=prepare().output["dataset_path"], input_path=str(csv), artifact_root=str(root)
        )
    )

    assert_refused(done, stub, "model_path: expected what a train task returned, received", submitted=1)


def test_connection_that_does_not_exist(stub, prepare, run):
    done = run(lambda: prepare(conn_id="spark_prod"))

    assert_refused(
        done, stub, "The Spark connection 'spark_prod' does not exist.", "airflow connections add spark_prod --conn-type spark"
    )


def test_connection_of_another_type(stub, prepare, run, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_WEB", json.dumps({"conn_type": "http", "host": "somewhere"}))
    failed = run(lambda: prepare(conn_id="web"))

    assert failed.message == "The connection 'web' is of type 'http'; expected a Spark connection."
    assert stub.calls() == []


def test_cluster_deploy_mode_on_a_standalone_master(stub, prepare, run, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", '{"conn_type": "spark", "host": "spark://master:7077"}')

    done = run(lambda: prepare(conn_id="cluster", deploy_mode="cluster"))

    assert_refused(done, stub, "deploy_mode: Spark's standalone clusters run Python only in client mode")


def test_artifact_root_is_required_for_a_cluster(stub, prepare, run, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", '{"conn_type": "spark", "host": "spark://master:7077"}')

    done = run(lambda: prepare(conn_id="cluster", artifact_root=None))

    assert_refused(done, stub, "No artifact_root: the Spark master is 'spark://master:7077'", "[distkeras] artifact_root")


def test_no_java_that_fits(stub, prepare, run, monkeypatch, tmp_path):
    from airflow_provider_distkeras.hooks import spark_environment

    monkeypatch.setenv("JAVA_HOME", str(make_java(tmp_path / "java25", "25.0.1")))
    monkeypatch.setattr(spark_environment, "_USUAL_PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))

    done = run(prepare)

    assert_refused(done, stub, f"Spark needs Java 17 or 21. Found, but of no use to Spark: {tmp_path}/java25 (25).", "Install")


def test_artifact_root_that_cannot_be_written(stub, prepare, run, tmp_path):
    (tmp_path / "file").touch()

    done = run(lambda: prepare(artifact_root=str(tmp_path / "file")))

    assert done.state == "failed"
    assert done.message.startswith(f"Cannot write file://{tmp_path}/file/dag/prepare/")
    assert done.message.endswith("Choose an artifact_root that the job may write to.")
    assert stub.calls() == []


def test_spark_submit_that_is_not_there(stub, prepare, run):
    done = run(lambda: prepare(spark_binary="/opt/spark/bin/spark-submit", retries=2))

    assert_refused(done, stub, "spark_binary: expected a program to run, received '/opt/spark/bin/spark-submit'")


def test_exit_code_0_without_a_manifest_is_a_failure(stub, prepare, run):
    stub.mode("nothing")

    done = run(prepare)

    assert done.state == "failed"
    assert done.message.startswith("There is no manifest at file://")


def test_permanent_error_is_reported_and_not_retried(stub, prepare, run):
    stub.mode("permanent")

    done = run(lambda: prepare(retries=2))

    assert_refused(done, stub, submitted=1)
    assert done.message == "The column 'temp' holds text."


def test_transient_error_is_reported_and_retried(stub, prepare, run):
    stub.mode("passing")

    done = run(lambda: prepare(retries=1))

    assert [str(error) for error in done.errors] == ["The column 'temp' holds text."] * 2
    assert len(stub.calls()) == 2


def test_run_that_another_one_has_overtaken_does_not_take_the_period_back(stub, prepare, run):
    stub.mode("overtaken")

    assert_refused(run(lambda: prepare(retries=2)), stub, "another run about the same period", submitted=1)


def test_cause_that_the_job_could_only_log_is_the_error_and_not_retried(stub, prepare, run):
    stub.mode("unwritable")

    assert_refused(run(lambda: prepare(retries=2)), stub, "The column 'temp' holds text.", submitted=1)


@pytest.mark.parametrize("mode", ["killed", "refused"])
def test_killed_job_is_reported_as_killed(stub, prepare, run, mode):
    stub.mode(mode)
    failed = run(prepare)

    assert failed.message == "The Spark job was killed (SIGKILL) before it committed; the previous result is kept."


def test_crash_without_a_cause_shows_the_last_output(stub, prepare, run):
    stub.mode("crash")

    done = run(prepare)

    assert "Error code is: 1" in done.message
    assert "java.lang.OutOfMemoryError" in done.message


def is_running(pid):
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    return bool(state) and not state.startswith("Z")


# Airflow ends a task by the one; it raises the other when execution_timeout is over.
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGALRM], ids=["killed", "execution_timeout"])
def test_task_that_ends_early_ends_spark_submit_and_its_children(
    stub, prepare, run, root, monkeypatch, tmp_path, keep_sigterm, signal_number
):
    fifo = tmp_path / "child"
    os.mkfifo(fifo)
    monkeypatch.setenv("STUB_CHILD", str(fifo))
    stub.mode("hang")
    children = []

    def strike_once_it_runs():
        children.append(int(fifo.read_text()))
        os.kill(os.getpid(), signal_number)

    striker = threading.Thread(target=strike_once_it_runs)
    striker.start()
    done = run(lambda: prepare(execution_timeout=timedelta(hours=1)))
    striker.join()

    assert done.state == "failed"
    assert not is_running(children[0])
    assert not (root / "dag" / "prepare" / "period=2026-03-01T000000Z" / "CURRENT").exists()


def test_process_that_ignores_the_request_to_end_is_killed(monkeypatch):
    monkeypatch.setattr(process, "GRACE_S", 0.05)
    stubborn = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    stubborn.stdout.readline()

    process.end_group(stubborn)

    assert stubborn.wait(timeout=10) == -signal.SIGKILL
    stubborn.stdout.close()
