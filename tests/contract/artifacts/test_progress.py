"""The lines that a job prints and its operator understands."""

import pytest

from airflow_provider_distkeras.contract.artifacts.progress import PREFIX, BestTrial, JobStarted, Progress

LINES = [
    (Progress(0, "reading"), "progress 0 % | reading"),
    (Progress(100, "done"), "progress 100 % | done"),
    (Progress(50, "writing", 1400, 2000, "tasks"), "progress 50 % | writing: 1,400 of 2,000 tasks"),
    (
        Progress(35, "search", 5, 12, "fits", 120300, best=BestTrial("r2", 0.9132, 3), eta_seconds=80),
        "progress 35 % | search: 5 of 12 fits | 120,300 samples/s | best r2 0.9132 (cell 3) | 1 min 20 s to go",
    ),
    (
        Progress(93, "refit", 3.5, 10, "epochs", 9, 0.00012, BestTrial("areaUnderROC", -1e-05, 12), 3720),
        "progress 93 % | refit: 3.5 of 10 epochs | 9 samples/s | loss 0.00012 | best areaUnderROC -1e-05 (cell 12) | 1 h 2 min to go",
    ),
]


@pytest.mark.parametrize(("progress", "line"), LINES)
def test_progress_is_read_back_from_what_a_human_reads(progress, line):
    assert str(progress) == line
    assert Progress.found_in(f"{PREFIX}{line}\n") == progress


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "0 s"), (59.6, "1 min"), (599, "9 min 59 s"), (601, "10 min"), (7261, "2 h 1 min")]
)
def test_time_to_go_is_rounded(seconds, said):
    line = str(Progress(1, "search", eta_seconds=seconds))
    assert line.endswith(f" | {said} to go")
    assert str(Progress.found_in(PREFIX + line)) == line


def test_what_is_not_known_is_left_out_of_the_state():
    assert LINES[0][0].to_dict() == {"percent": 0, "stage": "reading"}
    assert LINES[3][0].to_dict()["best"] == {"metric": "r2", "value": 0.9132, "cell": 3}


@pytest.mark.parametrize("ui", ["http://driver:4040", None])
def test_a_job_that_has_started_says_where(ui):
    started = JobStarted("train", "app-20260301-0007", ui)
    assert JobStarted.found_in(f"{PREFIX}{started}\n") == started


@pytest.mark.parametrize(
    "line",
    ["progress 5 % | reading", f"{PREFIX}progress 5 % | ", f"{PREFIX}r2: progress 5 % | reading", f"x {PREFIX}progress 5 %"],
)
def test_other_lines_say_nothing(line):
    assert Progress.found_in(line) is JobStarted.found_in(line) is None
