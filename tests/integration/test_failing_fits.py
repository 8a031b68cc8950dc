"""Fits that cannot succeed: layers that raise or hang, divergence, full disks."""

import subprocess

import pytest

from tests.integration.fit_driver import EPOCHS, ROWS, fit_request, step

pytestmark = pytest.mark.spark

#: Makes worker 1 send an update that is not finite.
NOT_FINITE = """
from airflow_provider_distkeras.training.server import client
honest = client.ParameterClient.commit

def commit(self, update, sequence, *rest):
    return honest(self, update * float("nan") if self._worker == 1 and sequence == 27 else update, sequence, *rest)

client.ParameterClient.commit = commit
"""


@pytest.fixture(scope="module")
def failing(drive):
    """Fits that cannot go well, one after the other in one driver."""
    layers = {"layer_dims": None, "custom_objects": ["interrupted_fits"]}
    steps = [
        step(fit_request(**layers, network="interrupted_fits:raises")),
        step(fit_request(**layers, network="interrupted_fits:hangs", timeout=8.0)),
        step(fit_request(learning_rate=1e9)),
        step(fit_request(progress_path="/dev/full")),
        step(fit_request()),
    ]
    names = ["raises", "hangs", "diverges", "progress", "after"]
    return dict(zip(names, [results[0] for results in drive(steps).results()], strict=True))


def test_a_layer_that_raises_ends_the_fit_with_the_place_and_its_own_error(failing):
    fit = failing["raises"]
    assert fit["error"] == "TrainingError"
    assert "the layer's own error" in fit["message"]
    assert fit["message"].startswith("Worker ")
    # Its 50th batch is the 10th of the third epoch, of 20 batches each.
    assert "epoch 3, batches 9 to 10" in fit["message"]


def test_a_layer_that_hangs_for_ever_ends_the_fit_after_the_time_allowed(failing):
    fit = failing["hangs"]
    assert fit["error"] == "TrainingError"
    assert "no worker has sent anything for 8 s" in fit["message"]


def test_divergence_names_the_worker_the_epoch_and_the_batches(failing):
    fit = failing["diverges"]
    assert fit["error"] == "DivergenceError"
    assert "epoch 1, batches " in fit["message"]
    assert "on worker " in fit["message"]


def test_a_progress_file_on_a_full_disk_does_not_lose_the_fit(failing):
    fit = failing["progress"]
    assert "error" not in fit, fit
    assert fit["rows_trained"] == EPOCHS * ROWS


def test_the_next_fit_in_the_same_driver_succeeds(failing):
    fit = failing["after"]
    assert "error" not in fit, fit
    assert fit["rows_trained"] == EPOCHS * ROWS


@pytest.mark.parametrize("trainer", ["ADAG", "LocalSGD"])
def test_an_update_that_is_not_finite_ends_the_fit_with_the_name_of_its_worker(drive, trainer):
    ((fit,),) = drive([step(fit_request(trainer))], sabotage=NOT_FINITE).results()
    assert fit["error"] == "FrameRefusedError"
    assert fit["message"].startswith("Worker 1 on ")
    assert " failed: The parameter server refuses a frame: Commit 27 of worker 1 " in fit["message"]


@pytest.fixture
def tiny_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_ends_the_fit_with_what_to_do(drive, tiny_disk):
    wide = fit_request(cache_mb=0.001, data={"wide": 400})
    ((fit,),) = drive([step(wide)], SPARK_LOCAL_DIRS=str(tiny_disk)).results()
    assert fit["error"] == "TrainingError"
    assert fit["message"].startswith("Worker ")
    assert "The local disk is full: a worker needs " in fit["message"]
    assert str(tiny_disk) in fit["message"]
