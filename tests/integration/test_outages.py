"""Airflow on PostgreSQL whose parts are killed while jobs run: nothing is lost, nothing done twice, no job left running."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import committed, current
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.files.storage import LocalStorage, local_path
from tests.fakes.spark_installation import install_stub
from tests.fakes.yarn_cluster import yarn_cluster

from .airflow_server import REPOSITORY, SQL_ALCHEMY_CONN, running, until
from .postgresql import postgresql, require_postgresql

pytestmark = pytest.mark.airflow

FINISHED = ("success", "failed")
#: How soon Airflow notices that a component is dead. Less than 30 s, its own default, and one on a busy machine is taken for dead.
SOON = {
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    require_postgresql()
    return tmp_path_factory.mktemp("outages")


@pytest.fixture(scope="module")
def cluster():
    with yarn_cluster(PYTHONPATH=str(REPOSITORY)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def airflow(place, cluster):
    """An Airflow whose jobs are held."""
    (place / "in.csv").write_text("a,label\n1,2\n3,4\n")
    (place / "dags").mkdir()
    (place / "dags" / "held.py").symlink_to(Path(__file__).parent / "dags" / "held.py")
    home, stub = install_stub(place / "stub", REPOSITORY / "tests" / "fakes" / "held_job.py")
    extra = {"deploy-mode": "cluster", "yarn_resourcemanager_webapp_address": cluster.url}
    more = {
        "AIRFLOW__DISTKERAS__ARTIFACT_ROOT": str(place / "artifacts"),
        "AIRFLOW_CONN_YARN": json.dumps({"conn_type": "spark", "host": "yarn", "extra": extra}),
        "HELD_CLUSTER": cluster.url,
        "HELD_INPUT": str(place / "in.csv"),
        "PYTHONPATH": os.pathsep.join([str(home.parent), str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
    }
    with (
        postgresql() as url,
        running(place / "airflow", place / "dags", triggerer=True, **stub, **SOON, **more, **{SQL_ALCHEMY_CONN: url}) as server,
    ):
        until(lambda: server.has_parsed("held_deferred", "held_waiting"), "The DAGs are parsed")
        for dag_id in ("held_deferred", "held_waiting"):
            server.api("PATCH", f"dags/{dag_id}", {"is_paused": False})
        yield server


@pytest.fixture
def runs(airflow, cluster, place):
    """Starts runs of a DAG; each has a job that is held."""
    cluster.released.clear()
    return Runs(airflow, cluster, place / "artifacts")


class Runs:
    """The runs of a DAG, a month each, with their jobs and artifacts."""

    def __init__(self, airflow, cluster, root):
        self.airflow, self.cluster, self.root = airflow, cluster, root
        self.ids = {}

    def start(self, dag_id, *months):
        self.dag_id, before = dag_id, len(self.cluster.running())
        for month in months:
            run = self.airflow.api("POST", f"dags/{dag_id}/dagRuns", {"logical_date": f"{month}-01T00:00:00Z"})
            self.ids[month] = run["dag_run_id"]
        state = "deferred" if dag_id == "held_deferred" else "running"
        self.until(lambda: len(self.cluster.running()) == before + len(months) and set(self.states()) == {state})
        self.until(lambda: self.cluster.looked_at == {*self.cluster.applications})  # the triggerer has taken the tasks up

    def states(self):
        states = self.airflow.states(self.dag_id)
        return [states.get((run_id, "prepare")) for run_id in self.ids.values()]

    def until(self, condition):
        until(condition, lambda: f"{self.states()}, jobs {self.cluster.begun}, run {self.cluster.running()}", 200)

    def release(self):
        self.cluster.released.set()
        self.until(lambda: all(state in FINISHED for state in self.states()))

    def begun(self, month):
        """How many jobs of a month have begun."""
        return sum(f"/{self.dag_id}/" in spec and f"period={month}-01T" in spec for _, spec in self.cluster.begun)

    def committed(self, month):
        """The manifests of a month, and whether the one that is shown is the newest."""
        folder = self.root / self.dag_id / "prepare" / f"period={month}-01T000000Z"
        manifests = sorted(folder.glob(f"*/{Manifest.FILE_NAME}"))
        if manifests:
            assert committed(LocalStorage(), f"file://{folder}") is not None
            assert local_path(current(LocalStorage(), f"file://{folder}").path) == manifests[-1].parent
        return len(manifests)


def test_a_deferred_task_that_is_marked_failed_ends_its_application(airflow, cluster, runs):
    runs.start("held_deferred", "2026-01")
    where = f"dags/held_deferred/dagRuns/{runs.ids['2026-01']}/taskInstances/prepare"

    airflow.api("PATCH", where, {"new_state": "failed"})

    runs.until(lambda: not cluster.running())
    assert (runs.states(), runs.begun("2026-01"), runs.committed("2026-01")) == (["failed"], 1, 0)


def test_a_scheduler_and_a_triggerer_that_are_killed_and_started_again_lose_no_task_and_leave_no_job_twice(
    airflow, cluster, runs
):
    """One test, for Airflow takes half a minute to see that either is dead."""
    deferred, waiting = runs, Runs(airflow, cluster, runs.root)
    deferred.start("held_deferred", "2026-02", "2026-03")
    waiting.start("held_waiting", "2026-01", "2026-02")
    killed, log = len(cluster.killed), airflow.home / "scheduler.log"
    resets = log.read_text().count("orphaned TaskInstances:")

    for component in ("triggerer", "scheduler"):
        airflow.components.kill(component)
        airflow.components.start(component)
    # Airflow takes the tasks that wait themselves for orphans and runs them again; their first jobs must have ended then.
    waiting.until(lambda: log.read_text().count("orphaned TaskInstances:") > resets)
    waiting.until(lambda: [waiting.begun(month) for month in waiting.ids] == [2, 2] and len(cluster.running()) == 4)
    waiting.release()
    deferred.release()

    assert (deferred.states(), waiting.states()) == (["success"] * 2, ["success"] * 2)
    assert [(deferred.begun(month), deferred.committed(month)) for month in deferred.ids] == [(1, 1)] * 2
    assert [waiting.committed(month) for month in waiting.ids] == [1, 1]
    assert len(cluster.killed) == killed
    waiting.until(lambda: not cluster.running())


def test_two_backfills_of_the_same_months_run_each_month_once(airflow, cluster, runs):
    runs.dag_id = "held_waiting"
    cluster.released.set()

    def backfill(dates):
        body = {"dag_id": runs.dag_id, "from_date": f"{dates[0]}-01T00:00:00Z", "to_date": f"{dates[1]}-01T00:00:00Z"}
        try:
            return bool(airflow.api("POST", "backfills", {**body, "max_active_runs": 4}))
        except AssertionError as error:
            if f": {httpx.codes.CONFLICT.value} " not in str(error):
                raise
            return False

    with ThreadPoolExecutor() as pool:
        accepted = [*pool.map(backfill, [("2026-04", "2026-06"), ("2026-05", "2026-07")])]
    months = [f"2026-0{month}" for month in range(4, 8)][slice(0 if accepted[0] else 1, None if accepted[1] else 3)]

    def finished():
        ended = {run["logical_date"][:7]: run["state"] for run in airflow.runs(runs.dag_id) if run["run_type"] == "backfill"}
        return ended if {*ended} == {*months} and {*ended.values()} <= {*FINISHED} else None

    ended = until(finished, lambda: f"{accepted}, {airflow.states(runs.dag_id)}", 120)
    assert any(accepted)
    assert {*ended.values()} == {"success"}
    assert [(runs.begun(month), runs.committed(month)) for month in months] == [(1, 1)] * len(months)
    assert cluster.running() == []
