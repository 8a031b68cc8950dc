"""A job from the command line, without Spark."""

import importlib.util
import json
import logging
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.failure import Failure
from airflow_provider_distkeras.contract.artifacts.progress import JobStarted, parse_event
from airflow_provider_distkeras.contract.errors import ArtifactError, DataError, SpecError, SupersededError
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.jobs import runner
from airflow_provider_distkeras.ml.reporting import report
from tests.fixtures.lifetimes import claim, live


@pytest.fixture
def command_line(monkeypatch):
    """A job's command line; what it does to this process's logging is undone."""
    package = logging.getLogger("airflow_provider_distkeras")
    stopped = []
    session = SimpleNamespace(stop=lambda: stopped.append(True))
    builder = SimpleNamespace(config=lambda *_: SimpleNamespace(getOrCreate=lambda: session))
    monkeypatch.setattr(runner, "SparkSession", SimpleNamespace(builder=builder))
    monkeypatch.setattr(sys, "argv", ["train.py", "--spec", "file:///spec"])
    monkeypatch.delenv(runner.SUBMITTERS, raising=False)
    before = (package.handlers[:], package.level, package.propagate)
    yield stopped
    package.handlers[:], package.propagate = before[0], before[2]
    package.setLevel(before[1])
    for name in runner.FITS:
        package.getChild(name).setLevel(logging.NOTSET)


def test_a_job_that_fails_logs_why_in_one_line_above_the_stack_trace(command_line, monkeypatch, capfd):
    def fail(spark, spec_path, body):
        raise DataError("No rows.\nNone at all.")

    monkeypatch.setattr(runner, "run", fail)
    with pytest.raises(SystemExit, match="1"):
        runner.main(lambda *_: None)

    output = capfd.readouterr()
    assert output.out.splitlines() == ["distkeras: DataError: No rows."]
    assert output.err.startswith("Traceback (most recent call last)")
    assert command_line == [True]


def test_an_event_is_a_line_of_json_in_a_jobs_log(command_line, monkeypatch, capfd):
    started = JobStarted("train", "app-1")
    monkeypatch.setattr(runner, "run", lambda *_: logging.getLogger(runner.__name__).info(started))
    runner.main(lambda *_: None)

    assert capfd.readouterr().out.splitlines() == [started.to_line()]


class JavaException:
    """An exception of Java as Py4J shows it."""

    def __init__(self, text, cause=None):
        self.text, self.cause = text, cause

    def __str__(self):
        return self.text

    def getCause(self):
        return self.cause


FULL = JavaException("java.io.IOException: No space left on device")


@pytest.mark.parametrize(
    ("exception", "line"),
    [
        (FULL, "RuntimeError: java.io.IOException: No space left on device"),
        (
            JavaException("SparkException: Task failed", JavaException("IOException: Job aborted", FULL)),
            "RuntimeError: java.io.IOException: No space left on device (SparkException: Task failed)",
        ),
    ],
)
def test_an_error_of_java_has_its_own_message_and_its_first_cause(exception, line):
    error = RuntimeError("An error occurred while calling o1.collect.\n: java.io.IOException: full")
    error.java_exception = exception

    assert runner.failure_of(error).line == line


_LOSES_JAVA = """
import os, signal, threading
from pyspark.sql import SparkSession
from airflow_provider_distkeras.jobs import runner
def body(spark, *_):
    java = spark._jvm.java.lang.ProcessHandle.current().pid()
    threading.Timer(0, os.kill, (java, signal.SIGKILL)).start()
    spark.range(10**12).selectExpr("sum(hash(id))").collect()
runner.run = lambda spark, spec_path, body: body(spark)
runner.main(body)
"""


def test_a_job_whose_java_process_is_killed_says_so_and_not_that_a_connection_is_refused(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _LOSES_JAVA, "--spec", "file:///spec"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stdout.startswith("distkeras: Spark's Java process has ended while the job ran: it was killed, or ran out")


def test_a_failure_that_cannot_be_written_is_logged_as_an_event(tmp_path, caplog):
    attempt = Attempt(str(tmp_path), "attempt")
    (tmp_path / "attempt" / "_ERROR.json" / "taken").mkdir(parents=True)
    (tmp_path / "attempt" / "_SPEC.json").touch()
    failure = Failure.of(DataError("No rows."))
    with caplog.at_level(logging.INFO, runner.__name__):
        runner._write_failure(LocalStorage(), attempt, failure)

    unwritable, event = caplog.records
    assert unwritable.getMessage().startswith(f"The failure cannot be written beside the request: Cannot write {tmp_path}")
    assert parse_event(event.msg.to_line()).failure == failure


def test_jobs_start_without_what_only_parts_of_them_need():
    absent = ["jinja2", "matplotlib", "mlflow", "optuna", "tensorboardX", "tensorflow", "jax", "torch", "airflow"]
    modules = ", ".join(f"airflow_provider_distkeras.jobs.{job}" for job in ("preprocess", "train", "score", "promote"))
    script = f"import sys; sys.modules.update(dict.fromkeys({absent})); import {modules}"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_what_the_report_needs_is_looked_for_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else name)

    with pytest.raises(
        SpecError, match="The training report needs matplotlib, which is not installed where the job's driver runs"
    ):
        report.check_installed()


@pytest.fixture
def attempt(tmp_path):
    """A claimed attempt."""
    return claim(LocalStorage(), f"file://{tmp_path}/root", "2026-03", minute=0)


@pytest.fixture
def run(attempt, monkeypatch):
    """Runs a body for the attempt, without Spark."""
    monkeypatch.setattr(runner, "storage_for", lambda *_: LocalStorage())
    context = SimpleNamespace(applicationId="local-1", uiWebUrl=None)
    session = SimpleNamespace(sparkContext=context, version="4.2.0")
    return lambda body: runner.run(session, attempt.spec_path, body)


def test_a_job_that_was_overtaken_ends_before_it_begins(run, attempt):
    live(LocalStorage(), attempt.root_of("dag", "train", -1), "2026-03", minute=1)

    with pytest.raises(SupersededError, match="the newer attempt"):
        run(lambda *_: pytest.fail("The body ran."))
    assert json.loads(LocalStorage().read_bytes(attempt.error_path))["type"] == "SupersededError"


def test_a_root_that_vanishes_while_a_job_runs_is_named_and_not_made_anew(run, tmp_path, caplog):
    def body(*_):
        shutil.rmtree(tmp_path / "root")
        return runner.JobResult({"model_path": "m", "report_path": "r", "best_params": {}, "metrics": {}, "rows": 1})

    with (
        caplog.at_level(logging.INFO, runner.__name__),
        pytest.raises(ArtifactError, match=f"no file://{tmp_path}/root any more"),
    ):
        run(body)
    assert list(tmp_path.iterdir()) == []
    assert "ArtifactError: The artifact root" in caplog.text  # the operator reads it from the log
