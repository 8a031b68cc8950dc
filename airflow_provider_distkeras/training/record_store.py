"""Runs on executors. Records that grow in memory and, beyond a limit, in a mapped file without a name."""

from __future__ import annotations

import errno
import os
import tempfile

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import DataError, TrainingError
from airflow_provider_distkeras.spark import environment

_FIRST_CAPACITY = 1 << 20


def unnamed_file(folder: str | None) -> int:
    """Return the descriptor of a new file without a name, whose content is gone when no process has it open or mapped.

    Args:
        folder: where the content lies, unless it must be kept off the disk: then it lies in memory.

    Raises:
        TrainingError: this system has no files in memory.
    """
    if not environment.keeps_rows_off_disk():
        descriptor, path = tempfile.mkstemp(prefix="distkeras-", dir=folder)
        os.unlink(path)
        return descriptor
    if not hasattr(os, "memfd_create"):
        raise TrainingError(
            "spark.io.encryption.enabled: rows must not be written to the local disk, and this system has no files in memory. "
            "Use Linux, raise cache_mb, or switch the encryption of the local disk off."
        )
    return os.memfd_create("distkeras")


class RecordStore:
    """A matrix of records that grows: in memory up to a limit, then in a mapped file without a name.

    Args:
        width: values of a record.
        cache_bytes: the most bytes in memory.
        folder: the file's folder; None for the system's temporary folder.
    """

    def __init__(self, width: int, cache_bytes: int, folder: str | None) -> None:
        self.width = width
        self._limit = cache_bytes
        self._folder = folder
        self._rows = 0
        self._array = np.empty((max(1, _FIRST_CAPACITY // (4 * width)), width), np.float32)
        self._file: int | None = None

    def append(self, block: NDArray[np.float32]) -> None:
        """Append records, (rows, width).

        Raises:
            DataError: they have another width.
            TrainingError: the disk is full.
        """
        if block.shape[1] != self.width:
            raise DataError(
                f"featuresCol, labelCol: rows of different lengths, {block.shape[1] - 1} and {self.width - 1} values together; "
                "expected as many in every row."
            )
        needed = self._rows + len(block)
        if needed > len(self._array):
            self._grow(needed)
        self._array[self._rows : needed] = block
        self._rows = needed

    def close(self) -> NDArray[np.float32]:
        """Return the matrix, (rows, width), without its spare capacity."""
        if self._file is None:
            self._array.resize((self._rows, self.width), refcheck=False)
            return self._array
        os.close(self._file)
        return self._array[: self._rows]

    def _grow(self, needed: int) -> None:
        capacity = max(needed, 2 * len(self._array))
        if capacity * self.width * 4 <= self._limit:
            self._array.resize((capacity, self.width), refcheck=False)  # moves pages, not bytes
            return
        capacity = max(needed, min(capacity, self._limit // (4 * self.width))) if self._file is None else capacity
        self._map(capacity)

    def _map(self, capacity: int) -> None:
        size = capacity * self.width * 4
        try:
            if self._file is None:
                self._file = unnamed_file(self._folder)
                _reserve(self._file, size)
                mapped = np.memmap(os.fdopen(os.dup(self._file), "r+b"), np.float32, "r+", shape=(capacity, self.width))
                mapped[: self._rows] = self._array[: self._rows]
            else:
                _reserve(self._file, size)
                mapped = np.memmap(os.fdopen(os.dup(self._file), "r+b"), np.float32, "r+", shape=(capacity, self.width))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise TrainingError(
                f"The local disk is full: a worker needs {size:,} bytes in {self._folder or tempfile.gettempdir()}. "
                "Free space there, point spark.local.dir elsewhere, use more workers, or raise cache_mb."
            ) from error
        self._array = mapped


def _reserve(file: int, size: int) -> None:
    """Allocate the file's space now, so that a full disk is an error here, not a crash while training."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    empty = bytes(1 << 20)  # macOS
    for start in range(os.fstat(file).st_size, size, len(empty)):
        os.pwrite(file, empty[: size - start], start)
