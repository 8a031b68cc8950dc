"""Secrets among a task's arguments: Spark gets them, the machine's other users, the log and what is stored do not."""

import json
import re
import sys
from pathlib import Path

import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.operators import DistKerasPreprocessOperator, DistKerasScoreOperator
from tests.fakes.spark_installation import STUB, write_script

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


def rendered(done):
    """What Airflow shows of the task's templates."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields

    (ti,) = done.dag_run.get_task_instances()
    return RenderedTaskInstanceFields.get_templated_fields(ti)


#: Secrets whose names Spark does not know, or which have none.
HIDDEN = {
    "spark.hadoop.fs.azure.account.key.bikes.dfs.core.windows.net": "k3y-of-azure",
    "spark.hadoop.fs.defaultFS": "hdfs://ann:pa55word@host:8020",
    "spark.jars.repositories": "https://ann:t0p-hush@maven.example.com/x",
    "spark.driver.extraJavaOptions": "-Xss4m -Dstore.Password=hush-hush",
    "spark.hadoop.b in=d": "https://a/b?sig=s1gnature#\u20ac",
}


def test_secrets_without_a_name_that_spark_knows_are_seen_nowhere(stub, run, prepare, properties, capfd):
    done = run(lambda: prepare(conf=HIDDEN, env_vars={"AZURE_STORAGE_KEY": "k3y-of-env"}))

    assert done.state == "success"
    (call,) = stub.calls()
    assert not confs(call["argv"]).keys() & HIDDEN
    lines = properties.read_text().splitlines()
    assert [line for line in lines if line.startswith("spark.hadoop.b")] == [
        r"spark.hadoop.b\ in\=d=https://a/b?sig=s1gnature#\u20ac"
    ]
    shown = rendered(done)
    assert shown["conf"].keys() == HIDDEN.keys()
    seen = " ".join(call["argv"]) + json.dumps(shown) + "".join(capfd.readouterr())
    parts = ("k3y-of-azure", "pa55word", "t0p-hush", "hush-hush", "s1gnature", "k3y-of-env")
    assert [part for part in parts if part in seen] == []
    assert any(line.startswith("spark.redaction.regex=(?i)secret|") for line in lines)


def test_secrets_that_are_numbers_are_hidden_in_what_is_shown(stub, run, prepare, properties):
    numbers = {"n.password": 91827364, "my.hush": 5647382}
    conf = {"spark.redaction.regex": "(?i)hush", "spark.x.size": 11223344, **numbers}
    done = run(lambda: prepare(conf=conf, env_vars={"MY_HUSH": 66554433, "AZURE_STORAGE_KEY": 77889900, "SIZE": 22334455}))

    assert done.state == "success"
    assert {"n.password=91827364", "my.hush=5647382"} <= {*properties.read_text().splitlines()}
    shown = rendered(done)
    assert shown["conf"] == {**conf, **dict.fromkeys(numbers, "***")}
    assert shown["env_vars"] == {"MY_HUSH": "***", "AZURE_STORAGE_KEY": "***", "SIZE": 22334455}


def test_a_variable_that_the_users_pattern_names_is_no_argument(yarn, stub, run, prepare_on_yarn, properties):
    conf = {"spark.redaction.regex": "(?i)hush"}
    assert run(lambda: prepare_on_yarn(conf=conf, env_vars={"MY_HUSH": "hu5h-hush"})).state == "success"

    assert "hu5h" not in " ".join(stub.calls()[0]["argv"])
    assert "spark.yarn.appMasterEnv.MY_HUSH=hu5h-hush" in properties.read_text().splitlines()


def test_a_command_with_a_secret_is_not_shown(stub, run, prepare):
    commands = ["true --password=pa55word", "true"]
    assert rendered(run(lambda: prepare(post_submit_commands=commands)))["post_submit_commands"] == ["***", "true"]


def test_switches_of_secrets_stay_readable(stub, run, prepare):
    switches = {"spark.security.credentials.hive.enabled": "false", "spark.x.accessKey": True}
    done = run(lambda: prepare(conf=switches))

    assert rendered(done)["conf"] == switches
    assert switches.keys() <= confs(stub.calls()[0]["argv"]).keys()


def test_secrets_of_a_mapped_task_are_not_shown(stub, run, csv, root):
    def mapped():
        conf = {"spark.driver.extraJavaOptions": "-Dstore.Password={{ 'hush' }}-{{ 'hush' }}"}
        fields = {"task_id": "prepare", "artifact_root": str(root), "columns_renamed": {"cnt": "label"}}
        DistKerasPreprocessOperator.partial(**fields, conf=conf).expand(input_path=[str(csv)])

    done = run(mapped)

    assert done.state == "success"
    assert rendered(done)["conf"] == {"spark.driver.extraJavaOptions": "***"}


@pytest.mark.parametrize(
    "content", ["spark.my.important yes", "spark.my.important yes\\", "# f\xfcr alle\nspark.my.important yes"]
)
def test_the_defaults_of_a_spark_of_ones_own_are_kept_beside_secrets(
    stub, run, prepare, properties, tmp_path, monkeypatch, content
):
    monkeypatch.delenv("SPARK_HOME", raising=False)
    own = tmp_path / "own"
    write_script(own / "bin" / "spark-submit", f'#!/bin/sh\nexec "{sys.executable}" "{STUB}" "$@"\n')
    (own / "conf").mkdir()
    (own / "conf" / "spark-defaults.conf").write_bytes(content.encode("latin-1"))

    assert run(lambda: prepare(conf=SECRETS, spark_binary=str(own / "bin" / "spark-submit"))).state == "success"
    lines = properties.read_text().splitlines()
    assert {"my.password=pa55\\\\word", "spark.hadoop.fs.s3a.access.key=id-of-s3"} <= {*lines}
    assert not content.endswith("yes") or "spark.my.important yes" in lines
    assert lines[lines.index(next(line for line in lines if "important" in line)) + 1] == ""


@pytest.mark.parametrize(
    ("defaults", "pattern"),
    [("# spark.redaction.regex hush", "\nspark.redaction.regex="), ("spark.redaction.regex hush", "spark.redaction.regex")],
    ids=["in-a-comment", "of-the-user"],
)
def test_one_pattern_is_set_and_that_of_the_user_stays(stub, run, prepare, properties, defaults, pattern):
    file = stub.home / "conf" / "spark-defaults.conf"
    file.parent.mkdir()
    file.write_text(defaults)

    assert run(lambda: prepare(conf=SECRETS)).state == "success"
    assert properties.read_text().count(pattern) == 1


@pytest.mark.parametrize("conf", [None, SECRETS])
def test_a_properties_file_that_is_missing_is_named(stub, run, prepare, root, conf):
    done = run(lambda: prepare(conf=conf, properties_file=f"{root}/spark.conf", retries=2))

    assert done.message.startswith("properties_file: expected a file of Spark properties on this machine, received")
    assert f"'{root}/spark.conf': No such file or directory. Correct the path" in done.message
    assert (len(done.errors), stub.calls()) == (1, [])


URIS = [
    "archives", "driver_class_path", "exclude_packages", "files", "jars", "keytab", "name", "packages", "principal",
    "properties_file", "proxy_user", "py_files", "repositories",
]  # fmt: skip


@pytest.mark.parametrize("query", ["?private_token=cr3t", "?apikey=cr3t", "?X-Amz-Security-Token=cr3t", "#a=1&password=cr3t"])
def test_a_secret_parameter_in_an_argument_with_uris_is_refused_and_not_repeated(query):
    with pytest.raises(SpecError, match="jars: expected URIs without user and password, or signature") as raised:
        DistKerasPreprocessOperator(task_id="prepare", input_path="/rows.csv", jars=f"/a.jar,https://example.com/x.jar{query}")
    assert "cr3t" not in str(raised.value)


@pytest.mark.parametrize("argument", URIS)
def test_a_password_in_an_argument_with_uris_is_an_error_of_the_dag_file_and_not_repeated(argument):
    uris = "https://plain.example.com/a,https://ann:cr3t@example.com/b"
    with pytest.raises(SpecError, match=f"{argument}: expected URIs without user and password") as raised:
        DistKerasPreprocessOperator(task_id="prepare", input_path="/rows.csv", **{argument: uris})
    assert "cr3t" not in str(raised.value)


def test_a_password_that_a_template_gives_to_such_an_argument_is_refused_before_spark(stub, run, prepare):
    done = run(lambda: prepare(repositories="https://{{ 'ann:secr3t' }}@example.com"))

    assert done.message.startswith("repositories: expected URIs without user and password")
    assert "secr3t" not in done.message
    assert "secr3t" not in json.dumps(rendered(done))
    assert stub.calls() == []


@pytest.mark.parametrize("host", ["spark://ann:secr3t@host", "ann:secr3t@host"])
def test_a_password_in_the_host_of_a_spark_connection_is_refused(stub, run, prepare, monkeypatch, host):
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps({"conn_type": "spark", "host": host, "port": 7077}))

    done = run(prepare)

    assert done.message.startswith("The connection 'spark_default': expected a host without user and password")
    assert "secr3t" not in done.message
    assert stub.calls() == []


WRONG_TYPES = pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("conf", "{'my.password': 'pa55word'}", "a dict .*render_template_as_native_obj=True"),
        ("env_vars", "MY_PASSWORD=pa55word", "a dict"),
        ("jars", ["https://ann:pa55word@host/a.jar"], "a text, of several values with commas between them"),
        ("repositories", ["https://ann:pa55word@host"], "a text"),
        ("post_submit_commands", "true --password=pa55word", "a list of texts"),
    ],
)


@WRONG_TYPES
def test_an_argument_of_another_type_is_named_without_its_value(argument, value, expected):
    with pytest.raises(SpecError, match=f"^{argument}: expected {expected}.*, received .* type {type(value).__name__}") as raised:
        DistKerasPreprocessOperator(task_id="prepare", input_path="/rows.csv", **{argument: value})
    assert "pa55word" not in str(raised.value)


@WRONG_TYPES
def test_an_argument_that_a_template_gives_in_another_type_is_named_and_not_shown(stub, run, prepare, argument, value, expected):
    templated = [f"{{{{ '' }}}}{part}" for part in value] if isinstance(value, list) else f"{{{{ '' }}}}{value}"
    done = run(lambda: prepare(retries=2, **{argument: templated}))

    assert re.match(f"{argument}: expected {expected}", done.message)
    assert "pa55word" not in done.message + json.dumps(rendered(done))
    assert (len(done.errors), stub.calls()) == (1, [])


def test_a_pattern_of_what_to_hide_that_python_does_not_read_is_refused_early(stub, run, prepare):
    pattern = r"(?i)my\.k\p{Lower}y"
    with pytest.raises(SpecError, match=r"conf: expected a spark\.redaction\.regex that both Java and Python read"):
        prepare(conf={"spark.redaction.regex": pattern, "a": "{{ ds }}"})

    done = run(lambda: prepare(conf={"spark.redaction.regex": "{{ '' }}" + pattern, "my.key": "hu5h-hush"}))
    assert done.message.startswith("conf: expected a spark.redaction.regex that both Java and Python read")
    assert "hu5h" not in json.dumps(rendered(done))
    assert stub.calls() == []


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
    assert "secr3t" not in json.dumps(rendered(done))
    assert stub.calls() == []
