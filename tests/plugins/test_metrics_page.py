"""The page of a DAG's models, from real artifacts and made-up XComs."""

import html
import json
import re
from datetime import UTC, datetime

import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt, commit
from airflow_provider_distkeras.contract.artifacts.champions import Champion, Champions
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.files.storage import LocalStorage, local_path
from airflow_provider_distkeras.plugins import artifacts, metrics_page
from airflow_provider_distkeras.plugins.models import ModelRecord
from airflow_provider_distkeras.plugins.run_page import run_page
from tests.page_tags import HARMLESS, HOSTILE, tags

STORAGE = LocalStorage()


@pytest.fixture
def root(tmp_path):
    return f"file://{tmp_path}"


@pytest.fixture
def train(root):
    """Return a function that commits a model and returns the record of its task."""

    def trained(period, *, minute=0, metrics=None, task_id="train", map_index=-1, run_id="manual", dag_id="dag", manifest=True):
        attempt = Attempt.claim(
            root, dag_id, task_id, map_index, period,
            claimed_at=datetime(2026, 5, 1, 0, minute, tzinfo=UTC), generation=0, try_number=1, spec_sha256="ab" * 32,
        )  # fmt: skip
        metrics = metrics or {"r2": {"mean": 0.9, "std": 0.01}}
        path = f"{attempt.path}/model"
        if manifest:
            STORAGE.write_bytes(attempt.spec_path, b"{}")
            result = {"model_path": path, "report_path": "r", "best_params": {}, "metrics": metrics, "rows": 12}
            commit(STORAGE, attempt, Manifest("train", "ab" * 32, result))
        return ModelRecord(dag_id, run_id, task_id, map_index, path, metrics, root, attempt)

    return trained


@pytest.fixture
def promote(root):
    """Return a function that makes a model the champion of a name."""

    def promoted(model, name="bikes", **changes):
        champions = Champions(STORAGE, root, name)
        record = {
            "model_path": model.model_path, "period": model.attempt.period, "metrics": {}, "rows": 12, "reason": "r2 0.9 is better",
            "manifest_path": "m", "task": "other.promote", "run_id": "run", "user": None, "promoted_at": "2026-05-02T00:00:00+00:00",
        }  # fmt: skip
        champions.promote(Champion(**(record | changes)), over=champions.present())
        return champions.present()

    return promoted


@pytest.fixture
def show(monkeypatch):
    """Return a function that renders the page of models."""

    def shown(*models):
        monkeypatch.setattr(metrics_page, "find_models", lambda _: list(models))
        return metrics_page.metrics_page("dag")

    return shown


def rows(page):
    """Return the texts of the columns of each row below the header."""
    return [
        [re.sub("<[^>]+>", "", column) for column in re.findall(r"<td[^>]*>(.*?)</td>", row)]
        for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL)
    ][1:]


def test_a_row_per_period_the_newest_first(show, train):
    tested = {"r2": {"mean": 0.8, "std": 0.02, "test": 0.75}}
    page = show(train("2026-03-01T000000Z", run_id="march"), train("2026-04-01T060000Z", run_id="april", metrics=tested))

    assert rows(page) == [
        ["2026-04-01T060000Z", "0.8000 ± 0.0200", "0.7500", "", "report", "april"],
        ["2026-03-01", "0.9000 ± 0.0100", "-", "", "report", "march"],
    ]
    assert page.count("<circle") == 2


def test_there_is_no_column_for_rows_set_aside_if_none_were(show, train):
    assert "set aside" not in show(train("2026-03"))


def test_champions_are_marked(show, train, promote):
    march, april = train("2026-03"), train("2026-04")
    promote(march)
    promote(march, name="trucks")
    page = show(march, april)

    assert [row[2] for row in rows(page)] == ["", "bikes, trucks"]
    assert page.count('<tr class="best">') == page.count('<circle class="marked"') == 1
    assert "Champion of bikes since 2026-05-02: 2026-03 (r2 0.9 is better)." in page


def test_the_champion_before_is_not_marked(show, train, promote):
    march, april = train("2026-03"), train("2026-04")
    promote(march)
    promote(april)

    assert [row[2] for row in rows(show(march, april))] == ["bikes", ""]


def test_a_champion_of_an_attempt_that_is_not_listed_has_a_note(show, train, promote):
    earlier, newer = train("2026-03"), train("2026-03", minute=1)
    promote(earlier)
    page = show(earlier, newer)

    assert "Champion of bikes since 2026-05-02: 2026-03, an attempt that is not listed" in page
    assert [row[2] for row in rows(page)] == [""]


def test_a_champion_of_another_dag_or_task_is_not_shown(show, train, promote):
    promote(train("2026-03", dag_id="secret"), name="secret")
    promote(train("2026-03", task_id="other"), name="other")
    promote(train("2026-03", map_index=1), name="mapped")

    page = show(train("2026-03"))
    assert "Champion of" not in page
    assert [row[2] for row in rows(page)] == [""]


def test_the_metric_that_decides_is_the_manifests_first_whatever_the_order_in_the_xcom(show, train):
    trained = train("2026-03", metrics={"rmse": {"mean": 3.0, "std": 0.5}, "mae": {"mean": 2.0, "std": 0.5}})
    stored = ModelRecord(**{**vars(trained), "metrics": dict(sorted(trained.metrics.items()))})

    assert rows(show(stored))[0][1] == "3.0000 ± 0.5000"


def test_a_metric_that_a_run_did_not_measure_leaves_a_gap(show, train):
    page = show(train("2026-03", metrics={"mae": {"mean": 2.0}}), train("2026-04", minute=1))

    assert [row[1] for row in rows(page)] == ["0.9000 ± 0.0100", "-"]
    assert page.count("<circle") == 1


def test_tasks_and_map_indexes_have_sections_of_their_own(show, train, monkeypatch):
    models = [train("2026-03", task_id="train_eu", map_index=number) for number in range(3)]

    assert re.findall("<h2>(.*?)</h2>", show(*models)) == ["train_eu [0]", "train_eu [1]", "train_eu [2]"]
    monkeypatch.setattr(metrics_page, "_MAX_TASKS", 2)
    page = show(*models)
    assert len(re.findall("<h2>", page)) == 2
    assert "The first 2 of 3 tasks and map indexes are shown." in page


def test_a_dag_without_models(show):
    assert "None of the latest 200 runs of dag has trained a model." in show()


def test_a_missing_manifest_has_a_note(show, train):
    page = show(train("2026-03", manifest=False))

    assert "There is no manifest at file://" in page
    assert rows(page)[0][1] == "0.9000 ± 0.0100"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"7",
        b'{"kind": "train"}',
        b'{"kind": "<script>", "spec_sha256": "", "result": {}}',
        b"[" * 100_000,
        b'{"version": 2, "kind": "train", "spec_sha256": "", "result": null}',
        b'{"version": NaN, "kind": "train"}',
    ],
)
def test_a_damaged_manifest_has_a_note(show, train, content):
    trained = train("2026-03")
    local_path(trained.attempt.manifest_path).write_bytes(content)
    page = show(trained)

    assert "The manifest at file://" in page
    assert "<script" not in page
    assert rows(page)[0][1] == "0.9000 ± 0.0100"


@pytest.mark.parametrize(
    ("result", "note"),
    [
        (None, "The manifest at file://"),
        ({"metrics": None}, "The manifest of the newest model cannot be read: "),
        ({"metrics": {}}, "The manifest of the newest model cannot be read: "),
        ({"metrics": 7}, "The manifest of the newest model cannot be read: "),
    ],
)
def test_a_manifest_of_another_shape_has_a_note(show, train, result, note):
    trained = train("2026-03")
    path = local_path(trained.attempt.manifest_path)
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"result": result and manifest["result"] | result}))

    assert note in show(trained)


def test_where_the_map_index_is_all_there_is_the_page_says_so(show, train):
    note = "These models are filed by the map index, 2, alone"
    assert note in show(train("2026-03", map_index=2))
    assert note not in show(train("2026-03"))


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"model_path": "m"}', b"[" * 100_000])
def test_a_damaged_record_has_a_note_and_the_other_champions_are_shown(show, train, promote, content):
    trained = train("2026-03")
    local_path(promote(trained).record_path).write_bytes(content)
    promote(trained, name="trucks")
    page = show(trained)

    assert "The champion of &#39;bikes&#39; is not known" in page
    assert [row[2] for row in rows(page)] == ["trucks"]


def test_a_record_of_another_shape_has_a_note(show, train, promote):
    trained = train("2026-03")
    promote(trained, model_path=7)
    promote(trained, name="odd", promoted_at=None, reason=["a"], period=3)
    page = show(trained)

    assert "names no model" in page
    assert "Champion of odd since None: 3 ([&#39;a&#39;])." in page


def test_no_more_is_read_than_one_page_may(show, train, promote, monkeypatch):
    trained = train("2026-03")
    promote(trained, name="a")
    promote(trained, name="b")
    monkeypatch.setattr(artifacts, "MAX_NAMES", 1)
    page = show(trained)
    assert "1 of 2 champions were read." in page
    assert [row[2] for row in rows(page)] == ["a"]

    monkeypatch.setattr(artifacts, "MAX_ROOTS", 0)
    assert "Champions were looked for below 0 of 1 artifact roots." in show(trained)


def test_a_storage_that_fails_has_a_note(show, train, monkeypatch):
    class Driver(Exception):
        pass

    def fail(path):
        raise Driver("<no credentials>")

    trained = train("2026-03")
    monkeypatch.setattr(artifacts, "storage_for", fail)
    page = show(trained)

    assert f"The champions below {trained.root} cannot be read: &lt;no credentials&gt;." in page
    assert "The manifest of the newest model cannot be read: &lt;no credentials&gt;." in page


def test_texts_are_escaped(show, train, promote):
    def pages(text):
        trained = train("2026-03", run_id=text, metrics={text: {"mean": 0.9, "std": 0.01, "test": 0.8}})
        promote(trained, name="bikes", reason=text, promoted_at=text, period=text)
        changed = ModelRecord(**{**vars(trained), "dag_id": text, "task_id": text, "attempt": Attempt(f"x/period={text}", "a")})
        return [show(trained), show(changed), run_page(text, []), run_page(text, [changed, trained])]

    for hostile, harmless in zip(pages(HOSTILE), pages(HARMLESS), strict=True):
        assert tags(hostile) == tags(harmless)
        assert html.escape(HOSTILE[:20]) in hostile
        assert "49" not in re.sub(r"<style>.*?</style>", "", hostile, flags=re.DOTALL)


def test_links_lead_to_the_reports_of_the_task_instances(show, train):
    trained = train("2026-03", run_id="manual__2026-03-01T00:00:00+00:00", map_index=4)
    href = "../report/dag?run_id=manual__2026-03-01T00%3A00%3A00%2B00%3A00&amp;task_id=train&amp;map_index=4"

    assert f'href="{href}"' in show(trained)
    assert f'href="{href}"' in run_page("r", [trained])


def test_a_run_lists_its_models(train):
    metrics = {"r2": {"mean": 0.9, "std": 0.01}, "rmse": {"mean": 2.0, "std": None}}
    page = run_page("manual", [train("2026-03", metrics=metrics), train("2026-03", task_id="other")])

    assert rows(page) == [
        ["train", "2026-03", "r2 0.9000 ± 0.0100, rmse 2.0000", "report"],
        ["other", "2026-03", "r2 0.9000 ± 0.0100", "report"],
    ]
    assert "manual has trained no model, or not yet." in run_page("manual", [])
