"""Events in a job's log: their lines and their prose."""

import numpy as np
import pytest

from airflow_provider_distkeras.contract.artifacts.progress import BestTrial, JobStarted, Progress, parse_event

LINES = [
    (Progress(0, "reading"), "progress 0 % | reading"),
    (Progress(100, "done"), "progress 100 % | done"),
    (Progress(50, "writing", 1400, 2000, "tasks"), "progress 50 % | writing: 1,400 of 2,000 tasks"),
    (
        Progress(35, "search", 5, 12, "fits", 120300, best=BestTrial("r2", 0.9132, 3), eta_seconds=80),
        "progress 35 % | search: 5 of 12 fits | 120,300 samples/s | best r2 0.9132 (trial 3) | 1 min 20 s to go",
    ),
    (
        Progress(93, "refit", 3.5, 10, "epochs", 9, 0.00012, BestTrial("areaUnderROC", -1e-05, 12), 3720),
        "progress 93 % | refit: 3.5 of 10 epochs | 9 samples/s | loss 0.00012 | best areaUnderROC -1e-05 (trial 12) | 1 h 2 min to go",
    ),
]


@pytest.mark.parametrize(("progress", "line"), LINES)
def test_progress_is_a_line_of_json_and_prose_for_humans(progress, line):
    assert str(progress) == line
    assert progress.to_line().startswith('distkeras.progress {"percent": ')
    assert parse_event(f"{progress.to_line()}\n") == progress


@pytest.mark.parametrize(
    ("seconds", "prose"), [(0.2, "0 s"), (59.6, "1 min"), (599, "9 min 59 s"), (601, "10 min"), (7261, "2 h 1 min")]
)
def test_time_to_go_is_rounded(seconds, prose):
    assert str(Progress(1, "search", eta_seconds=seconds)).endswith(f" | {prose} to go")


def test_what_has_no_value_is_left_out():
    assert LINES[0][0].to_dict() == {"percent": 0, "stage": "reading"}
    assert LINES[3][0].to_dict()["best"] == {"metric": "r2", "value": 0.9132, "trial": 3}


@pytest.mark.parametrize("loss", [float("nan"), np.float32("inf"), np.float64("nan")])
def test_a_number_that_is_not_finite_is_no_value(loss):
    assert parse_event(Progress(1, "refit", loss=loss).to_line()) == Progress(1, "refit")


def test_numbers_of_numpy_are_numbers():
    assert parse_event(Progress(1, "refit", loss=np.float32(0.5)).to_line()) == Progress(1, "refit", loss=0.5)


@pytest.mark.parametrize(
    ("ui", "prose"),
    [
        ("http://driver:4040", "train job, application app-20260301-0007, Spark UI at http://driver:4040"),
        (None, "train job, application app-20260301-0007, Spark UI off"),
    ],
)
def test_the_start_of_a_job_is_an_event(ui, prose):
    started = JobStarted("train", "app-20260301-0007", ui)
    assert str(started) == prose
    assert parse_event(f"{started.to_line()}\n") == started


@pytest.mark.parametrize(
    "line",
    [
        "distkeras: progress 5 % | reading",
        "distkeras.progress {",
        "distkeras.progress {}",
        "distkeras.progress []",
        'distkeras.progress {"percent": 5, "stage": "reading"} and more',
        'x distkeras.progress {"percent": 5, "stage": "reading"}',
        'distkeras.progress {"percent": 5, "stage": "reading", "done": "1", "total": "2"}',
        'distkeras.progress {"percent": 5, "stage": "reading", "best": 1}',
        'distkeras.finished {"percent": 5, "stage": "reading"}',
        'distkeras.progress {"percent": 5, "stage": null}',
        'distkeras.progress {"percent": NaN, "stage": "reading"}',
        'distkeras.progress {"percent": 5, "stage": "reading", "done": NaN, "total": 3}',
        'distkeras.progress {"percent": 5, "stage": "reading", "eta_seconds": Infinity}',
        'distkeras.progress {"percent": 5, "stage": "reading", "done": 1' + "0" * 400 + ', "total": 3}',
        'distkeras.progress {"percent": 5, "stage": "reading", "best": {"metric": "r2", "value": null, "trial": 1}}',
        'distkeras.progress {"percent": 5, "stage": ' + "[" * 100_000 + "}",
        'distkeras.started {"kind": "train", "application_id": null}',
        'distkeras.progress {"percent": 250, "stage": "reading"}',
        'distkeras.progress {"percent": -5, "stage": "reading"}',
        'distkeras.progress {"percent": 5, "stage": "reading", "done": -1, "total": 3}',
        'distkeras.progress {"percent": 5, "stage": "reading", "done": 5, "total": 4}',
        'distkeras.progress {"percent": 5, "stage": "reading", "eta_seconds": -1}',
    ],
)
def test_other_lines_hold_no_event(line):
    assert parse_event(line) is None
