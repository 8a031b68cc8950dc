"""A worker's rows: from Arrow batches to float32 blocks, and from blocks to windows of one fixed shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

FEATURES, LABEL = "features", "label"
_HASH_ROWS = 65536


@dataclass(frozen=True)
class Window:
    """Up to `communication_window` steps of training data, padded to one shape.

    Attributes:
        features: float32, (window, batch_size, number of features).
        labels: float32, (window, batch_size).
        mask: float32, (window, batch_size); 1 for a row, 0 for padding.
        steps: how many of the steps hold rows.
        rows: how many rows there are.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.float32]
    mask: NDArray[np.float32]
    steps: int
    rows: int


def as_matrix(lists: pa.Array) -> NDArray[np.float32]:
    """An Arrow array of equally long float32 lists as a matrix; a view of Arrow's memory, so read-only."""
    if lists.null_count:
        raise DataError(f"{lists.null_count} rows have no features; expected a vector in every row.")
    values = lists.flatten()
    if len(lists) == 0 or len(values) % len(lists):
        raise DataError(f"Rows of different lengths: {len(values)} features in {len(lists)} rows.")
    return values.to_numpy(zero_copy_only=True).reshape(len(lists), -1)


class Rows:
    """The rows of one worker, held once as float32."""

    def __init__(self, features: NDArray[np.float32], labels: NDArray[np.float32]) -> None:
        self.features = features
        self.labels = labels
        self._order = _canonical_order(features, labels)

    @classmethod
    def load(cls, batches: Iterable[pa.RecordBatch]) -> Rows:
        """Collect Arrow batches with the columns `features` (float32 lists) and `label` (float32).

        Raises:
            DataError: features or labels are missing, not finite, or of different lengths.
        """
        blocks = [batch for batch in batches if batch.num_rows]
        if not blocks:
            return cls(np.empty((0, 0), np.float32), np.empty(0, np.float32))
        features = np.concatenate([as_matrix(batch.column(FEATURES)) for batch in blocks])
        if any(batch.column(LABEL).null_count for batch in blocks):
            raise DataError("Rows without a label: drop them or fill them before training.")
        labels = np.concatenate([batch.column(LABEL).to_numpy() for batch in blocks])
        finite = np.isfinite(features).all(axis=0)
        if not finite.all():
            raise DataError(
                f"Features {np.flatnonzero(~finite)[:10].tolist()} (by position) hold NaN or infinity: "
                "fill them with process_csv(missing='mean'), or drop the rows."
            )
        if not np.isfinite(labels).all():
            raise DataError("Labels hold NaN or infinity: drop those rows before training.")
        return cls(features, labels)

    def __len__(self) -> int:
        return len(self.labels)

    def windows(self, batch_size: int, window: int, seed: list[int]) -> Iterator[Window]:
        """One epoch: every row exactly once, in an order that only the rows and the seed decide.

        The arrays of a window are used again for the next one.
        """
        order = self._order[np.random.default_rng(seed).permutation(len(self))]
        size = batch_size * window
        features = np.zeros((size, self.features.shape[1]), np.float32)
        labels, mask = np.zeros(size, np.float32), np.zeros(size, np.float32)
        shape = (window, batch_size)
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            rows = len(chosen)
            np.take(self.features, chosen, axis=0, out=features[:rows], mode="clip")
            np.take(self.labels, chosen, out=labels[:rows], mode="clip")
            mask[:rows], mask[rows:] = 1.0, 0.0
            features[rows:], labels[rows:] = features[0], labels[0]
            yield Window(features.reshape(*shape, -1), labels.reshape(shape), mask.reshape(shape), -(-rows // batch_size), rows)


def _canonical_order(features: NDArray[np.float32], labels: NDArray[np.float32]) -> NDArray[np.int64]:
    """An order that does not depend on the one Spark's shuffle delivered the rows in: by a hash of their bits.

    So a retried task meets the same windows as the one it replaces, and a seed means the same in every run.
    """
    if not len(labels):
        return np.empty(0, np.int64)
    odd = np.random.default_rng(0).integers(0, 2**63, features.shape[1] + 1, dtype=np.uint64) | np.uint64(1)
    hashes = labels.view(np.uint32).astype(np.uint64) * odd[-1]
    bits = features.view(np.uint32)
    for start in range(0, len(labels), _HASH_ROWS):
        part = slice(start, start + _HASH_ROWS)
        hashes[part] += (bits[part].astype(np.uint64) * odd[:-1]).sum(axis=1, dtype=np.uint64)
    return np.argsort(hashes, kind="stable")
