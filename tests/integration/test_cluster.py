"""A standalone cluster: a master and two workers, each with processes of its own, that know the package only from --py-files."""

import pytest

from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.specs import TrainSpec

from .standalone import standalone

pytestmark = pytest.mark.spark


@pytest.fixture
def cluster(tmp_path):
    """The URL of a master with two workers of one core."""
    with standalone(tmp_path, "127.0.0.1", "127.0.0.1") as url:
        yield url


def test_a_model_is_trained_on_a_cluster(cluster, submit, prepared):
    spec = TrainSpec.build(
        dataset_path=prepared,
        trainer_params={"num_epoch": 3, "num_workers": 2, "batch_size": 16},
        hyperparameters={"layer_dims": [None, 8, 1], "optimizer": "adam", "learning_rate": 0.1},
        num_folds=2,
    )
    attempt, process = submit(spec, cluster)
    output = process.communicate()[0]
    assert process.returncode == 0, output[-3000:]
    training = Manifest.read(LocalStorage(), attempt.manifest_path).details.training
    assert training["rows_trained"] == 3 * 400
    assert len(training["workers"]) == 2
