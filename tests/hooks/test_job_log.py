"""The output of a job, as a task reads it."""

import logging
from types import SimpleNamespace

import pytest
from airflow.sdk._shared.secrets_masker import SecretsMasker
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_distkeras.contract.artifacts.progress import PREFIX, BestTrial, Progress
from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.hooks import job_log
from airflow_provider_distkeras.hooks.job_log import JobLog
from airflow_provider_distkeras.links.spark import HistoryServerLink

HISTORY = "http://history.example.com:18080"
SEARCH = Progress(35, "search", 5, 12, "fits", 120300, best=BestTrial("r2", 0.9132, 3), eta_seconds=80)


@pytest.fixture
def job(monkeypatch):
    """A JobLog with what it writes to the task's state, the links it shows, and a clock."""
    store, links, clock = [], {}, SimpleNamespace(now=0.0)
    monkeypatch.setattr(job_log.time, "monotonic", lambda: clock.now)
    output = JobLog(
        logging.getLogger("task"),
        SimpleNamespace(set=lambda key, value: store.append((key, value))),
        lambda link, url: links.update({link.KEY: url}),
    )
    hook = SimpleNamespace(_yarn_application_id=None, _kubernetes_application_id=None)
    return SimpleNamespace(output=output, store=store, links=links, clock=clock, hook=hook)


def test_state_is_written_every_few_seconds(job):
    def lines():
        for second in range(9):
            job.clock.now = second
            yield Progress(second, "reading").to_line()

    with job.output.report():
        read = list(job.output.read(lines(), job.hook))

    assert len(read) == 9
    assert [value["percent"] for key, value in job.store] == [0, 3, 6, 100]


def test_state_holds_the_progress_of_the_line(job):
    list(job.output.read([SEARCH.to_line()], job.hook))

    assert job.store == [("progress", SEARCH.to_dict())]


def test_a_state_that_cannot_be_written_does_not_fail_the_task(job, caplog):
    def refuse(key, value):
        raise RuntimeError("no server")

    job.output._store.set = refuse
    with job.output.report():
        pass
    assert "The task's state could not be written: no server" in caplog.text


def test_secrets_are_masked_in_the_state_as_they_are_in_the_log(job, monkeypatch):
    masker = SecretsMasker()
    masker.add_mask("pa55word")
    monkeypatch.setattr(job_log, "redact", masker.redact)

    with pytest.raises(DataError), job.output.report():
        raise DataError("jdbc://me:pa55word@host does not answer")

    assert job.store[-1][1]["error"] == "DataError: jdbc://me:***@host does not answer"


def test_there_may_be_no_state(job):
    job.output._store = None
    with job.output.report():
        assert list(job.output.read([SEARCH.to_line()], job.hook)) == [f"{PREFIX}{SEARCH}"]


def test_in_cluster_mode_the_application_id_comes_from_the_output_of_spark_submit(job):
    job.output.history_server = HISTORY

    def lines():
        yield "Submitting"
        job.hook._yarn_application_id = "application_1772323200000_0007"
        yield "Submitted application application_1772323200000_0007"

    list(job.output.read(lines(), job.hook))

    assert job.links == {HistoryServerLink.KEY: f"{HISTORY}/history/application_1772323200000_0007"}
    assert job.store == [("progress", {"percent": 0, "stage": "running"})]


def test_a_task_that_is_skipped_is_done(job, caplog):
    with pytest.raises(AirflowSkipException), job.output.report():
        raise AirflowSkipException("Not promoted.")

    assert job.store[-1] == ("progress", {"percent": 100, "stage": "done"})
    assert caplog.records == []


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (['Exception in thread "main" java.lang.OutOfMemoryError'], "java.lang.OutOfMemoryError"),
        (
            ['Exception in thread "main" org.apache.spark.SparkException: No', "\tat X", "Caused by: java.io.IOException: full"],
            "java.io.IOException: full",
        ),
        (
            ["Traceback (most recent call last):", "ModuleNotFoundError: No module named 'keras'"],
            "ModuleNotFoundError: No module named 'keras'",
        ),
        (["spark ended"], "RuntimeError: Error code is: 1."),
    ],
)
def test_the_last_error_in_the_output_is_the_cause_of_a_job_that_wrote_none(job, caplog, lines, cause):
    list(job.output.read(lines, job.hook))
    with pytest.raises(RuntimeError), job.output.report():
        raise RuntimeError("Error code is: 1.\nand all the output")

    assert [record.getMessage() for record in caplog.records] == [cause]


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: Using incubator modules: jdk.incubator.vector",
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
        "I0000 00:00:1795601046.631747   11384 port.cc:153] oneDNN custom operations are on. You may see slightly different numerical results",
        "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate compiler flags.",
    ],
)
def test_needless_lines_are_left_out(job, line):
    assert list(job.output.read([line], job.hook)) == []


def test_lines_that_could_be_errors_stay(job):
    lines = ["26/11/25 10:02:57 WARN TaskSetManager: Lost task", "java.io.IOException: full", "Exception", ""]
    assert list(job.output.read([*lines, *lines], job.hook)) == [*lines, *lines]
