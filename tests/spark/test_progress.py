"""The progress that a job logs, and when, by a clock of the test."""

import logging
from types import SimpleNamespace

import pytest

from airflow_provider_distkeras.contract.artifacts.progress import Progress
from airflow_provider_distkeras.spark import progress as module
from airflow_provider_distkeras.spark.progress import ProgressReporter, StageProgress


@pytest.fixture
def job(monkeypatch, caplog):
    """A reporter whose thread is replaced by the test, with a clock of the test."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock.now)
    caplog.set_level(logging.INFO, module.__name__)
    reporter = ProgressReporter()

    def after(seconds):
        clock.now += seconds
        reporter._log_progress()

    def lines():
        events = [record.msg for record in caplog.records]
        caplog.clear()
        return events

    return SimpleNamespace(reporter=reporter, after=after, lines=lines)


def test_a_short_job_logs_that_it_begins_and_ends(job):
    job.reporter.begin("reading", 0.5)
    job.after(1)
    job.reporter.begin("writing", 0.5)
    job.reporter.finish()
    assert job.lines() == [Progress(0, "reading"), Progress(100, "done")]


def test_an_event_is_logged_every_five_seconds_and_a_stage_counts_as_its_share(job):
    seen = {"reading": StageProgress(0, 4, "tasks"), "writing": StageProgress(1, 2, "tasks")}
    job.reporter.begin("reading", 0.4, lambda: seen["reading"])
    for done in range(1, 5):
        seen["reading"] = StageProgress(done, 4, "tasks")
        job.after(2.5)
    job.reporter.begin("writing", 0.5, lambda: seen["writing"])
    job.after(5)
    assert [(line.percent, line.stage, line.done) for line in job.lines()] == [
        (0, "reading", 0), (20, "reading", 2), (40, "reading", 4), (65, "writing", 1),
    ]  # fmt: skip


def test_time_to_go_is_by_the_pace_of_the_stage_for_the_whole_job(job):
    job.reporter.begin("search", 0.8, lambda: StageProgress(3, 8, "fits", begun=1.0, before=2.0))
    job.after(10)
    assert job.lines()[-1] == Progress(40, "search", 3, 8, "fits", eta_seconds=30)


def test_the_start_of_a_stage_is_not_its_pace(job):
    seen = {"done": 0.0}
    job.reporter.begin("search", 0.8, lambda: StageProgress(seen["done"], 8, "fits"))
    for done in (0.0, 1.0, 2.0):
        seen["done"] = done
        job.after(60 if done < 2 else 10)
    assert job.lines()[-1] == Progress(20, "search", 2, 8, "fits", eta_seconds=80)


def test_work_done_before_does_not_count_for_the_pace(job):
    job.reporter.begin("search", 0.8, lambda: StageProgress(4, 8, "fits", before=4.0))
    job.after(10)
    assert job.lines()[-1] == Progress(40, "search", 4, 8, "fits")


def test_percent_never_falls_and_is_complete_only_at_the_end(job):
    seen = [StageProgress(9, 9, "tasks"), StageProgress(1, 9, "tasks")]
    job.reporter.begin("reading", 1.0, lambda: seen.pop(0))
    job.after(5)
    assert [line.percent for line in job.lines()] == [99, 99]


def done_of(job, *measured):
    """Return what is shown of a stage by its measures, one after the other."""
    seen = list(measured)
    job.reporter.begin("search", 1.0, lambda: seen.pop(0))
    for _ in measured[1:]:
        job.after(5)
    return [(line.done, line.total) for line in job.lines()]


def test_what_is_done_never_falls(job):
    """A fit that has ended is not yet counted for a moment, and one that begins anew has trained nothing."""
    fits = [StageProgress(done, 4, "fits") for done in (0.5, 0.0, 0.7)]
    assert done_of(job, *fits) == [(0.5, 4), (0.5, 4), (0.7, 4)]


def test_what_is_done_stays_where_it_is_not_measured_for_a_moment(job):
    shown = done_of(job, StageProgress(3, 10, "epochs"), StageProgress(loss=0.5), StageProgress(3.5, 10, "epochs"))
    assert shown == [(3, 10), (3, 10), (3.5, 10)]


def test_more_is_never_done_than_there_is(job):
    assert done_of(job, StageProgress(6, 8, "fits"), StageProgress(2, 4, "fits")) == [(6, 8), (6, 6)]


def test_each_stage_begins_with_nothing(job):
    done_of(job, StageProgress(3, 4, "fits"))
    job.reporter.begin("refit", 1.0, lambda: StageProgress(1, 10, "epochs"))
    job.after(5)
    assert [(line.stage, line.done) for line in job.lines()] == [("refit", 1)]


def test_tasks_of_jobs_that_have_ended_count_on():
    jobs = {}  # by number, the tasks that are done, and all
    tracker = SimpleNamespace(
        getActiveJobsIds=lambda: list(jobs),
        getJobInfo=lambda number: SimpleNamespace(stageIds=[number]),
        getStageInfo=lambda number: SimpleNamespace(numCompletedTasks=jobs[number][0], numTasks=jobs[number][1]),
    )
    measure, shown = module.tasks(SimpleNamespace(statusTracker=lambda: tracker)), []
    for running in ({1: (2, 4)}, {}, {2: (0, 8)}, {2: (5, 8)}, {3: (1, 1)}):
        jobs.clear()
        jobs.update(running)
        progress = measure()
        shown.append((progress.done, progress.total))
    assert shown == [(2, 4), (4, 4), (4, 12), (9, 12), (13, 13)]


def test_an_unchanged_event_is_logged_twice_in_a_minute(job):
    job.reporter.begin("reading", 1.0)
    for _ in range(12):
        job.after(5)
    assert len(job.lines()) == 3


def test_a_measure_that_fails_does_not_fail_the_job(job):
    def look():
        raise RuntimeError("Spark is gone")

    job.reporter.begin("reading", 1.0, look)
    assert job.lines() == [Progress(0, "reading")]


def test_it_logs_from_its_own_thread(caplog):
    caplog.set_level(logging.INFO, module.__name__)
    counts = iter(range(100))
    seen = module.threading.Event()

    def look():
        number = next(counts)
        if number == 3:
            seen.set()
        return StageProgress(number, 100, "tasks")

    with ProgressReporter(every=0.01) as reporter:
        reporter.begin("reading", 1.0, look)
        assert seen.wait(10)
    assert len(caplog.records) >= 3
