"""Many fits in one driver: nothing of a fit stays open after it."""

import os
import threading

import pytest

from airflow_provider_distkeras.ml import DistKeras

from .interrupted_fits import dataset

pytestmark = pytest.mark.spark


def held():
    """What this process holds: its open descriptors, its threads of Python and of the system."""
    return len(os.listdir("/proc/self/fd")), threading.active_count(), len(os.listdir("/proc/self/task"))


def test_fits_in_one_driver_leave_no_descriptor_and_no_thread(spark):
    data = dataset(spark).repartition(2).cache()

    def fit(trainer):
        run = {"batch_size": 20, "num_epoch": 1, "num_workers": 2}
        DistKeras(trainer, run, layer_dims=[None, 8, 1], seed=1, backend="jax").fit(data)

    for trainer in ("ADAG", "LocalSGD"):  # compile, and start what lasts
        fit(trainer)
    before = held()
    for _ in range(4):
        for trainer in ("ADAG", "LocalSGD"):
            fit(trainer)
    data.unpersist()

    assert all(after <= most for after, most in zip(held(), before, strict=True)), (held(), before)
