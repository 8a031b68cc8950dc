"""The page in the place of a report that does not exist yet."""

import json
from datetime import UTC, datetime

import pytest

from airflow_provider_distkeras.contract.artifacts.progress import BestTrial, Progress
from airflow_provider_distkeras.plugins.progress_page import progress_page
from tests.page_tags import HARMLESS, HOSTILE, tags

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_it_shows_the_progress_and_its_time():
    progress = Progress(35, "search", 5, 12, "fits", 120300, best=BestTrial("r2", 0.9132, 3), eta_seconds=80)
    page = progress_page(json.dumps(progress.to_dict()), NOON)
    assert "<li>search: 5 of 12 fits</li><li>120,300 samples/s</li><li>best r2 0.9132 (trial 3)</li>" in page
    assert "2026-03-01 12:00:00 UTC" in page


def test_it_shows_the_error_of_a_task_that_failed():
    page = progress_page(json.dumps({"percent": 40, "stage": "failed", "error": "DataError: <b>"}), NOON)
    assert "<li>DataError: &lt;b&gt;</li>" in page


def test_it_shows_the_error_of_a_task_that_failed_after_its_job():
    page = progress_page(json.dumps({"percent": 100, "stage": "failed", "error": "ArtifactError: There is no manifest"}), NOON)
    assert "<li>ArtifactError: There is no manifest</li>" in page


@pytest.mark.parametrize("field", ["error", "stage"])
def test_texts_are_escaped(field):
    hostile, harmless = (
        progress_page(json.dumps({"percent": 40, "stage": "failed"} | {field: text}), NOON) for text in (HOSTILE, HARMLESS)
    )
    assert tags(hostile) == tags(harmless)


@pytest.mark.parametrize(
    "state",
    [
        "",
        "7",
        "[]",
        "{}",
        '{"percent": 3}',
        '{"percent": 3, "stage": "x", "best": 1}',
        '{"a": 1}',
        '{"percent": 3, "stage": null}',
        '{"percent": NaN, "stage": "x"}',
        '{"percent": 3, "stage": "x", "done": NaN, "total": 4}',
        '{"percent": 3, "stage": "x", "eta_seconds": Infinity}',
        '{"percent": 3, "stage": "x", "loss": 1' + "0" * 400 + "}",
        '{"percent": 3, "stage": "failed", "error": ["e"]}',
        "[" * 100_000,
        '{"percent": 3, "stage": ' + "[" * 100_000,
        '{"percent": 250, "stage": "x"}',
        '{"percent": -5, "stage": "x"}',
        '{"percent": 3, "stage": "x", "done": -1}',
        '{"percent": 3, "stage": "x", "done": 5, "total": 4}',
    ],
)
def test_a_state_that_no_operator_wrote_is_told_in_words(state):
    page = progress_page(state, NOON)
    assert "This task instance has no training report, or not yet." in page
    assert "is not valid" in page or "cannot be read" in page


def test_a_task_that_is_done_has_its_report():
    assert progress_page(json.dumps(Progress(100, "done").to_dict()), NOON) is None
