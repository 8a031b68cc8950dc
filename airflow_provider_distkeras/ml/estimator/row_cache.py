"""Runs on executors. Rows that a machine stores once, in mapped files, and the rows of single fits.

See `shared_files` for the files: they are gone with the processes that use them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.ml.data.feature_statistics import FILLED, FeatureMap, Moments, add_moments, filled_in
from airflow_provider_distkeras.ml.estimator import sample_weights, shared_files
from airflow_provider_distkeras.ml.estimator.fold import PART, VALIDATION, Fold
from airflow_provider_distkeras.ml.estimator.sample_weights import ClassSampling, ClassWeights
from airflow_provider_distkeras.training import dataset
from airflow_provider_distkeras.training.dataset import FEATURES, Rows, as_matrix, row_hashes
from airflow_provider_distkeras.training.record_store import RecordStore

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_FILE, _FILLED_FILE = "rows.npy", "filled.npy"
_SLICE_FILES = ("training.npy", "validation.npy", "held_out.npy")
#: Two columns behind a row's features, labels and weight: its part, and whether it is a validation row.
_PART, _VALIDATED = -2, -1
_MAX_MAPPED = 16
_BLOCK_ROWS = 16_384
#: Per key of the stored rows and name of the slice, the files that this process has mapped.
_mapped: dict[tuple[str, str], SliceRows] = {}


@dataclass(frozen=True)
class FoldSlice:
    """The rows of one fit, as plain values.

    Attributes:
        fold: the parts it trains on and is evaluated on.
        feature_map: maps features by the fold's statistics; None leaves them as they are.
        class_weights: the factors of the training rows' weights; None leaves them as they are.
        class_sampling: how the training rows are sampled, before they are weighed; None takes each once. The feature map is
            that of the rows before.
    """

    fold: Fold
    feature_map: FeatureMap | None = None
    class_weights: ClassWeights | None = None
    class_sampling: ClassSampling | None = None

    @property
    def name(self) -> str:
        """A name that is equal for equal slices of the same rows."""
        return hashlib.sha256(repr((self.fold, self.class_weights, self.class_sampling)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class SliceRows:
    """The rows of one fit.

    Attributes:
        training: the rows to train on.
        validation: the rows to validate on.
        held_out: the rows to evaluate on at the end.
    """

    training: Rows
    validation: Rows
    held_out: Rows


@dataclass(frozen=True)
class RowSummary:
    """Row counts and statistics by part.

    Attributes:
        rows: the number of rows of each part.
        moments: the moments of each part's features; empty if they were not computed.
    """

    rows: dict[int, int]
    moments: dict[int, Moments]

    def to_report(self) -> tuple[dict[str, Any], bytes]:
        """Return the summary as plain JSON values, and bytes."""
        parts = sorted(self.moments)
        report = {"rows": sorted(self.rows.items()), "described": parts}
        return report, b"".join(self.moments[part].to_bytes() for part in parts)

    @classmethod
    def from_report(cls, report: dict[str, Any], content: bytes) -> RowSummary:
        """Return the summary that `to_report` gave."""
        parts = report["described"]
        vectors = np.frombuffer(content).reshape(len(parts), -1 if parts else 0)
        moments = {part: Moments.from_vector(vector) for part, vector in zip(parts, vectors, strict=True)}
        return cls(dict(report["rows"]), moments)


def store(key: str, folder: str, batches: Iterable[pa.RecordBatch], cache_bytes: int, *, with_moments: bool) -> RowSummary:
    """Store rows for all processes of this machine, unless another one has done so meanwhile.

    Args:
        key: the name of the rows.
        folder: on the local disk.
        batches: as `Loader.load` takes them, with the rows' PART, and with FILLED if a statistic filled in any feature.
        cache_bytes: the memory that the rows may take before they are stored.
        with_moments: whether to compute the moments of the features.

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
        block = np.column_stack([dataset.as_records(batch), parts, dataset.validation_mask(batch)]).astype(np.float32, copy=False)
        rows = rows or RecordStore(block.shape[1], cache_bytes, folder)
        positions = None
        if FILLED in batch.schema.names:
            positions = filled_in(batch.column(FILLED))
            filled.append(np.stack([positions[0] + sum(counts.values()), positions[1]]))
        for part, count in zip(*np.unique(parts, return_counts=True), strict=True):
            counts[int(part)] = counts.get(int(part), 0) + int(count)
        if with_moments:
            add_moments(moments, as_matrix(batch.column(FEATURES)), parts, positions)
        rows.append(block)

    def write(place: Path) -> None:
        np.save(place / _ROWS_FILE, np.empty((0, 3), np.float32) if rows is None else rows.close())
        np.save(place / _FILLED_FILE, np.concatenate(filled, axis=1) if filled else np.empty((2, 0), np.int64))

    shared_files.write(_rows_folder(key, folder), (_ROWS_FILE, _FILLED_FILE), write)
    return RowSummary(counts, moments)


def load(key: str, fold_slice: FoldSlice, num_labels: int, folder: str) -> SliceRows | None:
    """Return the rows of a fit out of those stored on this machine, or None if none are stored under this key.

    Args:
        key: the name of the rows.
        fold_slice: the rows of the fit.
        num_labels: how many values of a row are labels.
        folder: on the local disk.
    """
    name = (key, fold_slice.name)
    if name not in _mapped:
        base = _rows_folder(key, folder)
        place = base / fold_slice.name
        files = shared_files.read(place, _SLICE_FILES)
        if files is None:
            stored = shared_files.read(base, (_ROWS_FILE, _FILLED_FILE))
            if stored is None:
                return None
            rows, filled = stored
            shared_files.write(place, _SLICE_FILES, partial(_write_slice, rows, filled, fold_slice, num_labels))
            files = shared_files.read(place, _SLICE_FILES)
            if files is None:
                return None
        while len(_mapped) >= _MAX_MAPPED:
            del _mapped[next(iter(_mapped))]
        _mapped[name] = SliceRows(*map(Rows, files))
    return _mapped[name]


def delete(key: str, folder: str) -> None:
    """Delete rows from this machine; what a process has open or mapped stays until that has seen it, or ends."""
    for name in [name for name in _mapped if name[0] == key]:
        del _mapped[name]
    shutil.rmtree(_rows_folder(key, folder), ignore_errors=True)
    shared_files.close_deleted()


def _rows_folder(key: str, folder: str) -> Path:
    return Path(folder, f"distkeras-rows-{key}")


def _write_slice(
    rows: NDArray[np.float32], filled_in: NDArray[np.int64], fold_slice: FoldSlice, num_labels: int, place: Path
) -> None:
    """Write the rows of a fit, out of the stored ones, to three files."""
    width = rows.shape[1] + _PART
    num_features = width - 1 - num_labels
    parts, validated = rows[:, _PART], rows[:, _VALIDATED] != 0
    seen = np.isin(parts, (*fold_slice.fold.training, VALIDATION))
    masks = {"training": seen & ~validated, "validation": seen & validated, "held_out": np.isin(parts, fold_slice.fold.held_out)}
    filled = _FilledPositions(*filled_in)
    for name, mask in masks.items():
        copies, weights = np.ones(int(mask.sum()), np.int64), None
        if name == "training" and fold_slice.class_sampling is not None:
            copies = _copies(rows, mask, num_features, fold_slice.class_sampling)
        if name == "training" and fold_slice.class_weights is not None:
            weights = _row_weights(np.repeat(rows[mask, num_features], copies), fold_slice.class_weights)
        if fold_slice.feature_map is None:
            blocks = _blocks(rows, mask)
        else:
            blocks = _mapped_blocks(rows, mask, filled.where(mask), fold_slice.feature_map, num_features)
        target = np.lib.format.open_memmap(place / f"{name}.npy", "w+", np.float32, (int(copies.sum()), width))
        read = start = 0
        for each in blocks:
            block = np.repeat(each, copies[read : read + len(each)], axis=0)
            read, stop = read + len(each), start + len(block)
            if weights is not None:
                block[:, -1] *= weights[start:stop]
            target[start:stop] = block
            start = stop


def _blocks(rows: NDArray[np.float32], mask: NDArray[np.bool_]) -> Iterator[NDArray[np.float32]]:
    """Yield the marked rows in blocks, without their part and validation columns."""
    indices = np.flatnonzero(mask)
    for start in range(0, len(indices), _BLOCK_ROWS):
        yield rows[indices[start : start + _BLOCK_ROWS], :_PART]


def _mapped_blocks(
    rows: NDArray[np.float32], mask: NDArray[np.bool_], filled: _FilledPositions, feature_map: FeatureMap, num_features: int
) -> Iterator[NDArray[np.float32]]:
    """Yield the same blocks, with features by a fold's statistics."""
    start = 0
    for block in _blocks(rows, mask):
        stop = start + len(block)
        block[:, :num_features] = feature_map.apply(block[:, :num_features], *filled.between(start, stop))
        yield block
        start = stop


def _copies(rows: NDArray[np.float32], mask: NDArray[np.bool_], num_features: int, sampling: ClassSampling) -> NDArray[np.int64]:
    """Return how many times each of the marked rows is trained on: as many rows per class as `sample_classes` gives."""
    labels = rows[mask, num_features]
    order = np.argsort(row_hashes(rows)[mask], kind="stable")  # the same one in whatever order the rows were stored
    order = order[np.random.default_rng(sampling.seed % 2**64).permutation(len(order))]
    classes, counts = np.unique(labels, return_counts=True)
    targets = sampling.targets(dict(zip(classes.tolist(), counts.tolist(), strict=True)))
    copies = np.zeros(len(labels), np.int64)
    for label, target in targets.items():
        members = order[labels[order] == label]
        copies[members] = target // len(members)
        copies[members[: target % len(members)]] += 1
    return copies


def _row_weights(labels: NDArray[np.float32], class_weights: ClassWeights) -> NDArray[np.float32]:
    """Return the factor of each row's weight."""
    if isinstance(class_weights, str):
        classes, counts = np.unique(labels, return_counts=True)
        class_weights = sample_weights.balanced_weights(dict(zip(classes.tolist(), counts.tolist(), strict=True)))
    weights = np.ones(len(labels), np.float32)
    for label, weight in class_weights.items():
        weights[labels == label] = weight
    return weights


@dataclass(frozen=True)
class _FilledPositions:
    """The features that a statistic filled in: their rows, ascending, and their positions in the row."""

    rows: NDArray[np.int64]
    positions: NDArray[np.int64]

    def where(self, mask: NDArray[np.bool_]) -> _FilledPositions:
        """Return those of the marked rows, with rows counted among the marked ones."""
        marked = mask[self.rows]
        return _FilledPositions((np.cumsum(mask) - 1)[self.rows[marked]], self.positions[marked])

    def between(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return those of the rows from `start` to `stop`, with rows counted from `start`."""
        first, last = np.searchsorted(self.rows, (start, stop))
        return self.rows[first:last] - start, self.positions[first:last]
