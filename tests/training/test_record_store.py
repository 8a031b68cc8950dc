"""Records beyond the limit of memory, as a loader stores them."""

import tempfile

import numpy as np
import pytest

from airflow_provider_distkeras.contract.errors import TrainingError
from airflow_provider_distkeras.training import record_store
from airflow_provider_distkeras.training.dataset import Loader
from tests.training.test_dataset import batch, seen


def many(count=5000, width=30):
    values = np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)
    return [batch(values[start : start + 500].tolist(), range(start, start + 500)) for start in range(0, count, 500)]


def test_rows_past_the_limit_live_in_a_file_that_has_no_name(monkeypatch, tmp_path):
    monkeypatch.setattr(record_store, "_FIRST_CAPACITY", 1 << 10)
    batches = many()
    in_memory, _ = Loader().load(batches)
    mapped, _ = Loader(cache_bytes=150_000, folder=str(tmp_path)).load(batches)
    assert isinstance(mapped.records, np.memmap)
    assert not isinstance(in_memory.records, np.memmap)
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(mapped.records, in_memory.records)
    assert seen(mapped, 64, 3, [1]) == seen(in_memory, 64, 3, [1])


def test_a_full_disk_is_named_in_the_error(monkeypatch):
    monkeypatch.setattr(record_store, "_FIRST_CAPACITY", 1 << 10)
    full = "/dev/full"

    def open_full(prefix, dir):
        import os

        return os.open(full, os.O_RDWR), tempfile.mktemp()

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record_store.tempfile, "mkstemp", open_full)
    monkeypatch.setattr(record_store.os, "unlink", lambda _: None)
    monkeypatch.setattr(record_store.os, "posix_fallocate", no_space)
    with pytest.raises(TrainingError, match=r"local disk is full: a worker needs .* bytes .*cache_mb"):
        Loader(cache_bytes=150_000).load(many())
