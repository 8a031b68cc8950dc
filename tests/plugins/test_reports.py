"""A task instance's report over HTTP from Airflow's own API server."""

import json
import os
import shutil
import threading

import pytest

from airflow_provider_distkeras.contract.files.storage import local_path
from airflow_provider_distkeras.links.training_report import TrainingReportLink
from airflow_provider_distkeras.operators import DistKerasTrainOperator
from airflow_provider_distkeras.plugins import app, reports
from airflow_provider_distkeras.plugins.threads import PageThreads

pytestmark = pytest.mark.airflow


@pytest.fixture
def pipeline(prepare, root):
    """Return a function that makes a preprocess and a train task."""

    def make(**arguments):
        DistKerasTrainOperator(
            task_id="train",
            dataset_path=prepare().output["dataset_path"],
            hyperparameters={"layer_dims": [None, 8, 1]},
            artifact_root=str(root),
            **arguments,
        )

    return make


@pytest.fixture
def trained(stub, pipeline, run):
    """Return a run of a train task that has left a report."""
    return run(pipeline)


def test_link_leads_to_the_report(client, log_in, trained):
    answer = client.get(trained.xcoms("train")[TrainingReportLink.KEY], headers=log_in("ADMIN"))

    assert (answer.status_code, answer.text) == (200, "<p>r2 0.9</p>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "frame-ancestors 'self'" in policy
    assert "script-src" not in policy


def test_nobody_comes_in_without_logging_in(client, trained):
    assert client.get(trained.xcoms("train")[TrainingReportLink.KEY]).status_code == 401


def test_user_without_a_role_is_refused(client, log_in, trained):
    assert client.get(trained.xcoms("train")[TrainingReportLink.KEY], headers=log_in(None)).status_code == 403


def test_link_leads_to_why_there_is_no_report(client, log_in, stub, pipeline, run):
    stub.mode("permanent", of="train")
    failed = run(pipeline)

    answer = client.get(failed.xcoms("train")[TrainingReportLink.KEY], headers=log_in("ADMIN"))

    assert answer.status_code == 200
    assert "<li>DataError: The column &#39;temp&#39; holds text.</li>" in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none';")


@pytest.mark.parametrize("page", ["docs", "redoc", "openapi.json"])
def test_there_is_no_documentation_page(client, log_in, page):
    assert client.get(f"/distkeras/{page}", headers=log_in("ADMIN")).status_code == 404


def test_task_without_a_report(client, log_in, trained):
    query = {"run_id": trained.dag_run.run_id, "task_id": "prepare"}
    answer = client.get("/distkeras/report/dag", params=query, headers=log_in("ADMIN"))

    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "This task instance has no training report, or not yet." in answer.text


@pytest.mark.parametrize(
    ("map_index", "status"), [("{MAP_INDEX}", 200), ("-1", 200), ("0", 404), ("9" * 30, 422), ("{RUN_ID}", 422)]
)
def test_a_task_that_is_not_mapped_keeps_the_placeholder_of_the_map_index(client, log_in, trained, map_index, status):
    """As Airflow's UI leaves it in the address of the tab."""
    query = {"run_id": trained.dag_run.run_id, "task_id": "train", "map_index": map_index}

    assert client.get("/distkeras/report/dag", params=query, headers=log_in("ADMIN")).status_code == status


def test_path_that_no_manifest_vouches_for_is_not_read(client, log_in, trained, tmp_path):
    from airflow.models.xcom import XComModel

    (tmp_path / "secret.html").write_text("secret")
    of = {"dag_id": "dag", "task_id": "prepare", "run_id": trained.dag_run.run_id}
    XComModel.set(key="report_path", value=str(tmp_path / "secret.html"), **of)

    answer = client.get("/distkeras/report/dag", params={k: of[k] for k in ("run_id", "task_id")}, headers=log_in("ADMIN"))

    assert answer.status_code == 404


def test_path_beside_another_reports_manifest_is_not_read(client, log_in, trained):
    from airflow.models.xcom import XComModel

    report = trained.xcoms("train")["report_path"]
    spec = f"{report.rsplit('/', 1)[0]}/_SPEC.json"
    of = {"dag_id": "dag", "task_id": "prepare", "run_id": trained.dag_run.run_id}
    XComModel.set(key="report_path", value=spec, **of)

    answer = client.get("/distkeras/report/dag", params={k: of[k] for k in ("run_id", "task_id")}, headers=log_in("ADMIN"))

    assert answer.status_code == 404


def test_the_report_of_another_task_is_not_shown(client, log_in, trained):
    """A user who may read this DAG may not read every other DAG."""
    from airflow.models.xcom import XComModel

    of = {"dag_id": "dag", "task_id": "prepare", "run_id": trained.dag_run.run_id}
    XComModel.set(key="report_path", value=trained.xcoms("train")["report_path"], **of)

    answer = client.get("/distkeras/report/dag", params={k: of[k] for k in ("run_id", "task_id")}, headers=log_in("ADMIN"))

    assert answer.status_code == 404


@pytest.fixture
def get(client, log_in, trained):
    """Return a function that gets the page of a task."""

    def page(task_id="train"):
        query = {"run_id": trained.dag_run.run_id, "task_id": task_id}
        return client.get("/distkeras/report/dag", params=query, headers=log_in("ADMIN"))

    return page


def test_a_report_filed_by_a_map_key_is_read(client, log_in, stub, pipeline, run):
    done = run(lambda: pipeline(map_key="Oslo"))
    answer = client.get(done.xcoms("train")[TrainingReportLink.KEY], headers=log_in("ADMIN"))

    assert "/dag/train/Oslo/period=" in done.xcoms("train")["report_path"]
    assert (answer.status_code, answer.text) == (200, "<p>r2 0.9</p>")
    assert "<h2>train [Oslo]</h2>" in client.get("/distkeras/metrics/dag", headers=log_in("ADMIN")).text


def replace(path, kind, secret):
    """Put something else in the place of a file."""
    path.unlink()
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(700 * 2**20)
    elif kind == "brackets":
        path.write_text("[" * 100_000)


@pytest.mark.parametrize(
    ("key", "kind"),
    [("report_path", kind) for kind in ("link", "pipe", "large", "nothing")]
    + [("manifest_path", kind) for kind in ("link", "pipe", "large", "nothing", "brackets")],
)
def test_what_is_no_report_is_not_read(get, trained, tmp_path, key, kind):
    (tmp_path / "airflow.cfg").write_text("jwt_secret")
    replace(local_path(trained.xcoms("train")[key]), kind, tmp_path / "airflow.cfg")
    answer = get()

    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "The report of this task cannot be read." in answer.text
    assert "file://" in answer.text
    assert "jwt_secret" not in answer.text


def test_a_report_whose_folder_is_gone_says_so(get, trained):
    shutil.rmtree(local_path(trained.xcoms("train")["report_path"]).parent)
    answer = get()

    assert answer.status_code == 404
    assert "There is no manifest at file://" in answer.text
    assert "or its folder is gone" in answer.text


def test_a_report_that_is_gone_says_so_in_words(get, trained):
    path = trained.xcoms("train")["report_path"]
    local_path(path).unlink()
    answer = get()

    assert answer.status_code == 404
    assert f"The report at {path} is gone" in answer.text
    assert "FileNotFoundError" not in answer.text


def test_a_report_below_no_root_of_the_options_says_so(get, monkeypatch):
    monkeypatch.setenv("AIRFLOW__DISTKERAS__READABLE_ROOTS", "/elsewhere")
    answer = get()

    assert answer.status_code == 404
    assert "[distkeras] artifact_root and readable_roots" in answer.text


def test_a_storage_that_hangs_holds_no_thread_of_the_api_server(get, client, monkeypatch):
    hangs = threading.Event()
    monkeypatch.setattr(reports, "storage_for", lambda *_: hangs.wait(60))
    monkeypatch.setattr(app, "_threads", PageThreads(max_threads=2, seconds=0.2))
    for _ in range(3):
        answer = get()
        assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")
        assert "the storage of the artifacts is slow or hangs" in answer.text
    assert client.get("/api/v2/version").status_code == 200
    hangs.set()


@pytest.mark.parametrize("state", [{"percent": 3, "stage": None}, {"percent": "NaN", "stage": "x"}, {"stage": 7}, [], 7])
def test_an_odd_state_is_told_in_words(get, trained, state):
    from airflow.models.task_state_store import TaskStateStoreModel as State
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        of = (State.run_id == trained.dag_run.run_id, State.task_id == "prepare", State.key == "progress")
        assert session.execute(update(State).where(*of).values(value=json.dumps(state))).rowcount == 1
    answer = get("prepare")

    assert answer.status_code == 200
    assert "This task instance has no training report, or not yet." in answer.text
    assert "not valid" in answer.text or "cannot be read" in answer.text


def test_each_task_instance_has_a_tab_for_its_report():
    from airflow_provider_distkeras.plugins.plugin import DistKerasPlugin

    views = json.loads(json.dumps(DistKerasPlugin().external_views))

    (view,) = [view for view in views if view["destination"] == "task_instance"]
    assert view["href"] == "/distkeras/report/{DAG_ID}?run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}"
