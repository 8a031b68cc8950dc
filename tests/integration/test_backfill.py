"""Runs of every kind, backfills and cleared tasks, by Airflow's scheduler and executor. With a stub in place of Spark.

Where pictures are requested (see `browser`), Spark is real.
"""

import hashlib
import json
import os
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import committed, current
from airflow_provider_distkeras.contract.artifacts.champions import Champions
from airflow_provider_distkeras.contract.files.storage import LocalStorage, local_path
from airflow_provider_distkeras.contract.period import period_key
from tests.fakes.spark_installation import install_stub

from .airflow_server import REPOSITORY, running, until
from .browser import PICTURES, chromium, require_chromium
from .rentals import write_months

pytestmark = pytest.mark.airflow

DAG_ID = "monthly_retraining"
TASKS = ("prepare", "train", "promote")
MONTHS = [f"2026-{month:02d}" for month in range(3, 9)]
REAL_SPARK = bool(os.environ.get(PICTURES))
FINISHED = ("success", "failed")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where this module's Airflow, data and artifacts are."""
    return tmp_path_factory.mktemp("backfill")


@pytest.fixture(scope="module")
def airflow(place):
    """An Airflow that knows the example and the DAGs of the kinds of run."""
    require_chromium()
    write_months(place / "data")
    dags = place / "dags"
    dags.mkdir()
    for source in (REPOSITORY / "example_dags" / f"{DAG_ID}.py", Path(__file__).parent / "dags" / "run_kinds.py"):
        (dags / source.name).symlink_to(source)
    home, stub = install_stub(place / "stub")
    spark = (
        {"AIRFLOW_CONN_SPARK_DEFAULT": stub["AIRFLOW_CONN_SPARK_DEFAULT"]}
        if REAL_SPARK
        else {**stub, "PYTHONPATH": str(home.parent)}
    )
    options = {
        "AIRFLOW__DISTKERAS__ARTIFACT_ROOT": str(place / "artifacts"),
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": str(not REAL_SPARK),
        "DISTKERAS_DEMO_DATA": str(place / "data"),
    }
    with running(place / "airflow", dags, **spark, **options) as server:
        until(lambda: server.has_parsed(DAG_ID, "kinds_mapped"), "The DAGs are parsed")
        yield server


@pytest.fixture(scope="module")
def months(place):
    return Months(place)


class Months:
    """The artifacts of the example, month by month."""

    def __init__(self, place):
        self.place = place
        self.root = f"file://{place}/artifacts"
        self.data = place / "data"

    def path(self, month, task):
        return f"{self.root}/{DAG_ID}/{task}/period={month}-01T000000Z"

    def manifest(self, month, task):
        return committed(LocalStorage(), self.path(month, task))

    def attempts(self, month, task):
        """The names of its attempts, and which one counts."""
        folder = local_path(self.path(month, task))
        return sorted(path.name for path in folder.iterdir() if path.is_dir()), current(LocalStorage(), str(folder)).name

    def spec(self, month, task):
        attempt = current(LocalStorage(), self.path(month, task))
        return json.loads(local_path(attempt.spec_path).read_text())["spec"]

    def digest(self, month):
        """Of all that a month has, names and contents."""
        digest = hashlib.sha256()
        for task in TASKS:
            folder = local_path(self.path(month, task))
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
        return digest.hexdigest()

    def champions(self):
        return Champions(LocalStorage(), self.root, "bikes").history()


def backfill(airflow, month, **conf):
    """Run a month again with other parameters, and return its finished run."""
    listed = f"backfills?dag_id={DAG_ID}"  # a DAG has one at a time, and the scheduler looks every half minute whether it is over
    until(lambda: all(each["completed_at"] for each in airflow.api("GET", listed)["backfills"]), "The last backfill is over")
    options = {"max_active_runs": 4, "reprocess_behavior": "completed", "dag_run_conf": by_month(airflow)[month]["conf"] | conf}
    dates = {"from_date": f"{month}-01T00:00:00Z", "to_date": f"{month}-01T00:00:00Z"}
    airflow.api("POST", "backfills", {"dag_id": DAG_ID, **dates, **options})
    until(lambda: by_month(airflow)[month]["state"] in FINISHED, lambda: str(airflow.states(DAG_ID)))
    return by_month(airflow)[month]


def by_month(airflow):
    """The runs that a backfill has made, by month."""
    return {run["logical_date"][:7]: run for run in airflow.runs(DAG_ID) if run["run_type"] == "backfill"}


def fill_in_and_run(browser, airflow, months):
    """The form of a backfill."""
    browser.log_in("admin", airflow.passwords["admin"])
    browser.open(f"/dags/{DAG_ID}")
    browser.click("[data-testid=trigger-dag-button]")
    browser.click("label[id$='radio:backfill']")
    browser.pick_date(0, f"{MONTHS[0].replace('-', '/')}/01")
    browser.pick_date(1, f"{MONTHS[-1].replace('-', '/')}/01")
    browser.fill("input[name=max_active_runs]", "4")
    browser.click_text("Override parameters on existing runs", "label")
    browser.fill("#element_input_path", f"{months.data}/{{month}}.csv")
    browser.find_text("6 runs will be triggered.")
    browser.picture("backfill-form", (1280, 1250))
    browser.click_text("Run Backfill", "button")


def look_around(browser):
    """Pictures of what the backfill has left."""
    browser.open(f"/dags/{DAG_ID}/plugin/distkeras-metrics")
    browser.find("iframe[title='Model metrics']")
    browser.picture("model-metrics")


@pytest.fixture(scope="module")
def backfilled(airflow, months, place):
    """Six months, by the form in the UI: the most runs that were active at the same time, and each task's attempts."""
    with chromium(airflow.url, place / "profile") as browser:
        fill_in_and_run(browser, airflow, months)
        most = 0

        def done():
            nonlocal most
            states = [run["state"] for run in by_month(airflow).values()]
            most = max(most, states.count("running"))
            return len(states) == len(MONTHS) and set(states) <= set(FINISHED)

        until(done, lambda: f"The six months: {airflow.states(DAG_ID)}")
        if REAL_SPARK:
            look_around(browser)
    return most, [months.attempts(month, task)[0] for month in MONTHS for task in TASKS]


def test_six_months_are_trained_each_on_its_own_data_four_at_a_time(airflow, months, backfilled):
    most, attempts = backfilled

    assert {month: run["state"] for month, run in by_month(airflow).items()} == dict.fromkeys(MONTHS, "success")
    assert most == 4
    assert {len(names) for names in attempts} == {1}
    for month in MONTHS:
        prepared, trained = (months.manifest(month, task).result for task in ("prepare", "train"))
        assert [*months.manifest(month, "prepare").inputs] == [f"file://{months.data}/{month}.csv"]
        assert f"/prepare/period={month}-01T000000Z/" in prepared["dataset_path"]
        assert months.spec(month, "train")["dataset_path"] == prepared["dataset_path"]
        assert f"/train/period={month}-01T000000Z/" in trained["model_path"]


def test_a_backfill_moves_the_champion_forward_only(months, backfilled):
    periods = [champion.period for champion in months.champions()]

    assert periods == sorted(periods)
    assert periods
    if not REAL_SPARK:  # of the stub, a challenger always beats the champion
        assert periods[-1] == f"{MONTHS[-1]}-01T000000Z"


def test_a_month_reprocessed_with_other_hyperparameters_is_trained_with_them(airflow, months, backfilled):
    month, others = "2026-04", [other for other in MONTHS if other != "2026-04"]
    before, digests = months.attempts(month, "train"), [months.digest(other) for other in others]
    run = by_month(airflow)[month]
    again = backfill(airflow, month, num_epoch=3)

    attempts, shown = months.attempts(month, "train")
    assert (again["dag_run_id"], again["state"]) == (run["dag_run_id"], "success")
    assert len(attempts) == len(before[0]) + 1
    assert shown == attempts[-1] != before[1]
    assert months.spec(month, "train")["trainer_params"]["num_epoch"] == 3
    assert [months.digest(other) for other in others] == digests


def test_a_month_that_is_done_is_reused_without_spark(airflow, months, backfilled):
    month = "2026-05"
    before = [months.attempts(month, task) for task in ("prepare", "train")]

    assert backfill(airflow, month, if_exists="reuse")["state"] == "success"
    assert [months.attempts(month, task) for task in ("prepare", "train")] == before


def test_a_succeeded_task_that_is_cleared_runs_again(airflow, months, backfilled):
    month = "2026-06"
    run = by_month(airflow)[month]
    before = months.attempts(month, "train")
    where = {"dag_run_id": run["dag_run_id"], "task_ids": ["train"], "only_failed": False, "dry_run": False}
    airflow.api("POST", f"dags/{DAG_ID}/clearTaskInstances", where)
    until(lambda: months.attempts(month, "train")[1] != before[1], lambda: str(airflow.states(DAG_ID, run["dag_run_id"])))
    until(lambda: by_month(airflow)[month]["state"] in FINISHED, lambda: str(airflow.states(DAG_ID, run["dag_run_id"])))

    attempts, shown = months.attempts(month, "train")
    assert (len(attempts), shown) == (len(before[0]) + 1, attempts[-1])


@pytest.fixture(scope="module")
def kinds(airflow):
    """A run of each kind has ended: per kind, the run and the paths of what its task returned."""
    for dag_id in ("kinds_dated", "kinds_partitioned", "kinds_on_asset", "kinds_mapped"):
        airflow.api("PATCH", f"dags/{dag_id}", {"is_paused": False})
    dates = {"from_date": "2026-03-01T00:00:00Z", "to_date": "2026-04-01T00:00:00Z"}
    for dag_id in ("kinds_dated", "kinds_partitioned"):
        airflow.api("POST", "backfills", {"dag_id": dag_id, **dates})
    airflow.api("POST", "dags/kinds_dated/dagRuns", {"logical_date": "2026-02-01T00:00:00Z"})
    airflow.api("POST", "dags/kinds_dated/dagRuns", {"logical_date": None})
    airflow.api("POST", "dags/kinds_mapped/dagRuns", {"logical_date": "2026-02-01T00:00:00Z"})
    expected = {
        ("kinds_dated", "scheduled"), ("kinds_dated", "backfill"), ("kinds_dated", "manual"), ("kinds_mapped", "manual"),
        ("kinds_partitioned", "backfill"), ("kinds_on_asset", "asset_triggered"),
    }  # fmt: skip

    def ended():
        runs = airflow.runs("~")
        kinds = defaultdict(list)
        for run in runs:
            if run["dag_id"].startswith("kinds_"):
                kinds[run["dag_id"], run["run_type"]].append(run)
        done = all(run["state"] in FINISHED for each in kinds.values() for run in each)
        counts = len(kinds[("kinds_dated", "manual")]) == 2
        return kinds if expected <= set(kinds) and done and counts else None

    return until(ended, lambda: str([(run["dag_run_id"], run["state"]) for run in airflow.runs("~")]))


def periods(airflow, run):
    """The periods that the run's artifacts are filed under, one per task instance."""
    where = f"dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances"
    values = []
    for ti in airflow.api("GET", where)["task_instances"]:
        xcom = airflow.api("GET", f"{where}/{ti['task_id']}/xcomEntries/dataset_path?map_index={ti['map_index']}")["value"]
        index = f"/{ti['map_index']}" if ti["map_index"] >= 0 else ""
        assert f"/{run['dag_id']}/{ti['task_id']}{index}/period=" in xcom
        values.append(xcom.split("/period=")[1].split("/")[0])
    return values


def as_period(moment):
    return period_key(None, None, datetime.fromisoformat(moment))


def test_a_run_with_a_logical_date_is_about_that_date(airflow, kinds):
    for kind in ("scheduled", "backfill", "manual"):
        for run in kinds["kinds_dated", kind]:
            if run["logical_date"] is not None:
                assert periods(airflow, run) == [as_period(run["logical_date"])]
    assert {run["logical_date"][:10] for run in kinds["kinds_dated", "backfill"]} == {"2026-03-01", "2026-04-01"}


def test_a_run_without_a_logical_date_is_about_when_it_was_due(airflow, kinds):
    (manual,) = (run for run in kinds["kinds_dated", "manual"] if run["logical_date"] is None)
    on_asset = kinds["kinds_on_asset", "asset_triggered"]

    assert {run["logical_date"] for run in on_asset} == {None}
    for run in (manual, *on_asset):
        assert periods(airflow, run) == [as_period(run["run_after"])]


def test_a_run_of_a_partition_is_about_that_partition(airflow, kinds):
    runs = kinds["kinds_partitioned", "backfill"]

    assert {run["logical_date"] for run in runs} == {None}
    assert [run["partition_key"] for run in runs] == ["2026-03-01T00:00:00", "2026-04-01T00:00:00"]
    for run in runs:
        assert periods(airflow, run) == [period_key(run["partition_key"], None, datetime.now(UTC))]


def test_mapped_tasks_of_a_run_are_about_the_same_period(airflow, kinds):
    (run,) = kinds["kinds_mapped", "manual"]

    assert periods(airflow, run) == ["2026-02-01T000000Z"] * 2


def test_every_kind_of_run_succeeds(kinds):
    assert {run["state"] for runs in kinds.values() for run in runs} == {"success"}
