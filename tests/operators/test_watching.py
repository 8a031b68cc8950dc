"""What a task shows of its job: links and progress while it runs, at the end why it failed, and no line without need."""

import json
import logging
from types import SimpleNamespace

import pytest
from airflow.sdk._shared.secrets_masker import SecretsMasker
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_distkeras.contract.artifacts.progress import PREFIX, BestTrial, Progress
from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.hooks import job_log, log_filter
from airflow_provider_distkeras.hooks.job_log import JobLog
from airflow_provider_distkeras.hooks.log_filter import LogFilter
from airflow_provider_distkeras.links.spark import HistoryServerLink, SparkUILink

HISTORY = "http://history.example.com:18080"
SEARCH = Progress(35, "search", 5, 12, "fits", 120300, best=BestTrial("r2", 0.9132, 3), eta_seconds=80)


@pytest.fixture
def progress(client, log_in):
    """How far a task of a run says its job is, as Airflow's own REST API tells it."""

    def ask(done, task_id="prepare"):
        run_id = done.dag_run.run_id
        path = f"/api/v2/dags/dag/dagRuns/{run_id}/taskInstances/{task_id}/state-store/progress"
        answer = client.get(path, headers=log_in("ADMIN"))
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]

    return ask


@pytest.mark.airflow
def test_progress_is_in_the_tasks_state_and_is_complete_at_the_end(stub, prepare, run, progress):
    stub.lines(SEARCH.to_line())

    assert progress(run(prepare)) == {"percent": 100, "stage": "done"}


@pytest.mark.airflow
def test_failed_task_says_why_in_its_state_and_above_the_stack_traces_of_its_log(stub, prepare, run, progress, capfd):
    stub.mode("permanent")
    done = run(prepare)

    told = "DataError: The column 'temp' holds text."
    assert progress(done) == {"percent": 40, "stage": "failed", "error": told}
    said = "".join(capfd.readouterr())
    assert said.index(f"[error    ] {told}") < said.index("Traceback (most recent call last)")


@pytest.mark.airflow
def test_what_is_refused_before_spark_is_told_in_the_state(stub, prepare, run, progress):
    assert progress(run(lambda: prepare(num_workers=0)))["error"].startswith("SpecError: num_workers: expected an integer")


@pytest.mark.airflow
@pytest.mark.parametrize("where", ["option", "connection"])
def test_history_server_has_a_page_of_the_application(stub, prepare, run, monkeypatch, where):
    monkeypatch.setenv("AIRFLOW__DISTKERAS__HISTORY_SERVER", HISTORY if where == "option" else "http://elsewhere")
    if where == "connection":
        connection = {"conn_type": "spark", "host": "local[2]", "extra": {"history-server": f"{HISTORY}/"}}
        monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps(connection))

    links = run(prepare).xcoms("prepare")

    assert links[HistoryServerLink.KEY] == f"{HISTORY}/history/local-1772323200000"
    assert links[SparkUILink.KEY] == "http://127.0.0.1:4040"


@pytest.mark.airflow
def test_history_server_must_be_an_address(stub, prepare, run, monkeypatch):
    monkeypatch.setenv("AIRFLOW__DISTKERAS__HISTORY_SERVER", "javascript:alert(1)")

    done = run(prepare)

    assert done.message.startswith("history_server: expected an address such as http://history.example.com:18080, received")
    assert stub.calls() == []


@pytest.fixture
def told(monkeypatch):
    """A job's output as the task follows it: what is written to the task's state, which links are shown, and the clock."""
    store, links, clock = [], {}, SimpleNamespace(now=0.0)
    monkeypatch.setattr(job_log.time, "monotonic", lambda: clock.now)
    followed = JobLog(
        logging.getLogger("task"),
        SimpleNamespace(set=lambda key, value: store.append((key, value))),
        lambda link, url: links.update({link.KEY: url}),
    )
    hook = SimpleNamespace(_yarn_application_id=None, _kubernetes_application_id=None)
    return SimpleNamespace(output=followed, store=store, links=links, clock=clock, hook=hook)


def test_state_is_written_every_few_seconds(told):
    def lines():
        for second in range(9):
            told.clock.now = second
            yield Progress(second, "reading").to_line()

    with told.output.report():
        read = list(told.output.read(lines(), told.hook))

    assert len(read) == 9
    assert [value["percent"] for key, value in told.store] == [0, 3, 6, 100]


def test_state_holds_what_the_line_says(told):
    list(told.output.read([SEARCH.to_line()], told.hook))

    assert told.store == [("progress", SEARCH.to_dict())]


def test_a_state_that_cannot_be_written_does_not_fail_the_task(told, caplog):
    def refuse(key, value):
        raise RuntimeError("no server")

    told.output._store.set = refuse
    with told.output.report():
        pass
    assert "The task's state could not be written: no server" in caplog.text


def test_secrets_are_masked_in_the_state_as_they_are_in_the_log(told, monkeypatch):
    masker = SecretsMasker()
    masker.add_mask("pa55word")
    monkeypatch.setattr(job_log, "redact", masker.redact)

    with pytest.raises(DataError), told.output.report():
        raise DataError("jdbc://me:pa55word@host does not answer")

    assert told.store[-1][1]["error"] == "DataError: jdbc://me:***@host does not answer"


def test_there_may_be_no_state(told):
    told.output._store = None
    with told.output.report():
        assert list(told.output.read([SEARCH.to_line()], told.hook)) == [f"{PREFIX}{SEARCH}"]


def test_in_cluster_mode_the_application_id_comes_from_what_spark_submit_says(told):
    told.output.history_server = HISTORY

    def lines():
        yield "Submitting"
        told.hook._yarn_application_id = "application_1772323200000_0007"
        yield "Submitted application application_1772323200000_0007"

    list(told.output.read(lines(), told.hook))

    assert told.links == {HistoryServerLink.KEY: f"{HISTORY}/history/application_1772323200000_0007"}
    assert told.store == [("progress", {"percent": 0, "stage": "running"})]


def test_a_task_that_is_skipped_is_done(told, caplog):
    with pytest.raises(AirflowSkipException), told.output.report():
        raise AirflowSkipException("Not promoted.")

    assert told.store[-1] == ("progress", {"percent": 100, "stage": "done"})
    assert caplog.records == []


@pytest.mark.parametrize(
    ("lines", "told_at_last"),
    [
        (['Exception in thread "main" java.lang.OutOfMemoryError'], "java.lang.OutOfMemoryError"),
        (
            ['Exception in thread "main" org.apache.spark.SparkException: No', "\tat X", "Caused by: java.io.IOException: full"],
            "java.io.IOException: full",
        ),
        (
            ["Traceback (most recent call last):", "ModuleNotFoundError: No module named 'keras'"],
            "ModuleNotFoundError: No module named 'keras'",
        ),
        (["spark ended"], "RuntimeError: Error code is: 1."),
    ],
)
def test_of_a_job_that_could_not_say_why_it_failed_the_last_error_counts(told, caplog, lines, told_at_last):
    list(told.output.read(lines, told.hook))
    with pytest.raises(RuntimeError), told.output.report():
        raise RuntimeError("Error code is: 1.\nand all the output")

    assert [record.getMessage() for record in caplog.records] == [told_at_last]


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: Using incubator modules: jdk.incubator.vector",
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
        "I0000 00:00:1795601046.631747   11384 port.cc:153] oneDNN custom operations are on. You may see slightly different numerical results",
        "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate compiler flags.",
    ],
)
def test_remarks_that_nobody_needs_are_left_out(told, line):
    assert list(told.output.read([line], told.hook)) == []


@pytest.mark.parametrize("level", ["W", "E"])
def test_what_a_native_library_tells_is_told_once(level):
    line = f"{level}0000 00:00:1795601047.589747   1138%d cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: %s\n"
    noisy = LogFilter()
    assert [noisy.drops(line % said) for said in ((4, "a"), (5, "a"), (6, "b"))] == [False, True, False]


def test_that_cuda_cannot_be_started_is_told_unless_it_is_told_that_there_is_none():
    there_is_none = (
        "I0000 00:00:1795601046.6 7 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be used."
    )
    error = (
        "E0000 00:00:1795601047.5 7 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed call to cuInit: %s"
    )
    missing, broken = error % "UNKNOWN ERROR (303)", error % "CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected (100)"
    alone, told = LogFilter(), LogFilter()
    assert [alone.drops(missing), alone.drops(broken)] == [False, False]
    assert [told.drops(there_is_none), told.drops(missing), told.drops(broken)] == [False, True, False]


def test_what_could_be_an_error_is_told(told):
    lines = ["26/11/25 10:02:57 WARN TaskSetManager: Lost task", "java.io.IOException: full", "Exception", ""]
    assert list(told.output.read([*lines, *lines], told.hook)) == [*lines, *lines]


@pytest.mark.airflow
def test_sparks_log_is_turned_down(stub, prepare, run):
    run(prepare)

    env = stub.calls()[0]["env"]
    assert env["SPARK_SUBMIT_OPTS"].startswith("-Dlog4j2.configurationFile=file:///")
    assert env["SPARK_SUBMIT_OPTS"].endswith("/hooks/log4j2.properties")
    assert env["TF_CPP_MIN_LOG_LEVEL"] == "1"


@pytest.mark.airflow
def test_what_the_user_says_of_logs_wins(stub, prepare, run):
    own = {"SPARK_SUBMIT_OPTS": "-Dlog4j2.configurationFile=mine.xml", "TF_CPP_MIN_LOG_LEVEL": "0"}
    run(lambda: prepare(env_vars=own))

    env = stub.calls()[0]["env"]
    assert {name: env[name] for name in own} == own


def test_other_options_of_java_are_kept():
    assert log_filter.quiet({"SPARK_SUBMIT_OPTS": "-Xss4m"}, None)["SPARK_SUBMIT_OPTS"].endswith("log4j2.properties -Xss4m")


@pytest.mark.parametrize("by_variable", [True, False])
def test_a_configuration_of_logs_beside_spark_wins(tmp_path, by_variable):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "log4j2.properties").touch()
    environ, home = ({"SPARK_CONF_DIR": str(tmp_path / "conf")}, None) if by_variable else ({}, tmp_path)
    assert "SPARK_SUBMIT_OPTS" not in log_filter.quiet(environ, home)
