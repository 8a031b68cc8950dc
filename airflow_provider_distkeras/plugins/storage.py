"""The file systems of artifacts as the pages read them: below an artifact root, regular files only, of a bounded size.

Whoever can write below an artifact root must neither reach a file of the API server through a link, nor hold its threads with a
pipe, nor fill its memory. The pages write nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterable, Iterator

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import LocalStorage, Storage, is_local, local_path
from airflow_provider_distkeras.hooks import storage
from airflow_provider_distkeras.plugins.threads import require_time

_MIB = 2**20
#: The largest manifest or record of a champion.
MAX_BYTES = 8 * _MIB
#: The largest training report.
MAX_REPORT_BYTES = 32 * _MIB
#: The most names that a folder may have.
MAX_NAMES = 10_000
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def storage_for(path: str, max_bytes: int = MAX_BYTES) -> Storage:
    """Return the storage of a path for reading.

    Args:
        path: the path.
        max_bytes: the largest file that is read.

    Raises:
        ArtifactError: the path is below no root that the pages may read, the time for reading is over, or Airflow has no driver.
    """
    require_time(path)
    root = require_readable_root(path)
    if is_local(path):
        return _LocalFiles(root, max_bytes)
    storage.storage_for(path)
    return _Objects(root, max_bytes)


def require_readable_root(path: str) -> str:
    """Return the root, as a URI, that a path is at or below, of those that the pages may read.

    Raises:
        ArtifactError: the path is below none of them. Whoever can write an XCom chooses a path, but not the options.
    """
    root = storage.readable_root(path)
    if root is not None:
        return root
    raise ArtifactError(
        f"{path} is not read: it is below no artifact root that Airflow's pages may read, by [distkeras] artifact_root and "
        "readable_roots. Where a task sets an artifact_root of its own, add that to readable_roots on the API server."
    )


class _LocalFiles(LocalStorage):
    """The files of this machine below a root; the root may be a link, nothing below it."""

    def __init__(self, root: str, max_bytes: int) -> None:
        self._root, self._max_bytes = root, max_bytes

    def read_bytes(self, path: str, limit: int | None = None) -> bytes:
        """Return the content of a regular file, or its first `limit` bytes. Raises ArtifactError, FileNotFoundError."""
        with self._open(path) as descriptor:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise ArtifactError(f"{path} is not read: expected a regular file with no other name.")
            _check_size(path, status.st_size, self._max_bytes)
            with os.fdopen(os.dup(descriptor), "rb") as file:
                content = file.read(self._max_bytes + 1)
        _check_size(path, len(content), self._max_bytes)
        return content[:limit]

    def list_names(self, directory: str) -> list[str]:
        """Return the names in a directory, sorted; none if it does not exist. Raises ArtifactError."""
        try:
            with self._open(directory) as descriptor, os.scandir(descriptor) as entries:
                return _sorted_names(directory, (entry.name for entry in entries))
        except (FileNotFoundError, NotADirectoryError):
            return []

    @contextlib.contextmanager
    def _open(self, path: str) -> Iterator[int]:
        """Give the descriptor of a file or a directory, which no link has led to. Raises ArtifactError, FileNotFoundError."""
        require_time(path)
        names = storage.relative_names(path, self._root)
        if names is None:
            raise ArtifactError(f"{path} is not read: expected a path below {self._root}.")
        with contextlib.ExitStack() as opened:
            try:
                descriptor = os.open(local_path(self._root), os.O_RDONLY | os.O_CLOEXEC)
                opened.callback(os.close, descriptor)
                for name in names:
                    descriptor = os.open(name, _READ, dir_fd=descriptor)
                    opened.callback(os.close, descriptor)
            except (FileNotFoundError, NotADirectoryError):
                raise
            except (OSError, ValueError) as error:  # a link is an OSError, a NUL a ValueError
                raise ArtifactError(f"{path} is not read: {error}. No link below an artifact root is followed.") from error
            yield descriptor


class _Objects(storage.ObjectStorage):
    """The objects below a root of an object store, or the files of a remote file system."""

    def __init__(self, root: str, max_bytes: int) -> None:
        self._root, self._max_bytes = root, max_bytes

    def read_bytes(self, path: str, limit: int | None = None) -> bytes:
        """Return an object's content, or its first `limit` bytes. Raises ArtifactError, FileNotFoundError."""
        self._check(path)
        _check_size(path, ObjectStoragePath(path).stat().st_size, self._max_bytes)
        content = super().read_bytes(path, self._max_bytes + 1)
        _check_size(path, len(content), self._max_bytes)
        return content[:limit]

    def list_names(self, directory: str) -> list[str]:
        """Return the names in a directory, sorted; none if it does not exist. Raises ArtifactError."""
        self._check(directory)
        return _sorted_names(directory, super().list_names(directory))

    def _check(self, path: str) -> None:
        require_time(path)
        if storage.relative_names(path, self._root) is None:
            raise ArtifactError(f"{path} is not read: expected a path below {self._root}.")


def _check_size(path: str, size: int, largest: int) -> None:
    if size > largest:
        raise ArtifactError(f"{path} is not read: expected at most {largest // _MIB} MiB, received {size:,} bytes or more.")


def _sorted_names(directory: str, names: Iterable[str]) -> list[str]:
    """Return names in their order. Raises ArtifactError if there are too many."""
    listed = list(itertools.islice(names, MAX_NAMES + 1))
    if len(listed) > MAX_NAMES:
        raise ArtifactError(f"{directory} is not read: expected at most {MAX_NAMES:,} names in a folder.")
    return sorted(listed)
