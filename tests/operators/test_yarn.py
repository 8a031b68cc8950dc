"""Tasks in YARN's cluster mode, with a ResourceManager on the loopback and a stub in place of spark-submit."""

import json
import os
import signal
import threading
import time
from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_distkeras.contract.artifacts.lease import Lease
from airflow_provider_distkeras.hooks import monitor, termination
from tests.fakes.resource_manager import APPLICATION

from .test_execution import confs, request_of

pytestmark = pytest.mark.airflow


def lease_of(root):
    (path,) = root.rglob("_LEASE.json")
    return Lease.read(path.read_bytes())


def test_result_is_that_of_the_manifest(yarn, stub, prepare_on_yarn, run, root):
    yarn.states = ["ACCEPTED", "RUNNING", "SUCCEEDED"]

    done = run(prepare_on_yarn)

    assert done.state == "success"
    assert done.xcoms("prepare")["rows"] == 12
    assert yarn.looks == 3
    (call,) = stub.calls()
    assert confs(call["argv"])["spark.yarn.submit.waitAppCompletion"] == "false"
    assert confs(call["argv"])["spark.yarn.maxAppAttempts"] == "1"
    assert "DISTKERAS_SUBMITTERS" not in call["env"]
    assert lease_of(root) == Lease(120.0)


def test_lease_outlasts_what_a_retry_waits_for(yarn, prepare_on_yarn, run, root):
    run(lambda: prepare_on_yarn(retries=2, retry_delay=timedelta(minutes=30)))

    assert lease_of(root).seconds == 120 + 300 + 1800


@pytest.mark.parametrize("states", [["RUNNING", "SUCCEEDED"], ["SUCCEEDED"]], ids=["running", "succeeded"])
def test_retry_reconnects_to_a_finished_job_and_has_its_result(yarn, stub, prepare_on_yarn, run, monkeypatch, states):
    monkeypatch.setattr(monitor, "UNREACHABLE_S", -1)
    yarn.trouble = 503

    def mend(context):
        yarn.trouble, yarn.states = 0, list(states)

    done = run(lambda: prepare_on_yarn(retries=1, on_retry_callback=mend))

    assert done.state == "success"
    assert len(stub.calls()) == 1
    assert done.xcoms("prepare")["return_value"]["rows"] == 12
    assert request_of(stub.calls()[0])["attempt"]["name"] in done.xcoms("prepare")["manifest_path"]


@pytest.mark.parametrize("retries", [1, 0], ids=["as_before", "fewer_retries_than_before"])
def test_clearing_a_succeeded_task_really_runs_it_again(yarn, stub, prepare_on_yarn, run, retries):
    done = run(lambda: prepare_on_yarn(retries=1))
    yarn.states = ["RUNNING", "SUCCEEDED"]

    state = done.clear_and_run("prepare", retries)

    assert (state, len(stub.calls())) == ("success", 2)
    assert request_of(stub.calls()[1])["attempt"]["name"] in done.xcoms("prepare")["manifest_path"]


@pytest.mark.parametrize("state", ["FAILED", "unknown"])
def test_retry_of_a_job_without_a_result_is_a_new_attempt(yarn, stub, prepare_on_yarn, run, monkeypatch, state):
    stub.mode("nothing")
    yarn.states = [state]

    def mend(context):
        monkeypatch.setenv("STUB_MODE", "commit")
        yarn.states = [state, "SUCCEEDED"]

    done = run(lambda: prepare_on_yarn(retries=1, on_retry_callback=mend))

    assert done.state == "success"
    assert len(stub.calls()) == 2
    assert request_of(stub.calls()[1])["attempt"]["name"] in done.xcoms("prepare")["manifest_path"]


def test_success_without_a_manifest_is_a_failure_that_a_retry_can_mend(yarn, stub, prepare_on_yarn, run, monkeypatch):
    stub.mode("nothing")
    messages = []

    def mend(context):
        messages.append(str(context["exception"]))
        monkeypatch.setenv("STUB_MODE", "commit")

    done = run(lambda: prepare_on_yarn(retries=1, on_retry_callback=mend))

    assert messages[0].startswith("There is no manifest at file://")
    assert (done.state, len(stub.calls())) == ("success", 2)


def test_attempt_whose_application_ended_without_a_word_hinders_no_other(yarn, stub, prepare_on_yarn, run, root):
    stub.mode("nothing")
    yarn.states = ["FAILED"]
    run(prepare_on_yarn)

    (failure,) = root.rglob("_ERROR.json")
    assert f"The application {APPLICATION} ended without a result" in json.loads(failure.read_text())["message"]


def test_driver_that_was_killed_after_its_manifest_has_a_result_and_is_the_current_one(yarn, stub, prepare_on_yarn, run, root):
    run(prepare_on_yarn)
    stub.mode("commit_crash")  # without CURRENT
    yarn.states = ["FAILED"]
    done = run(prepare_on_yarn)

    (current,) = root.rglob("CURRENT")
    assert done.state == "success"
    assert json.loads(current.read_text())["attempt"] in done.xcoms("prepare")["manifest_path"]


def test_application_that_may_still_run_is_not_given_up(yarn, prepare_on_yarn, run, root, monkeypatch):
    monkeypatch.setattr(monitor, "UNREACHABLE_S", -1)
    yarn.trouble = 503
    assert run(prepare_on_yarn).state == "failed"
    assert list(root.rglob("_ERROR.json")) == []


def test_failure_has_the_diagnostics_of_yarn_and_the_command_for_its_log(yarn, stub, prepare_on_yarn, run):
    stub.mode("nothing")
    yarn.states, yarn.diagnostics = ["FAILED"], "Container is running beyond the 'PHYSICAL' memory limit."

    done = run(prepare_on_yarn)

    assert done.message == (
        f"The application {APPLICATION} ended without a result: FAILED. Container is running beyond the 'PHYSICAL' memory limit. "
        f"Its log: yarn logs -applicationId {APPLICATION}"
    )


def test_permanent_error_is_reported_and_not_retried(yarn, stub, prepare_on_yarn, run):
    stub.mode("permanent")
    yarn.states = ["FAILED"]

    done = run(lambda: prepare_on_yarn(retries=2))

    assert done.message == "The column 'temp' holds text."
    assert isinstance(done.errors[-1], AirflowFailException)
    assert len(stub.calls()) == 1


def test_cluster_that_is_unreachable_for_long_is_reported_and_retried(yarn, prepare_on_yarn, run, monkeypatch):
    monkeypatch.setattr(monitor, "UNREACHABLE_S", -1)
    yarn.trouble = 401

    done = run(lambda: prepare_on_yarn(retries=1))

    assert len(done.errors) == 2
    assert f"YARN's ResourceManager refuses GET {yarn.url}/ws/v1/cluster/apps/{APPLICATION}: HTTP 401" in done.message


def test_a_cluster_that_is_unreachable_for_a_while_is_waited_for(yarn, stub, prepare_on_yarn, run):
    yarn.trouble = 503

    def recover():
        yarn.looked_at.wait()
        yarn.trouble = 0

    yarn.states = ["RUNNING", "RUNNING", "SUCCEEDED"]
    with_trouble = threading.Thread(target=recover, daemon=True)
    with_trouble.start()
    done = run(prepare_on_yarn)
    with_trouble.join()

    assert (done.state, len(done.errors), len(stub.calls())) == ("success", 0, 1)


def strike_once_asked(yarn, took, signal_number=signal.SIGTERM):
    """Send this process a signal while it waits for YARN; record in `took` the seconds until the application is killed."""

    def strike():
        yarn.looked_at.wait()
        started = time.monotonic()
        os.kill(os.getpid(), signal_number)
        while not yarn.kills and time.monotonic() - started < 10:
            time.sleep(0.01)
        took.append(time.monotonic() - started)

    thread = threading.Thread(target=strike, daemon=True)
    thread.start()
    return thread


# Airflow ends a task by the one; it raises the other when execution_timeout is over.
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGALRM], ids=["killed", "execution_timeout"])
def test_task_that_ends_early_kills_the_application(yarn, stub, prepare_on_yarn, run, root, keep_sigterm, signal_number):
    stub.mode("nothing")
    yarn.states, took = ["RUNNING"], []
    striker = strike_once_asked(yarn, took, signal_number)

    done = run(lambda: prepare_on_yarn(execution_timeout=timedelta(hours=1)))
    striker.join()

    assert (done.state, yarn.kills) == ("failed", [APPLICATION])
    assert took[0] < termination.KILL_S
    assert not lease_of(root).revoked


def test_retry_that_reconnected_to_the_job_kills_it_too(yarn, stub, prepare_on_yarn, run, monkeypatch, keep_sigterm):
    monkeypatch.setattr(monitor, "UNREACHABLE_S", -1)
    yarn.trouble, took, killers = 503, [], []

    def mend(context):
        yarn.trouble, yarn.states = 0, ["RUNNING"]
        yarn.looked_at.clear()
        killers.append(strike_once_asked(yarn, took))

    stub.mode("nothing")
    done = run(lambda: prepare_on_yarn(retries=1, on_retry_callback=mend))
    killers[0].join()

    assert (done.state, yarn.kills, len(stub.calls())) == ("failed", [APPLICATION], 1)


def test_application_that_ignores_a_kill_is_ended_by_its_lease(yarn, stub, prepare_on_yarn, run, root, monkeypatch, keep_sigterm):
    monkeypatch.setattr(termination, "KILL_S", 0.5)
    stub.mode("nothing")
    yarn.states, yarn.ignores_kills = ["RUNNING"], True
    killer = strike_once_asked(yarn, [])

    done = run(prepare_on_yarn)
    killer.join()

    assert done.message == "The task was killed, and its job with it."
    assert lease_of(root).revoked


@pytest.mark.parametrize(
    ("extra", "arguments", "message"),
    [
        ({}, {}, "set its address, such as http://rm.example.com:8088, in the extra of the connection 'yarn'"),
        (
            {"yarn_resourcemanager_webapp_address": "rm:8088"},
            {"conf": {"spark.yarn.submit.waitAppCompletion": "true"}},
            "conf: expected no spark.yarn.submit.waitAppCompletion=true",
        ),
        (
            {"yarn_resourcemanager_webapp_address": "rm:8088"},
            {"keytab": "/etc/airflow.keytab", "principal": "airflow"},
            "`requests-kerberos` is not installed",
        ),
    ],
)
def test_settings_that_cluster_mode_lacks_are_named_before_spark_starts(
    stub, prepare_on_yarn, run, monkeypatch, extra, arguments, message
):
    connection = {"conn_type": "spark", "host": "yarn", "extra": {"deploy-mode": "cluster", **extra}}
    monkeypatch.setenv("AIRFLOW_CONN_YARN", json.dumps(connection))

    done = run(lambda: prepare_on_yarn(retries=2, **arguments))

    assert message in done.message
    assert isinstance(done.errors[-1], AirflowFailException)
    assert stub.calls() == []
