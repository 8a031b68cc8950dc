"""Airflow's UI as a person uses it: a real browser, a real Airflow, a real Spark."""

import json
from urllib.parse import quote

import pytest

from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.plugins.app import create_app
from airflow_provider_distkeras.plugins.tabs import URL_PREFIX

from .airflow_server import REPOSITORY, running, until
from .browser import chromium, require_chromium
from .rentals import write_months

pytestmark = [pytest.mark.spark, pytest.mark.airflow]

DAG_ID = "csv_to_scores"
TASKS = ("prepare", "train", "score")
EDITOR = "[role=dialog] .monaco-editor"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where this module's Airflow, data and artifacts are."""
    return tmp_path_factory.mktemp("ui")


@pytest.fixture(scope="module")
def airflow(place):
    require_chromium()
    write_months(place / "data")
    variables = {
        "AIRFLOW__DISTKERAS__ARTIFACT_ROOT": str(place / "artifacts"),
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[2]"}),
    }
    with running(place / "airflow", REPOSITORY / "example_dags", **variables) as server:
        until(lambda: server.has_parsed(DAG_ID), "The DAGs are parsed")
        yield server


@pytest.fixture
def browser(airflow, place):
    with chromium(airflow.url, place / "profile") as browser:
        browser.log_in("admin", airflow.passwords["admin"])
        yield browser


def trigger(browser, data):
    """Fill in the form of the Params, a section at a time, and send it; the run's id."""
    browser.open(f"/dags/{DAG_ID}")
    browser.click("[data-testid=trigger-dag-button]")
    browser.click_text("Network", "button")
    browser.write_list(EDITOR, "null, 16, 1")
    browser.click_text("Training", "button")
    browser.fill("input[name=element_num_folds]", "2")
    browser.click_text("Data", "button")
    browser.fill("#element_input_path", f"{data}/2026-03.csv")
    browser.fill("#element_new_path", f"{data}/new/*.csv")
    browser.picture("trigger-form", (1280, 1250))
    browser.click("[data-testid=trigger-dag-submit]")
    browser.wait(lambda: "/runs/" in browser.driver.current_url)
    return browser.driver.current_url.rsplit("/", 1)[1]


def test_from_the_form_to_the_report(airflow, browser, place):
    run_id = trigger(browser, place / "data")
    (run,) = airflow.runs(DAG_ID)
    train = f"dags/{DAG_ID}/dagRuns/{quote(run_id)}/taskInstances/train"

    assert run["conf"]["layer_dims"] == [None, 16, 1]
    assert run["conf"]["input_path"] == f"{place}/data/2026-03.csv"

    until(lambda: airflow.states(DAG_ID)[run_id, "train"] not in (None, "scheduled", "queued"), "The training starts")
    browser.open(f"/dags/{DAG_ID}/runs/{run_id}/tasks/train")
    browser.find_text("Running")
    browser.picture("running-task")
    until(lambda: {*airflow.states(DAG_ID).values()} <= {"success", "failed", "upstream_failed"}, "The run ends")

    assert airflow.states(DAG_ID) == {(run_id, task): "success" for task in TASKS}
    browser.find_text("Success")

    manifest_path = airflow.api("GET", f"{train}/xcomEntries/manifest_path")["value"]
    r2 = Manifest.read(LocalStorage(), manifest_path).result["metrics"]["r2"]
    browser.click_text("Training report", "a")
    with browser.frame("iframe[title='Training report']"):
        assert "Trained on " in browser.text()
        assert f"{r2['mean']:.4f}" in browser.text()
    browser.picture("training-report", (1280, 1250))

    browser.open(f"/dags/{DAG_ID}")
    browser.click_text("Model metrics", "a")
    with browser.frame("iframe[title='Model metrics']"):
        assert f"{r2['mean']:.4f} ± {r2['std']:.4f}" in browser.text()
        browser.click_text("report", "a")
        browser.wait(lambda: "Trained on " in browser.text())


@pytest.fixture
def pages():
    """The address of each of the plugin's pages."""
    paths = [route.path.format(dag_id=DAG_ID) for route in create_app().routes]
    return [f"{URL_PREFIX}{path}?run_id=any&task_id=train" for path in paths]


@pytest.mark.parametrize(("user", "statuses"), [(None, {401}), ("stranger", {403}), ("viewer", {200, 404})])
def test_only_who_may_read_the_dag_sees_the_pages(airflow, pages, user, statuses):
    assert len(pages) == 3
    assert {airflow.get(page, user).status_code for page in pages} == statuses
