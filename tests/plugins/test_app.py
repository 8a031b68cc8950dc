"""Model metrics and a run's reports over HTTP from Airflow's own API server."""

import html
import json
import re
from urllib.parse import urljoin

import pytest

from airflow_provider_distkeras.contract.artifacts.champions import Champions
from airflow_provider_distkeras.contract.files.storage import LocalStorage, local_path
from airflow_provider_distkeras.operators import DistKerasPromoteOperator, DistKerasTrainOperator
from tests.fixtures.dag_run import APRIL, register

pytestmark = pytest.mark.airflow

PAGES = ["/distkeras/metrics/dag", "/distkeras/run/dag?run_id=any"]
REPORT_PAGE = "/distkeras/report/dag?run_id=any&task_id=train"
REPORT = "<p>r2 0.9</p>"


@pytest.fixture
def train(prepare, root):
    """Return a function that makes a preprocess task and a train task per name."""

    def pipeline(*task_ids):
        dataset = prepare().output["dataset_path"]
        network = {"layer_dims": [None, 8, 1]}
        return [
            DistKerasTrainOperator(task_id=task_id, dataset_path=dataset, hyperparameters=network, artifact_root=str(root))
            for task_id in task_ids or ["train"]
        ]

    return pipeline


@pytest.fixture
def get(client, log_in):
    """Return a function that gets a page as a user who may see it."""
    return lambda address, **query: client.get(address, params=query or None, headers=log_in("ADMIN"))


def change(done, key, value, **how):
    """Replace an XCom of the train task."""
    from airflow.models.xcom import XComModel

    XComModel.set(key=key, value=value, dag_id="dag", task_id="train", run_id=done.dag_run.run_id, **how)


def test_metrics_by_period_with_the_champion_and_the_way_to_the_reports(stub, run, train, get, csv, root):
    def pipeline():
        (trained,) = train()
        DistKerasPromoteOperator(
            task_id="promote",
            champion="bikes",
            model_path=trained.output["model_path"],
            input_path=str(csv),
            artifact_root=str(root),
        )

    march = run(pipeline)
    stub.metrics(challenger=0.7, champion=0.8)
    april = run(pipeline, logical_date=APRIL)
    answer = get(PAGES[0])

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert re.findall(r"<h2>(.*?)</h2>", answer.text) == ["train"]
    rows = [re.findall(r"<td.*?>(.*?)</td>", row) for row in re.findall(r"<tr.*?</tr>", answer.text, re.DOTALL)[1:]]
    assert [[html.unescape(column) for column in row if "href" not in column] for row in rows] == [
        ["2026-04-01", "0.9000 ± 0.0100", "", april.dag_run.run_id],
        ["2026-03-01", "0.9000 ± 0.0100", "bikes", march.dag_run.run_id],
    ]
    for link in re.findall(r'href="(.*?)"', answer.text):
        assert get(urljoin(PAGES[0], html.unescape(link))).text == REPORT


def test_a_run_with_one_report_shows_it(stub, run, train, get):
    done = run(train)

    assert get("/distkeras/run/dag", run_id=done.dag_run.run_id).text == REPORT


def test_a_run_with_several_reports_lists_them(stub, run, train, get):
    done = run(lambda: train("train_eu", "train_us"))
    answer = get("/distkeras/run/dag", run_id=done.dag_run.run_id)

    links = re.findall(r'href="(.*?)"', answer.text)
    assert len(links) == 2
    assert [get(urljoin("/distkeras/run/dag", html.unescape(link))).text for link in links] == [REPORT, REPORT]


def test_a_run_lists_a_report_that_is_gone(stub, run, train, get):
    done = run(train)
    local_path(done.xcoms("train")["report_path"]).unlink()
    answer = get("/distkeras/run/dag", run_id=done.dag_run.run_id)

    assert answer.status_code == 200
    assert "r2 0.9000 ± 0.0100" in answer.text


@pytest.mark.parametrize("page", [*PAGES, REPORT_PAGE])
def test_nobody_comes_in_without_logging_in(client, page):
    assert client.get(page).status_code == 401


@pytest.mark.parametrize("page", [*PAGES, REPORT_PAGE])
def test_user_without_a_role_is_refused(client, log_in, page):
    assert client.get(page, headers=log_in(None)).status_code == 403


@pytest.mark.parametrize("page", [*PAGES, REPORT_PAGE])
def test_user_without_the_right_to_the_dag_is_refused(client, log_in, page, monkeypatch):
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity

    checks = []

    def refuse(*, method, user, access_entity=None, details=None):
        checks.append((method, access_entity, details.id))
        return False

    monkeypatch.setattr(get_auth_manager(), "is_authorized_dag", refuse)

    assert client.get(page, headers=log_in("ADMIN")).status_code == 403
    assert checks == [("GET", DagAccessEntity.XCOM, "dag")]


@pytest.mark.parametrize("page", PAGES)
def test_pages_run_no_script_and_load_nothing(get, page):
    policy = get(page).headers["content-security-policy"]

    directives = dict(directive.strip().partition(" ")[::2] for directive in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["frame-ancestors"] == "'self'"
    assert directives["sandbox"] == "allow-same-origin"
    assert "script-src" not in directives


def test_a_dag_that_has_trained_nothing(get, airflow_db):
    from airflow.sdk import DAG

    register(DAG("idle", schedule=None))
    answer = get("/distkeras/metrics/idle")
    assert (answer.status_code, "has trained" in answer.text) == (200, True)


def test_a_run_that_has_trained_nothing(stub, run, prepare, get):
    done = run(prepare)
    answer = get("/distkeras/run/dag", run_id=done.dag_run.run_id)
    assert (answer.status_code, "has trained no model, or not yet" in answer.text) == (200, True)


@pytest.mark.parametrize("page", ["metrics", "run", "report"])
@pytest.mark.parametrize("dag_id", ["unknown", "~"])
def test_pages_of_a_dag_that_does_not_exist(get, page, dag_id):
    answer = get(f"/distkeras/{page}/{dag_id}", run_id="any", task_id="train")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert f"There is no DAG {dag_id}, so none of its runs has trained a model." in answer.text


@pytest.mark.parametrize("page", ["run", "report"])
def test_pages_of_a_run_that_does_not_exist(stub, run, train, get, page):
    run(train)
    answer = get(f"/distkeras/{page}/dag", run_id="any", task_id="train")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "The DAG dag has no run any, so none of its tasks has trained a model." in answer.text


def test_the_report_of_a_task_that_does_not_exist(stub, run, train, get):
    done = run(train)
    answer = get("/distkeras/report/dag", run_id=done.dag_run.run_id, task_id="other")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "of the DAG dag has no task other, so there is no report of one." in answer.text


@pytest.mark.parametrize(
    ("page", "role", "status", "sentence"),
    [
        (PAGES[0], "", 401, "Log in to Airflow"),
        (PAGES[1], None, 403, "You may not see this page"),
        ("/distkeras/run/dag", "ADMIN", 422, "The address of this page is not complete"),
        ("/distkeras/other", "ADMIN", 404, "There is no such page."),
    ],
)
def test_a_refusal_is_a_page_in_words(client, log_in, page, role, status, sentence):
    answer = client.get(page, headers=log_in(role) if role != "" else {})

    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert sentence in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none';")


def test_texts_from_runs_are_escaped(stub, run, train, get):
    done = run(train)
    change(done, "metrics", {"<script>alert(1)</script>": {"mean": 0.9}})
    local_path(done.xcoms("train")["manifest_path"]).unlink()
    local_path(done.xcoms("train")["report_path"]).unlink()

    for page in (get(PAGES[0]), get("/distkeras/run/dag", run_id=done.dag_run.run_id)):
        assert "<script" not in page.text
        assert "&lt;script&gt;" in page.text
    assert "<script" not in get("/distkeras/run/dag", run_id="<script>").text


def test_a_value_that_names_a_class_is_not_deserialized(stub, run, train, get):
    done = run(train)
    change(done, "metrics", {"__classname__": "os.system", "__version__": 1, "__data__": "true"}, serialize=False)
    answer = get(PAGES[0])

    assert answer.status_code == 200
    assert done.dag_run.run_id in html.unescape(answer.text)


def test_damaged_files_have_notes(stub, run, train, get, root):
    done = run(train)
    local_path(done.xcoms("train")["manifest_path"]).write_text("{")
    record = root / "champions" / "bikes" / "000001-00000000.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    answer = get(PAGES[0])

    assert answer.status_code == 200
    assert "The manifest at file://" in answer.text
    assert "The champion of &#39;bikes&#39; is not known" in answer.text
    assert "0.9000 ± 0.0100" in answer.text


def test_only_the_tasks_own_models_count_and_only_champions_below_their_root(stub, run, train, get, tmp_path):
    """A forged XCom leads nowhere else."""
    done = run(train)
    elsewhere = tmp_path / "elsewhere"
    champions = Champions(LocalStorage(), f"file://{elsewhere}", "secret")
    folder = local_path(champions.folder)
    folder.mkdir(parents=True)
    (folder / "000001-00000000.json").write_text("{")
    path = done.xcoms("train")["model_path"]
    root = path.split("/dag/train/")[0]
    traversing = path.replace(root, f"{root}/../elsewhere")
    for forged in (f"file://{elsewhere}/model", traversing, path.replace("/train/", "/other/"), ["no", "path"], None):
        change(done, "model_path", forged)
        answer = get(PAGES[0])
        assert (answer.status_code, "secret" in answer.text, done.dag_run.run_id in html.unescape(answer.text)) == (
            200,
            False,
            False,
        )


def test_no_path_can_be_requested(stub, run, train, get, tmp_path):
    run(train)
    (tmp_path / "secret.html").write_text("secret")
    secret = str(tmp_path / "secret.html")

    for key in ("path", "model_path", "manifest_path", "report_path", "root", "run_id"):
        for page in ("/distkeras/metrics/dag", "/distkeras/run/dag"):
            answer = get(page, **{"run_id": "any", key: secret})
            assert "<p>secret" not in answer.text
            assert answer.text.count("secret") == (key == "run_id" and page.endswith("run/dag"))
    assert get("/distkeras/metrics/..%2F..%2Fetc").status_code == 404


def test_each_dag_and_dag_run_has_tabs():
    from airflow_provider_distkeras.plugins.plugin import DistKerasPlugin

    views = json.loads(json.dumps(DistKerasPlugin().external_views))

    assert {(view["destination"], view["name"]): view["href"] for view in views if view["destination"] != "task_instance"} == {
        ("dag", "Model metrics"): "/distkeras/metrics/{DAG_ID}",
        ("dag_run", "Model metrics"): "/distkeras/metrics/{DAG_ID}",
        ("dag_run", "Training reports"): "/distkeras/run/{DAG_ID}?run_id={RUN_ID}",
    }
    assert len({view["url_route"] for view in views}) == len(views)
