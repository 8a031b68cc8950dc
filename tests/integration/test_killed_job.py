"""A job that is killed half-way leaves the previous result in place."""

import json
import os
import signal
import subprocess
import threading
import time

import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import committed
from airflow_provider_distkeras.contract.artifacts.lease import Lease
from airflow_provider_distkeras.contract.artifacts.progress import Progress, parse_event
from airflow_provider_distkeras.contract.artifacts.request import SUBMITTERS
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.specs import TrainSpec

pytestmark = pytest.mark.spark


def train_spec(dataset_path, num_epoch):
    return TrainSpec.build(
        dataset_path=dataset_path,
        trainer_params={"num_epoch": num_epoch},
        hyperparameters={"layer_dims": [None, 8, 1]},
        num_folds=2,
    )


def is_training(line):
    progress = parse_event(line)
    return isinstance(progress, Progress) and progress.samples_per_second is not None


def test_a_killed_job_changes_nothing(submit, prepared):
    before, process = submit(train_spec(prepared, num_epoch=1))
    output = process.communicate()[0]
    assert process.returncode == 0, output[-3000:]

    attempt, process = submit(train_spec(prepared, num_epoch=1_000_000))
    for line in process.stdout:
        if is_training(line):
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    assert process.returncode == -signal.SIGKILL
    storage = LocalStorage()
    assert not storage.exists(attempt.manifest_path)
    assert committed(storage, before.period_path).result["model_path"] == f"{before.path}/model"

    # The newest attempt counts, although one was killed before it.
    again, process = submit(train_spec(prepared, num_epoch=2))
    output = process.communicate()[0]
    assert process.returncode == 0, output[-3000:]
    assert committed(storage, before.period_path).result["model_path"] == f"{again.path}/model"


def survivors(group):
    """Whether a process group has any process left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def assert_gone(group):
    deadline = time.monotonic() + 30
    while survivors(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not survivors(group)


def test_a_job_ends_soon_after_what_submitted_it(submit, prepared, monkeypatch):
    with subprocess.Popen(["sleep", "1000"]) as task:
        monkeypatch.setenv(SUBMITTERS, f"{os.getpid()},{task.pid}")
        attempt, process = submit(train_spec(prepared, num_epoch=1_000_000))
        for line in process.stdout:
            if is_training(line):
                break
        task.kill()
    assert "the task that submitted this job is gone" in process.communicate(timeout=60)[0]
    assert_gone(process.pid)
    assert not LocalStorage().exists(attempt.manifest_path)


def test_a_job_goes_on_as_long_as_its_lease_is_renewed_and_no_longer(submit, prepared):
    lease, storage = Lease(5.0), LocalStorage()
    attempt, process = submit(train_spec(prepared, num_epoch=1_000_000), lease=lease)
    training = threading.Event()
    output = []

    def read():
        for line in process.stdout:
            output.append(line)
            if is_training(line):
                training.set()

    reader = threading.Thread(target=read)
    reader.start()
    started = time.monotonic()
    while not (training.is_set() and time.monotonic() - started > 3 * lease.seconds):
        assert process.poll() is None, "".join(output)[-3000:]
        storage.write_bytes(attempt.lease_path, lease.renewed())
        time.sleep(0.2)

    assert process.wait(timeout=60) == 1
    reader.join()
    assert "Nobody has waited for this job for 5 s" in "".join(output)
    assert json.loads(storage.read_bytes(attempt.error_path))["permanent"] is False
    assert_gone(process.pid)
    assert not storage.exists(attempt.manifest_path)
