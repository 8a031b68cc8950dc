"""The links, the progress and the log of a task, with a stub in place of Spark."""

import json

import pytest

from airflow_provider_distkeras.contract.artifacts.progress import BestTrial, Progress
from airflow_provider_distkeras.links.spark import HistoryServerLink, SparkUILink

HISTORY = "http://history.example.com:18080"
SEARCH = Progress(35, "search", 5, 12, "fits", 120300, best=BestTrial("r2", 0.9132, 3), eta_seconds=80)


@pytest.fixture
def progress(client, log_in):
    """The progress in the state of a run's task, from Airflow's own REST API."""

    def read(done, task_id="prepare"):
        run_id = done.dag_run.run_id
        path = f"/api/v2/dags/dag/dagRuns/{run_id}/taskInstances/{task_id}/state-store/progress"
        answer = client.get(path, headers=log_in("ADMIN"))
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]

    return read


@pytest.mark.airflow
def test_progress_is_in_the_tasks_state_and_is_complete_at_the_end(stub, prepare, run, progress):
    stub.lines(SEARCH.to_line())

    assert progress(run(prepare)) == {"percent": 100, "stage": "done"}


@pytest.mark.airflow
def test_the_cause_of_a_failure_is_in_the_state_and_above_the_stack_traces_in_the_log(stub, prepare, run, progress, capfd):
    stub.mode("permanent")
    done = run(prepare)

    cause = "DataError: The column 'temp' holds text."
    assert progress(done) == {"percent": 40, "stage": "failed", "error": cause}
    log = "".join(capfd.readouterr())
    assert log.index(f"[error    ] {cause}") < log.index("Traceback (most recent call last)")


@pytest.mark.airflow
def test_an_error_before_the_submission_is_in_the_state(stub, prepare, run, progress):
    assert progress(run(lambda: prepare(num_workers="{{ 0 }}")))["error"].startswith(
        "SpecError: num_workers: expected an integer"
    )


@pytest.mark.airflow
@pytest.mark.parametrize("where", ["option", "connection"])
def test_history_server_has_a_page_of_the_application(stub, prepare, run, monkeypatch, where, pushed_links):
    monkeypatch.setenv("AIRFLOW__DISTKERAS__HISTORY_SERVER", HISTORY if where == "option" else "http://elsewhere")
    if where == "connection":
        connection = {"conn_type": "spark", "host": "local[2]", "extra": {"history-server": f"{HISTORY}/"}}
        monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps(connection))

    links = run(prepare).xcoms("prepare")

    assert links[HistoryServerLink.KEY] == f"{HISTORY}/history/local-1772323200000"
    assert (SparkUILink.KEY, "http://127.0.0.1:4040") in pushed_links


@pytest.mark.airflow
@pytest.mark.parametrize("mode", ["commit", "killed"])
def test_the_link_to_the_spark_ui_goes_when_the_job_ends(stub, prepare, run, pushed_links, mode):
    """The next application on the machine, a stranger's, may have its port."""
    stub.lines(SEARCH.to_line())
    stub.mode(mode)

    assert run(prepare).xcoms("prepare")[SparkUILink.KEY] == ""
    assert (SparkUILink.KEY in dict(pushed_links)) == (mode == "commit")


@pytest.mark.airflow
def test_history_server_must_be_an_address(stub, prepare, run, monkeypatch):
    monkeypatch.setenv("AIRFLOW__DISTKERAS__HISTORY_SERVER", "javascript:alert(1)")

    done = run(prepare)

    assert done.message.startswith("history_server: expected an address such as http://history.example.com:18080, received")
    assert stub.calls() == []


@pytest.mark.airflow
def test_sparks_log_is_turned_down(stub, prepare, run):
    run(prepare)

    env = stub.calls()[0]["env"]
    assert env["SPARK_SUBMIT_OPTS"].startswith("-Dlog4j2.configurationFile=file:///")
    assert env["SPARK_SUBMIT_OPTS"].endswith("/hooks/log4j2.properties")
    assert env["TF_CPP_MIN_LOG_LEVEL"] == "1"


@pytest.mark.airflow
def test_log_settings_of_the_user_take_precedence(stub, prepare, run):
    own = {"SPARK_SUBMIT_OPTS": "-Dlog4j2.configurationFile=mine.xml", "TF_CPP_MIN_LOG_LEVEL": "0"}
    run(lambda: prepare(env_vars=own))

    env = stub.calls()[0]["env"]
    assert {name: env[name] for name in own} == own
