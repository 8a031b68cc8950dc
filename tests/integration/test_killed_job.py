"""A job that is killed half-way leaves the previous result in place."""

import os
import signal

import pytest

from airflow_provider_distkeras.contract.paths import committed
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.contract.storage import LocalStorage

pytestmark = pytest.mark.spark


def train_spec(dataset_path, num_epoch):
    return TrainSpec.build(
        dataset_path=dataset_path,
        trainer_params={"num_epoch": num_epoch},
        hyperparameters={"layer_dims": [None, 8, 1]},
        num_folds=2,
    )


def test_a_killed_job_changes_nothing(submit, prepared):
    before, process = submit(train_spec(prepared, num_epoch=1))
    said = process.communicate()[0]
    assert process.returncode == 0, said[-3000:]

    attempt, process = submit(train_spec(prepared, num_epoch=1_000_000))
    for line in process.stdout:
        if "samples/s, loss" in line:  # training is under way
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    assert process.returncode == -signal.SIGKILL
    storage = LocalStorage()
    assert not storage.exists(attempt.manifest_path)
    assert committed(storage, before.period_path).result["model_path"] == f"{before.path}/model"

    # The newest attempt counts, although one was killed before it.
    again, process = submit(train_spec(prepared, num_epoch=2))
    said = process.communicate()[0]
    assert process.returncode == 0, said[-3000:]
    assert committed(storage, before.period_path).result["model_path"] == f"{again.path}/model"
