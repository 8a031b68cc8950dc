"""A search whose job is killed is resumed: its finished fits are not run again."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.specs import TrainSpec

pytestmark = pytest.mark.spark

TRIALS, FOLDS = 10, 2


def recorded(attempt):
    return {path.name: json.loads(path.read_bytes()) for path in Path(attempt.path[7:]).glob("trials/*.json")}


def test_a_killed_search_is_resumed(submit, prepared):
    spec = TrainSpec.build(
        dataset_path=prepared,
        trainer="SingleTrainer",
        trainer_params={"num_epoch": 20, "batch_size": 16},
        hyperparameters={"layer_dims": [None, 8, 1]},
        param_grid={"learning_rate": [0.001 * trial for trial in range(1, TRIALS + 1)]},
        num_folds=FOLDS,
    )
    first, process = submit(spec)
    deadline = time.monotonic() + 300
    while (
        not any(Path(first.path[7:]).glob("trials/*.json")) and time.monotonic() < deadline
    ):  # others are under way, more than one in a task
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = recorded(first)
    assert 1 <= len(done) < TRIALS * FOLDS

    second, process = submit(spec)
    output = process.communicate()[0]
    assert process.returncode == 0, output[-3000:]
    assert f"the results of {len(done)} fits of an earlier attempt are taken over" in output
    assert recorded(second).items() >= done.items()
    manifest = Manifest.read(LocalStorage(), second.manifest_path)
    assert all(len(trial["seconds"]) == FOLDS and trial["error"] is None for trial in manifest.details.trials)
