"""Secrets among a task's arguments: Spark gets them, the machine's other users, the log and what is stored do not."""

import re
from pathlib import Path

import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.operators import DistKerasPreprocessOperator, DistKerasScoreOperator

from .test_execution import confs

pytestmark = pytest.mark.airflow

SECRETS = {
    "spark.hadoop.fs.s3a.secret.key": "k3y-of-s3",
    "spark.hadoop.fs.s3a.access.key": "id-of-s3",
    "my.password": "pa55\\word",
}


@pytest.fixture
def properties(tmp_path, monkeypatch):
    """The properties file of spark-submit, copied with its mode."""
    monkeypatch.setenv("STUB_COPY_PROPERTIES", str(tmp_path / "copied"))
    return Path(tmp_path / "copied")


def test_properties_that_spark_would_hide_are_in_a_file_of_mode_0600(stub, run, prepare, properties, root, capfd):
    done = run(lambda: prepare(conf={"spark.ui.enabled": "false", **SECRETS}))

    assert done.state == "success"
    (call,) = stub.calls()
    assert not confs(call["argv"]).keys() & SECRETS
    assert confs(call["argv"])["spark.ui.enabled"] == "false"
    lines = properties.read_text().splitlines()
    assert {"spark.hadoop.fs.s3a.secret.key=k3y-of-s3", "spark.hadoop.fs.s3a.access.key=id-of-s3", r"my.password=pa55\\word"} <= {
        *lines
    }
    assert properties.stat().st_mode & 0o777 == 0o600
    seen = " ".join(call["argv"]) + "".join(capfd.readouterr())
    seen += "".join(path.read_text() for path in root.rglob("*") if path.is_file())
    assert not [secret for secret in SECRETS.values() if secret in seen]


def test_secret_variables_of_a_driver_on_the_cluster_are_no_arguments(yarn, stub, run, prepare_on_yarn, properties):
    done = run(lambda: prepare_on_yarn(env_vars={"MLFLOW_TRACKING_PASSWORD": "pa55word", "MLFLOW_TRACKING_URI": "http://mlflow"}))

    assert done.state == "success"
    (call,) = stub.calls()
    assert confs(call["argv"])["spark.yarn.appMasterEnv.MLFLOW_TRACKING_URI"] == "http://mlflow"
    assert "pa55word" not in " ".join(call["argv"])
    assert "spark.yarn.appMasterEnv.MLFLOW_TRACKING_PASSWORD=pa55word" in properties.read_text().splitlines()


@pytest.mark.parametrize("argument", ["input_path", "artifact_root", "compare_with"])
def test_a_password_in_a_path_is_an_error_of_the_dag_file_and_not_repeated(argument):
    arguments = {"input_path": "/rows.csv", argument: "s3a://AKIA:se/cr3t@bikes/rows.csv"}
    with pytest.raises(SpecError, match=re.escape(f"{argument}: expected a URI without user and password")) as raised:
        DistKerasPreprocessOperator(task_id="prepare", **arguments)
    assert "cr3t" not in str(raised.value)


def test_a_password_in_one_of_several_paths_is_found():
    with pytest.raises(SpecError, match="input_path: expected a URI without user and password"):
        DistKerasScoreOperator(task_id="score", model_path="/m", input_path=["/a.csv", "hdfs://me:pa55@host/b.csv"])


def test_a_password_that_a_template_gives_is_refused_before_spark(stub, run, prepare, root):
    done = run(lambda: prepare(input_path="s3a://{{ 'AKIA:secr3t' }}@bikes/rows.csv"))

    assert done.state == "failed"
    assert done.message.startswith("input_path[0]: expected a URI without user and password")
    assert "secr3t" not in done.message
    assert stub.calls() == []
