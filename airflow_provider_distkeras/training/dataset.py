"""Runs on executors. A worker's rows: from Arrow batches to one block of float32 records, and to windows of one fixed shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.training.record_store import RecordStore

if TYPE_CHECKING:
    import pyarrow as pa

FEATURES, LABEL, WEIGHT, VALIDATION = "features", "label", "weight", "validation"
_HASH_ROWS = 8192


@dataclass(frozen=True)
class WindowBatch:
    """Up to `window` steps of training data, padded to one shape.

    Attributes:
        records: float32, (window, batch_size, features + labels + 1); the last column is the row's weight, 0 for padding.
        counts: float32, (window,); the rows of each step.
        steps: the number of steps that hold rows.
        rows: the number of rows.
        commits: whether the worker commits after it.
    """

    records: NDArray[np.float32]
    counts: NDArray[np.float32]
    steps: int
    rows: int
    commits: bool = True


def as_matrix(lists: pa.Array, param: str = "featuresCol") -> NDArray[np.float32]:
    """Return an Arrow array of equally long float32 lists as a matrix, (rows, values): a read-only view of Arrow's memory.

    Args:
        lists: the array, at least one row.
        param: the Param that names the column, for messages.

    Raises:
        DataError: a list or a value is missing, or the lists are of different lengths.
    """
    if lists.null_count:
        raise DataError(f"{param}: {lists.null_count} rows have none; expected a vector in every row.")
    values, lengths = lists.flatten(), np.diff(lists.offsets.to_numpy())
    if values.null_count:
        raise DataError(f"{param}: {values.null_count} values are null; fill them, or drop their rows.")
    if len(lists) == 0:
        raise DataError(f"{param}: no row.")
    if (lengths != lengths[0]).any():
        raise DataError(
            f"{param}: rows of different lengths, {lengths.min()} to {lengths.max()} values; expected as many in every row."
        )
    return values.to_numpy(zero_copy_only=True).reshape(len(lists), -1)


class Rows:
    """Rows as float32 records: features, then labels, then the row's weight.

    Attributes:
        records: (rows, features + labels + 1), in memory or, beyond a limit, in a mapped file that ends with the process.
    """

    def __init__(self, records: NDArray[np.float32]) -> None:
        self.records = records
        self._hashes = row_hashes(records)
        self._order = np.argsort(self._hashes, kind="stable")

    def __len__(self) -> int:
        return len(self.records)

    @property
    def digest(self) -> int:
        """A hash of the rows that does not depend on their order."""
        return int(self._hashes.sum(dtype=np.uint64) >> np.uint64(1))

    def some(self, count: int) -> NDArray[np.intp]:
        """Return the positions of at most `count` rows, (count,): a random choice, the same one at every call."""
        return self._order[:count]

    def windows(self, batch_size: int, window: int, seed: list[int], commit_every: int | None = None) -> Iterator[WindowBatch]:
        """Yield one epoch: every row exactly once, in an order that only the rows and the seed decide.

        The next window reuses a window's arrays.

        Args:
            batch_size: rows per step.
            window: steps per window, at most.
            seed: decides the order.
            commit_every: steps between two commits; None for one commit at the end of the epoch.
        """
        order = self._order[np.random.default_rng(seed).permutation(len(self))]
        width = self.records.shape[1]
        records = np.zeros((window * batch_size, width), np.float32)
        starts = np.arange(window) * batch_size
        commit_rows = (commit_every or len(order)) * batch_size if len(order) else 1
        start = 0
        while start < len(order):
            due = min((start // commit_rows + 1) * commit_rows, len(order))
            stop = min(start + window * batch_size, due)
            rows = stop - start
            np.take(self.records, order[start:stop], axis=0, out=records[:rows], mode="clip")
            records[rows:] = records[0]
            records[rows:, -1] = 0.0
            counts = np.clip(rows - starts, 0, batch_size).astype(np.float32)
            yield WindowBatch(records.reshape(window, batch_size, width), counts, -(-rows // batch_size), rows, stop == due)
            start = stop

    def commits_per_epoch(self, batch_size: int, commit_every: int | None) -> int:
        """Return the number of commits that an epoch makes."""
        return -(-len(self) // (batch_size * commit_every)) if commit_every else min(len(self), 1)


class ReadAhead:
    """An iterator over windows that can prepare the next one early; it reuses the arrays of the one before."""

    def __init__(self, windows: Iterator[WindowBatch]) -> None:
        self._windows = windows
        self._prepared: list[WindowBatch | None] = []

    def __iter__(self) -> Iterator[WindowBatch]:
        return self

    def __next__(self) -> WindowBatch:
        self.prepare()
        window = self._prepared.pop()
        if window is None:
            raise StopIteration
        return window

    def prepare(self) -> None:
        """Prepare the next window, so that `next` returns it at once."""
        if not self._prepared:
            self._prepared.append(next(self._windows, None))


class Loader:
    """Collects Arrow batches into training rows and validation rows.

    Args:
        cache_bytes: the most bytes of records in memory; beyond it, they go to a mapped file in `folder`, see `record_store`.
        folder: a folder on the worker's local disk; None for the system's temporary folder.
    """

    def __init__(self, cache_bytes: int = 1 << 62, folder: str | None = None) -> None:
        self._cache_bytes = cache_bytes
        self._folder = folder

    def load(self, batches: Iterable[pa.RecordBatch]) -> tuple[Rows, Rows]:
        """Return the rows to train on, and those to validate on.

        Args:
            batches: columns `features` and `label` (float32 lists), and optionally `weight` (float32) and `validation` (bool).

        Raises:
            DataError: values are missing, not finite, or rows are of different lengths.
            TrainingError: the local disk is full.
        """
        store: RecordStore | None = None
        validation: list[NDArray[np.float32]] = []
        for batch in batches:
            if not batch.num_rows:
                continue
            block = as_records(batch)
            if VALIDATION in batch.schema.names:
                held_out = validation_mask(batch)
                validation.append(block[held_out])
                block = block[~held_out]
            store = store or RecordStore(block.shape[1], self._cache_bytes, self._folder)
            store.append(block)
        if store is None:
            return Rows(np.empty((0, 1), np.float32)), Rows(np.empty((0, 1), np.float32))
        held_out_records = np.concatenate(validation) if validation else np.empty((0, store.width), np.float32)
        return Rows(store.close()), Rows(held_out_records)


def validation_mask(batch: pa.RecordBatch) -> NDArray[np.bool_]:
    """Return whether each of a batch's rows is a validation row, (rows,)."""
    if VALIDATION not in batch.schema.names:
        return np.zeros(batch.num_rows, bool)
    return np.asarray(batch.column(VALIDATION).fill_null(False).to_numpy(zero_copy_only=False), bool)


def as_records(batch: pa.RecordBatch) -> NDArray[np.float32]:
    """Return a batch's rows as records, (rows, features + labels + 1).

    Raises:
        DataError: a value is missing or not finite, or a weight is negative.
    """
    features = as_matrix(batch.column(FEATURES))
    label = batch.column(LABEL)
    if label.null_count or label.flatten().null_count:
        raise DataError("labelCol: rows without a label; drop them or fill them before training.")
    labels = as_matrix(label, "labelCol")
    records = np.empty((batch.num_rows, features.shape[1] + labels.shape[1] + 1), np.float32)
    records[:, : features.shape[1]] = features
    records[:, features.shape[1] : -1] = labels
    records[:, -1] = batch.column(WEIGHT).to_numpy(zero_copy_only=False) if WEIGHT in batch.schema.names else 1.0
    if not np.isfinite(records.sum(dtype=np.float64)):
        _check_finite(records, features.shape[1])
    if WEIGHT in batch.schema.names and records[:, -1].min() < 0:
        raise DataError(f"weightCol: expected weights of at least 0, received {records[:, -1].min():g}.")
    return records


def _check_finite(records: NDArray[np.float32], features: int) -> None:
    """Raise DataError, naming the columns, if a value is not finite."""
    bad = np.flatnonzero(~np.isfinite(records).all(axis=0))
    if not len(bad):
        return
    if bad[0] < features:
        raise DataError(
            f"Features {bad[bad < features][:10].tolist()} (by position) hold NaN or infinity: "
            "fill them with process_csv(missing='mean'), or drop the rows."
        )
    column = "Labels" if bad[0] < records.shape[1] - 1 else "weightCol: weights"
    raise DataError(f"{column} hold NaN or infinity: drop those rows before training.")


def row_hashes(records: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return a hash of every row's bits, (rows,).

    It gives the rows an order that does not depend on the one in which Spark's shuffle delivered them: so a retried task trains
    the same windows as the task it replaces, and a seed means the same in every run.
    """
    odd = np.random.default_rng(0).integers(0, 2**63, records.shape[1], dtype=np.uint64) | np.uint64(1)
    hashes = np.empty(len(records), np.uint64)
    for start in range(0, len(records), _HASH_ROWS):
        part = slice(start, start + _HASH_ROWS)
        hashes[part] = records[part].view(np.uint32).astype(np.uint64) @ odd
    return hashes
