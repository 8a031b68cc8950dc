"""Rows that a machine holds once, in mapped files on Spark's local disk, for every Python process that trains on them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.training import dataset
from airflow_provider_distkeras.training.dataset import Loader, Rows

if TYPE_CHECKING:
    import pyarrow as pa

#: The column that marks rows which are neither trained nor validated on, but measured on at the end.
HELD_OUT = "held_out"

_MAPPED_AT_ONCE = 16
_PARTS = ("training", "validation", "held_out")
_mapped: dict[str, SharedRows] = {}


@dataclass(frozen=True)
class SharedRows:
    """The rows of one fit.

    Attributes:
        training: to train on; validation: to validate on; held_out: to measure on at the end.
    """

    training: Rows
    validation: Rows
    held_out: Rows


def find(key: str, folder: str) -> SharedRows | None:
    """The rows that a process of this machine stored under a key; None if none has."""
    if key not in _mapped:
        place = _place(key, folder)
        if not place.exists():
            return None
        parts = (np.load(place / f"{part}.npy", mmap_mode="r") for part in _PARTS)
        while len(_mapped) >= _MAPPED_AT_ONCE:
            del _mapped[next(iter(_mapped))]
        _mapped[key] = SharedRows(*map(Rows, parts))
    return _mapped[key]


def store(key: str, folder: str, batches: Iterable[pa.RecordBatch], cache_bytes: int) -> SharedRows:
    """Store rows for all processes of this machine, unless another one has done so meanwhile.

    Args:
        key: names them.
        folder: on the local disk.
        batches: as `Loader.load` takes them, with a boolean column HELD_OUT.
        cache_bytes: how much memory the rows may take before they are stored.

    Raises:
        DataError, TrainingError: as `Loader.load` does.
    """
    held: list[NDArray[np.float32]] = []
    training, validation = Loader(cache_bytes, folder).load(_split(batches, held))
    width = training.records.shape[1]
    held_out = np.concatenate(held) if held else np.empty((0, width), np.float32)
    part = Path(tempfile.mkdtemp(prefix="distkeras-part-", dir=folder))
    try:
        for name, records in zip(_PARTS, (training.records, validation.records, held_out), strict=True):
            np.save(part / f"{name}.npy", records)
        os.rename(part, _place(key, folder))
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        if not _place(key, folder).exists():
            raise
    found = find(key, folder)
    assert found is not None
    return found


def forget(key: str, folder: str) -> None:
    """Delete rows from this machine; a process that has them mapped keeps them until it maps others."""
    _mapped.pop(key, None)
    shutil.rmtree(_place(key, folder), ignore_errors=True)


def _place(key: str, folder: str) -> Path:
    return Path(folder, f"distkeras-rows-{key}")


def _split(batches: Iterable[pa.RecordBatch], held: list[NDArray[np.float32]]) -> Iterator[pa.RecordBatch]:
    """The batches less the rows held out, which are added to `held`."""
    import pyarrow.compute as pc

    for batch in batches:
        marks = batch.column(HELD_OUT)
        aside = batch.filter(marks)
        if aside.num_rows:
            held.append(dataset.as_records(aside))
        yield batch.filter(pc.invert(marks))
