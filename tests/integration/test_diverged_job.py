"""A train job whose loss is no number."""

import json

import pytest

from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.specs import TrainSpec

pytestmark = pytest.mark.spark


def test_a_job_that_diverges_says_so_and_that_a_retry_would_too(submit, prepared):
    spec = TrainSpec.build(
        dataset_path=prepared,
        trainer_params={"num_epoch": 5, "num_workers": 2, "batch_size": 16},
        hyperparameters={"layer_dims": [None, 8, 1], "learning_rate": 1e9},
        num_folds=2,
    )
    attempt, process = submit(spec)
    output = process.communicate()[0]

    failure = json.loads(LocalStorage().read_bytes(attempt.error_path))
    print(process.returncode, failure)
    assert process.returncode != 0
    assert failure["permanent"], output[-3000:]
    assert not LocalStorage().exists(attempt.manifest_path)
