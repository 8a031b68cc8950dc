"""A task that is killed while its model is trained: no process of the job is left, wherever it ran."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from .test_cluster import cluster  # noqa: F401 - a fixture

pytestmark = [pytest.mark.spark, pytest.mark.airflow]

MARK = "DISTKERAS_TEST_MARK"
#: Airflow grants five seconds; a machine that runs other tests beside this one may need longer than an idle one.
SOON_S = 10.0
#: Until a job is at training, at most.
TRAINING_S = 400.0

DAG = """
from datetime import timedelta
from airflow.sdk import DAG
from airflow_provider_distkeras.operators import DistKerasTrainOperator

with DAG("killed", schedule=None):
    DistKerasTrainOperator(
        task_id="train", dataset_path={dataset!r}, artifact_root={root!r}, num_folds=2, executor_memory="600m",
        trainer_params={{"num_epoch": 1_000_000, "num_workers": 2}}, hyperparameters={{"layer_dims": [None, 8, 1]}},
        conf={{"spark.executorEnv.{mark}": {value!r}, "spark.ui.enabled": "false"}}, {arguments}
    )
"""


def marked(value):
    """The ids of the processes that the mark was handed down to, and what they are."""
    commands = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and f"{MARK}={value}".encode() in (folder / "environ").read_bytes():
                commands[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\\0", b" ").decode()
    return commands


class Task:
    """`airflow dags test` in a process of its own, which the signals of Airflow's supervisor are sent to."""

    def __init__(self, folder, master, dataset, arguments):
        self.value, self.root = uuid.uuid4().hex, folder / "trained"
        (folder / "dags").mkdir(exist_ok=True)
        (folder / "dags" / "killed.py").write_text(
            DAG.format(dataset=dataset, root=str(self.root), mark=MARK, value=self.value, arguments=arguments)
        )
        environment = {
            **os.environ,
            MARK: self.value,
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": master}),
            "AIRFLOW__DISTKERAS__READABLE_ROOTS": str(folder),  # where the dataset lies
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        command = [sys.executable, "-m", "airflow", "dags", "test", "killed", "2026-03-01"]
        self.process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.output = []
        self.training = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.output.append(line)
            if " samples/s" in line:
                self.training.set()

    def job(self):
        """The processes of the job."""
        return {pid: command for pid, command in marked(self.value).items() if pid != self.process.pid}

    def seconds_until_gone(self):
        started = time.monotonic()
        while (left := self.job()) and time.monotonic() - started < SOON_S:
            time.sleep(0.02)
        assert not left, [command[-300:] for command in left.values()]
        return time.monotonic() - started


@pytest.fixture
def start(airflow_db, prepared, tmp_path):
    """Starts a task; its job is at training when it is returned."""
    started = []

    def start(master, arguments=""):
        task = Task(tmp_path, master, prepared, arguments)
        started.append(task)
        deadline = time.monotonic() + TRAINING_S
        while not task.training.wait(0.2):
            assert task.process.poll() is None, "".join(task.output)[-4000:]
            assert time.monotonic() < deadline, "".join(task.output)[-4000:]
        return task

    yield start
    for task in started:
        task.process.kill()
        task.process.wait()
        for pid in task.job():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def assert_a_worker_trains(task):
    assert [command for command in task.job().values() if "pyspark.daemon" in command], task.job()


def test_killed_task_leaves_no_process_of_a_local_job(start):
    task = start("local[2]")
    assert_a_worker_trains(task)

    task.process.send_signal(signal.SIGTERM)

    print(f"gone after {task.seconds_until_gone():.2f} s")
    assert task.process.wait(60) is not None
    assert not list(task.root.rglob("CURRENT"))


def test_killed_task_leaves_no_process_of_a_job_on_a_cluster(start, cluster):  # noqa: F811
    for signal_number in (signal.SIGTERM, signal.SIGKILL):  # Airflow asks, and the kernel does not
        task = start(cluster)
        assert_a_worker_trains(task)
        assert [command for command in task.job().values() if "CoarseGrainedExecutorBackend" in command]

        task.process.send_signal(signal_number)

        # Nobody waits for the task meanwhile: one that was killed stays a zombie, which the job must not take for a task.
        print(f"gone after {task.seconds_until_gone():.2f} s")
        assert not list(task.root.rglob("CURRENT"))
