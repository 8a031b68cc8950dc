"""Tasks that wait in the triggerer: the trigger is run by Airflow, in line."""

import json
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.champions import Champions
from airflow_provider_distkeras.contract.artifacts.lease import Lease
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.hooks import monitor
from airflow_provider_distkeras.jobs.lease import LeaseWatch
from airflow_provider_distkeras.links.spark import HistoryServerLink
from airflow_provider_distkeras.operators import DistKerasPromoteOperator, DistKerasTrainOperator
from airflow_provider_distkeras.triggers import spark_application
from tests.fakes.resource_manager import APPLICATION
from tests.fixtures.dag_run import APRIL

pytestmark = pytest.mark.airflow


@pytest.fixture
def defer_there(prepare_on_yarn):
    """Makes a preprocess task that waits in the triggerer."""
    return lambda **more: prepare_on_yarn(**{"deferrable": True} | more)


@pytest.fixture
def deferrals(monkeypatch):
    """The arguments of each deferral."""
    from airflow.sdk.exceptions import TaskDeferred

    noted, init = [], TaskDeferred.__init__

    def note(self, **arguments):
        noted.append(arguments)
        init(self, **arguments)

    monkeypatch.setattr(TaskDeferred, "__init__", note)
    return noted


def test_result_and_asset_event_are_those_of_a_task_that_waits_itself(yarn, prepare_on_yarn, defer_there, run, root, deferrals):
    outlets = [Asset(name="bikes", uri="x://bikes")]
    waited = run(lambda: prepare_on_yarn(outlets=outlets))
    yarn.states = ["ACCEPTED", "RUNNING", "SUCCEEDED"]

    deferred = run(lambda: defer_there(outlets=outlets), logical_date=APRIL)

    assert deferred.state == "success"
    assert len(deferrals) == 1
    before, after = waited.xcoms("prepare")["return_value"], deferred.xcoms("prepare")["return_value"]
    assert before.keys() == after.keys()
    assert (before["rows"], after["rows"]) == (12, 12)
    event = deferred.asset_events()["bikes"]
    assert event.keys() == waited.asset_events()["bikes"].keys()
    assert (event["period"], event["uri"]) == ("2026-04-01T000000Z", after["dataset_path"])


def test_links_outlast_the_wait_and_the_state_is_kept(yarn, defer_there, run, monkeypatch, client, log_in):
    monkeypatch.setenv("AIRFLOW__DISTKERAS__HISTORY_SERVER", "http://history")

    done = run(defer_there)

    assert done.xcoms("prepare")[HistoryServerLink.KEY] == f"http://history/history/{APPLICATION}"
    path = f"/api/v2/dags/dag/dagRuns/{done.dag_run.run_id}/taskInstances/prepare/state-store/progress"
    assert client.get(path, headers=log_in("ADMIN")).json()["value"] == {"percent": 100, "stage": "done"}


def test_trigger_holds_only_the_name_of_the_connection(yarn, defer_there, run, root, deferrals):
    run(lambda: defer_there(execution_timeout=timedelta(hours=2)))

    (deferral,) = deferrals
    path, arguments = deferral["trigger"].serialize()
    assert path == "airflow_provider_distkeras.triggers.spark_application.SparkApplicationTrigger"
    assert (arguments["conn_id"], arguments["application_id"], arguments["lease_s"]) == ("yarn", APPLICATION, 600.0)
    assert yarn.url not in json.dumps(arguments)
    assert timedelta(hours=2) < deferral["timeout"] < timedelta(hours=2, minutes=1)
    (lease,) = root.rglob("_LEASE.json")
    assert Lease.read(lease.read_bytes()).seconds == 600


def test_job_of_a_task_that_is_marked_before_a_triggerer_takes_it_up_ends_with_its_lease(yarn, defer_there, run, monkeypatch):
    now, reasons = [0.0], []

    async def not_taken_up(trigger):
        watch = LeaseWatch(LocalStorage(), Attempt(**trigger.attempt), lambda: now[0])
        for now[0] in (0.0, 599.0, 601.0):
            reasons.append(watch.check())
        yield trigger._event("failed", "Marked.")

    monkeypatch.setattr(spark_application.SparkApplicationTrigger, "run", not_taken_up)
    run(defer_there)

    assert reasons == [None, None, "Nobody has waited for this job for 600 s, so it ends without a result."]


def test_task_without_a_timeout_waits_for_good(yarn, defer_there, run, deferrals):
    run(defer_there)

    assert deferrals[0]["timeout"] is None


def test_failure_has_the_cause_that_the_job_wrote_down(yarn, stub, defer_there, run):
    stub.mode("permanent")
    yarn.states = ["FAILED"]

    done = run(lambda: defer_there(retries=2))

    assert done.message == "The column 'temp' holds text."
    assert isinstance(done.errors[-1], AirflowFailException)
    assert len(stub.calls()) == 1


def test_failure_without_a_cause_is_retried(yarn, stub, defer_there, run, root):
    stub.mode("nothing")
    yarn.states, yarn.diagnostics = ["FAILED"], "AM Container was killed."

    done = run(lambda: defer_there(retries=1))

    assert f"The application {APPLICATION} ended without a result: FAILED. AM Container was killed." in done.message
    assert len(list(root.rglob("_ERROR.json"))) == 2  # an attempt that has ended hinders no other
    assert len(stub.calls()) == 2


def test_retry_reconnects_to_the_job(yarn, stub, defer_there, run, monkeypatch, deferrals):
    monkeypatch.setattr(monitor, "UNREACHABLE_S", -1)
    yarn.trouble = 503

    def mend(context):
        yarn.trouble, yarn.states = 0, ["RUNNING", "RUNNING", "SUCCEEDED"]

    done = run(lambda: defer_there(retries=1, on_retry_callback=mend))

    assert (done.state, len(stub.calls()), len(deferrals)) == ("success", 1, 2)
    assert done.xcoms("prepare")["rows"] == 12


def test_execution_timeout_kills_the_application(yarn, stub, defer_there, run, monkeypatch):
    stub.mode("nothing")
    yarn.states = ["RUNNING"]
    monkeypatch.setattr(spark_application, "time", SimpleNamespace(time=lambda: time.time() + 3700))

    done = run(lambda: defer_there(execution_timeout=timedelta(hours=1)))

    assert (done.state, yarn.kills) == ("failed", [APPLICATION])
    assert done.message == f"The application {APPLICATION} took longer than execution_timeout."


def test_client_mode_waits_itself(stub, prepare, run, deferrals, monkeypatch):
    done = run(lambda: prepare(deferrable=True))

    assert (done.state, deferrals) == ("success", [])


def test_credentials_of_an_argument_do_not_travel(yarn, prepare_on_yarn, run, deferrals):
    from requests.auth import HTTPBasicAuth

    done = run(lambda: prepare_on_yarn(deferrable=True, yarn_rm_auth=HTTPBasicAuth("ada", "secret")))

    assert (done.state, deferrals) == ("success", [])
    assert None not in yarn.authorizations


@pytest.mark.parametrize(("challenger", "state"), [(0.9, "success"), (0.7, "skipped")])
def test_promotion_moves_the_champion_or_skips(yarn, stub, defer_there, run, csv, root, challenger, state):
    def pipeline():
        trained = DistKerasTrainOperator(
            task_id="train", dataset_path=defer_there(deferrable=False).output["dataset_path"], artifact_root=str(root),
            hyperparameters={"layer_dims": [None, 8, 1]},
        )  # fmt: skip
        DistKerasPromoteOperator(
            task_id="promote", champion="bikes", model_path=trained.output["model_path"], input_path=str(csv),
            artifact_root=str(root), conn_id="yarn", deferrable=True, status_poll_interval=1,
        )  # fmt: skip

    run(pipeline)
    stub.metrics(challenger=challenger, champion=0.8)

    done = run(pipeline, logical_date=APRIL)

    champions = Champions(LocalStorage(), f"file://{root}", "bikes").history()
    assert done.states()["promote"] == state
    assert len(champions) == (2 if state == "success" else 1)
    assert done.xcoms("promote")["promoted"] == (state == "success")
