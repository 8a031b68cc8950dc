"""Processes that are really killed in the middle of a fit: workers and executors."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from airflow_provider_distkeras.hooks.package_archive import zip_package
from tests.integration.standalone import spark_environment

from .test_cluster import cluster  # noqa: F401 - a fixture

pytestmark = pytest.mark.spark

FIT = Path(__file__).with_name("faulty_fit.py")
ROWS, EPOCHS = 400, 6
RUN = {"batch_size": 10, "num_epoch": EPOCHS, "num_workers": 2, "communication_window": 2}
COMMITS = 2 * 10 * EPOCHS  # 200 rows per worker, 20 to a commit

#: Kills a process at a worker's n-th commit, once: after the server has applied it and before the worker has its answer.
SABOTEUR = """
import os, signal
from airflow_provider_distkeras.training.server import client
honest = client.ParameterClient.commit

def commit(self, update, sequence, *rest):
    reply = honest(self, update, sequence, *rest)
    if self._worker == 1 and sequence == {at}:
        try:
            os.close(os.open({marker!r}, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return reply
        {victim}
        signal.pause()
    return reply

client.ParameterClient.commit = commit
"""
ITSELF = "os.kill(os.getpid(), signal.SIGKILL)"
ITS_EXECUTOR = """
        daemon = os.getppid()
        os.kill(int(open(f"/proc/{daemon}/stat").read().rpartition(")")[2].split()[1]), signal.SIGKILL)
""".strip()


@pytest.fixture
def start(tmp_path):
    """Starts fits in a driver of their own."""
    started = []

    def start(*fits, master="local[2,4]", sabotage=None, **options):
        files = []
        if sabotage:
            at, victim = sabotage
            path = tmp_path / "saboteur.py"
            path.write_text(SABOTEUR.format(at=at, marker=str(tmp_path / "struck"), victim=victim))
            files.append(str(path))
            fits = [{**fit, "params": {**fit["params"], "custom_objects": ["saboteur"]}} for fit in fits]
        if master.startswith("spark:"):
            (tmp_path / "zip").mkdir()
            files.append(str(zip_package(tmp_path / "zip")))
        request = {"master": master, "fits": fits, "py_files": files, **options}
        environment = {
            **spark_environment(),
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}",
        }
        log = (tmp_path / f"log-{len(started)}").open("w+")
        command = [sys.executable, str(FIT), json.dumps(request)]
        started.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        )
        started[-1].log = log.name
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def results(process):
    out = process.communicate(timeout=240)[0]
    line = next((line for line in out.splitlines() if line.startswith("RESULT ")), None)
    assert line is not None, Path(process.log).read_text()[-3000:]
    return json.loads(line.removeprefix("RESULT "))


def one(trainer="ADAG", trainer_params=None, **params):
    return {"trainer": trainer, "trainer_params": {**RUN, **(trainer_params or {})}, "params": {"learning_rate": 0.02, **params}}


def test_a_worker_that_is_killed_is_replaced_and_no_commit_counts_twice(start, tmp_path):
    (fit,) = results(start(one(), sabotage=(27, ITSELF)))
    assert (tmp_path / "struck").exists()
    assert "error" not in fit, fit
    assert fit["rows_trained"] == EPOCHS * ROWS
    assert fit["updates"] == COMMITS
    assert fit["loss"][-1] < fit["loss"][0]
    # What the killed worker had committed, 27 times 20 rows, was not trained again.
    assert fit["trained_here"] == EPOCHS * ROWS - 27 * 20


@pytest.mark.parametrize("trainer", ["ADAG", "LocalSGD"])
def test_an_executor_that_is_killed_is_replaced_and_no_commit_counts_twice(start, tmp_path, cluster, trainer):  # noqa: F811
    (fit,) = results(start(one(trainer), master=cluster, sabotage=(27, ITS_EXECUTOR), conf={"spark.executor.memory": "600m"}))
    assert (tmp_path / "struck").exists()
    assert "error" not in fit, fit
    assert fit["rows_trained"] == EPOCHS * ROWS
    assert fit["updates"] == COMMITS


def test_the_numbers_of_this_file_are_those_of_its_data():
    assert 2 * int(np.ceil(ROWS / 2 / 20)) * EPOCHS == COMMITS
