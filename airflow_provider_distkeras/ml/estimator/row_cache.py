"""Rows that a machine holds once, in mapped files on Spark's local disk, and what fits are cut out of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.ml.data.feature_statistics import FILLED, FeatureMap, Moments, add_moments, filled_in
from airflow_provider_distkeras.ml.estimator import sample_weights
from airflow_provider_distkeras.ml.estimator.fold import PART, VALIDATION, Fold
from airflow_provider_distkeras.ml.estimator.sample_weights import ClassWeights
from airflow_provider_distkeras.training import dataset
from airflow_provider_distkeras.training.dataset import FEATURES, RecordStore, Rows, as_matrix

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS, _FILLED = "rows.npy", "filled.npy"
#: Behind a row's features, labels and weight: its part, and whether it is validated on.
_PART, _VALIDATED = -2, -1
_MAPPED_AT_ONCE = 16
_BLOCK_ROWS = 16_384
_mapped: dict[tuple[str, str], SliceRows] = {}


@dataclass(frozen=True)
class FoldSlice:
    """What a fit is given of the rows, as plain values.

    Attributes:
        fold: the parts it trains on and is measured on.
        mapping: what the fold's statistics make of features; None for what they are.
        class_weights: what the weights of the rows it trains on are multiplied by; None for nothing.
    """

    fold: Fold
    mapping: FeatureMap | None = None
    class_weights: ClassWeights | None = None

    @property
    def name(self) -> str:
        """The same for all that is cut alike out of the same rows."""
        return hashlib.sha256(repr((self.fold, self.class_weights)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class SliceRows:
    """The rows of one fit.

    Attributes:
        training: to train on; validation: to validate on; held_out: to measure on at the end.
    """

    training: Rows
    validation: Rows
    held_out: Rows


@dataclass(frozen=True)
class RowSummary:
    """What is known of rows by their part.

    Attributes:
        rows: how many there are.
        moments: what describes their features; empty if that was not asked for.
    """

    rows: dict[int, int]
    moments: dict[int, Moments]

    def to_report(self) -> tuple[dict[str, Any], bytes]:
        """The survey as plain JSON values, and bytes."""
        described = sorted(self.moments)
        report = {"rows": sorted(self.rows.items()), "described": described}
        return report, b"".join(self.moments[part].to_bytes() for part in described)

    @classmethod
    def from_report(cls, report: dict[str, Any], content: bytes) -> RowSummary:
        """What `to_report` told."""
        described = report["described"]
        vectors = np.frombuffer(content).reshape(len(described), -1 if described else 0)
        moments = {part: Moments.from_vector(vector) for part, vector in zip(described, vectors, strict=True)}
        return cls(dict(report["rows"]), moments)


def store(key: str, folder: str, batches: Iterable[pa.RecordBatch], cache_bytes: int, *, describes: bool) -> RowSummary:
    """Store rows for all processes of this machine, unless another one has done so meanwhile.

    Args:
        key: names them.
        folder: on the local disk.
        batches: as `Loader.load` takes them, with the rows' PART, and with FILLED if anything was filled in.
        cache_bytes: how much memory the rows may take before they are stored.
        describes: whether moments are asked for.

    Raises:
        DataError, TrainingError: as `Loader.load` does.
    """
    rows: RecordStore | None = None
    filled: list[NDArray[np.int64]] = []
    counts: dict[int, int] = {}
    moments: dict[int, Moments] = {}
    for batch in batches:
        if not batch.num_rows:
            continue
        parts = batch.column(PART).to_numpy()
        block = np.column_stack([dataset.as_records(batch), parts, dataset.validated(batch)]).astype(np.float32, copy=False)
        rows = rows or RecordStore(block.shape[1], cache_bytes, folder)
        where = None
        if FILLED in batch.schema.names:
            where = filled_in(batch.column(FILLED))
            filled.append(np.stack([where[0] + sum(counts.values()), where[1]]))
        for part, count in zip(*np.unique(parts, return_counts=True), strict=True):
            counts[int(part)] = counts.get(int(part), 0) + int(count)
        if describes:
            add_moments(moments, as_matrix(batch.column(FEATURES)), parts, where)
        rows.append(block)

    def write(place: Path) -> None:
        np.save(place / _ROWS, np.empty((0, 3), np.float32) if rows is None else rows.close())
        if filled:
            np.save(place / _FILLED, np.concatenate(filled, axis=1))

    _keep(_place(key, folder), write)
    return RowSummary(counts, moments)


def find(key: str, cut: FoldSlice, num_labels: int, folder: str) -> SliceRows | None:
    """A fit's rows, cut out of those that a process of this machine stored under a key; None if none has.

    Args:
        num_labels: how many values of a row are labels.
    """
    known = (key, cut.name)
    if known not in _mapped:
        base, place = _place(key, folder), _place(key, folder) / cut.name
        if not place.exists():
            if not base.exists():
                return None
            _keep(place, partial(_write_cut, base, cut, num_labels))
        found = (np.load(place / name, mmap_mode="r") for name in ("training.npy", "validation.npy", "held_out.npy"))
        while len(_mapped) >= _MAPPED_AT_ONCE:
            del _mapped[next(iter(_mapped))]
        _mapped[known] = SliceRows(*map(Rows, found))
    return _mapped[known]


def forget(key: str, folder: str) -> None:
    """Delete rows from this machine; a process that has them mapped keeps them until it maps others."""
    for known in [known for known in _mapped if known[0] == key]:
        del _mapped[known]
    shutil.rmtree(_place(key, folder), ignore_errors=True)


def _place(key: str, folder: str) -> Path:
    return Path(folder, f"distkeras-rows-{key}")


def _keep(place: Path, write: Callable[[Path], None]) -> None:
    """Have a folder written that is there as a whole or not at all; nothing if another process was faster."""
    part = Path(tempfile.mkdtemp(prefix="distkeras-part-", dir=place.parent))
    try:
        write(part)
        os.rename(part, place)
    except OSError:
        if not place.exists():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_cut(base: Path, cut: FoldSlice, num_labels: int, place: Path) -> None:
    """Write the rows of a fit, out of those that are stored."""
    rows = np.load(base / _ROWS, mmap_mode="r")
    width = rows.shape[1] + _PART
    num_features = width - 1 - num_labels
    parts, validated = rows[:, _PART], rows[:, _VALIDATED] != 0
    known = np.isin(parts, (*cut.fold.training, VALIDATION))
    chosen = {"training": known & ~validated, "validation": known & validated, "held_out": parts == cut.fold.held_out}
    filled = _Filled.read(base)
    for name, mask in chosen.items():
        weights = None
        if name == "training" and cut.class_weights is not None:
            weights = _label_weights(rows[mask, num_features], cut.class_weights)
        if cut.mapping is None:
            blocks = _blocks(rows, mask)
        else:
            blocks = _mapped_blocks(rows, mask, filled.among(mask), cut.mapping, num_features)
        target = np.lib.format.open_memmap(place / f"{name}.npy", "w+", np.float32, (int(mask.sum()), width))
        start = 0
        for block in blocks:
            stop = start + len(block)
            if weights is not None:
                block[:, -1] *= weights[start:stop]
            target[start:stop] = block
            start = stop


def _blocks(rows: NDArray[np.float32], mask: NDArray[np.bool_]) -> Iterator[NDArray[np.float32]]:
    """The marked rows, less what they were marked by."""
    places = np.flatnonzero(mask)
    for start in range(0, len(places), _BLOCK_ROWS):
        yield rows[places[start : start + _BLOCK_ROWS], :_PART]


def _mapped_blocks(
    rows: NDArray[np.float32], mask: NDArray[np.bool_], filled: _Filled, mapping: FeatureMap, num_features: int
) -> Iterator[NDArray[np.float32]]:
    """The same, with features by a fold's statistics."""
    start = 0
    for block in _blocks(rows, mask):
        stop = start + len(block)
        block[:, :num_features] = mapping.apply(block[:, :num_features], *filled.of(start, stop))
        yield block
        start = stop


def _label_weights(labels: NDArray[np.float32], said: ClassWeights) -> NDArray[np.float32]:
    """What the rows' weights are multiplied by."""
    if isinstance(said, str):
        classes, counts = np.unique(labels, return_counts=True)
        said = sample_weights.balance(dict(zip(classes.tolist(), counts.tolist(), strict=True)))
    weights = np.ones(len(labels), np.float32)
    for label, weight in said.items():
        weights[labels == label] = weight
    return weights


@dataclass(frozen=True)
class _Filled:
    """Which features of some rows were filled in: the rows, in their order, and the positions."""

    rows: NDArray[np.int64]
    positions: NDArray[np.int64]

    @classmethod
    def read(cls, base: Path) -> _Filled:
        """Of all rows that are stored."""
        if not (base / _FILLED).exists():
            return cls(np.empty(0, np.int64), np.empty(0, np.int64))
        return cls(*np.load(base / _FILLED))

    def among(self, mask: NDArray[np.bool_]) -> _Filled:
        """Of the marked ones, counted anew."""
        kept = mask[self.rows]
        return _Filled((np.cumsum(mask) - 1)[self.rows[kept]], self.positions[kept])

    def of(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of the rows from `start`, counted from there, to `stop`."""
        first, last = np.searchsorted(self.rows, (start, stop))
        return self.rows[first:last] - start, self.positions[first:last]
