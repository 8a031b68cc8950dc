"""The protocol of a file system, and the local one. Each side has its own storage for object stores and HDFS."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from airflow_provider_distkeras.contract.errors import ArtifactError

#: What a file system without hard links, such as a share of Windows, answers.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_WILDCARDS = frozenset("*?[{")


class Storage(Protocol):
    """The operations of a file system that this package needs. Paths are URIs; a path without a scheme is local."""

    def exists(self, path: str) -> bool:
        """Return whether a file or a directory exists."""

    def read_bytes(self, path: str, limit: int | None = None) -> bytes:
        """Return the content of a file, or its first `limit` bytes. Raises FileNotFoundError if it does not exist."""

    def write_bytes(self, path: str, content: bytes, *, within: str | None = None) -> None:
        """Write a file, making its directories; a reader sees the old content or the new, never a part of it.

        Args:
            path: the file.
            content: all that it is to hold.
            within: a directory that must exist, below which alone directories are made; a file system that makes directories
                by itself does not look.
        """

    def create_bytes(self, path: str, content: bytes) -> None:
        """Write a file as `write_bytes`, but only where there is none: of several writers at one moment, one succeeds.

        Raises:
            FileExistsError: there is a file already.
        """

    def delete(self, path: str) -> None:
        """Delete a file, if it exists."""

    def list_names(self, directory: str) -> list[str]:
        """Return the names in a directory, sorted; none if it does not exist."""

    def list_files(self, pattern: str) -> dict[str, int]:
        """Return the size in bytes of each file of a path, a glob or a directory, sorted by path, without hidden files.

        What exists under the very name is meant, although the name may be a glob, too; so are the folders of a glob.
        """


def is_local(path: str) -> bool:
    """Return whether a path is on this machine's file system."""
    return urlsplit(path).scheme in ("", "file")


def as_uri(path: str) -> str:
    """Return a path as a URI, which means the same to Spark and to Airflow: one without a scheme becomes a file:// URI."""
    if urlsplit(path).scheme:
        return path
    return "file://" + os.path.abspath(path)


def local_path(path: str) -> Path:
    """Return the local path of a file:// URI or a plain path."""
    # Not by urlsplit: in a local path, ? and # are wildcards and letters, not parts of a URL.
    return Path(path.removeprefix("file://") if path.startswith("file://") else path.removeprefix("file:"))


def split_glob(pattern: str, exists: Callable[[str], bool]) -> tuple[str, str]:
    """Return the beginning of a path that is no glob or exists by its very name, and the glob behind it, which may be empty."""
    parts = pattern.split("/")
    for count in range(len(parts), 1, -1):
        base = "/".join(parts[:count])
        if _WILDCARDS.isdisjoint(base) or exists(base):
            return base, "/".join(parts[count:])
    return "", pattern


def is_hidden(name: str) -> bool:
    """Return whether Spark leaves files of this name out."""
    return name.startswith((".", "_"))


@contextlib.contextmanager
def _finished_part(path: str, content: bytes, within: str | None = None) -> Iterator[Path]:
    """Give a hidden file of the content beside a path, whose directories are made as `write_bytes` does; delete what is left.

    Raises:
        FileExistsError: as the body does.
        ArtifactError: the file cannot be written, or the body failed by another OSError.
    """
    target = local_path(path)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with contextlib.suppress(FileExistsError):  # a parent that is a file: opening the part says so
            _make_parent(target, None if within is None else local_path(within))
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield part
    except FileExistsError:
        raise
    except OSError as error:
        raise ArtifactError(
            f"Cannot write {path}: {error.strerror or error}. Choose an artifact_root that the job may write to."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _make_parent(file: Path, within: Path | None) -> None:
    """Make the directory of a file; of a directory that the file is within, nothing that is missing is made."""
    if within is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        return
    directory = within
    for name in file.parent.relative_to(within).parts:
        directory /= name
        directory.mkdir(exist_ok=True)


class LocalStorage:
    """The files of this machine."""

    def exists(self, path: str) -> bool:
        """Return whether a file or a directory exists."""
        return local_path(path).exists()

    def read_bytes(self, path: str, limit: int | None = None) -> bytes:
        """Return the content of a file, or its first `limit` bytes. Raises FileNotFoundError if it does not exist."""
        with local_path(path).open("rb") as file:
            return file.read(-1 if limit is None else limit)

    def write_bytes(self, path: str, content: bytes, *, within: str | None = None) -> None:
        """Write a file in one step, making its directories. Raises ArtifactError if that fails, or `within` does not exist."""
        with _finished_part(path, content, within) as part:
            os.replace(part, local_path(path))

    def create_bytes(self, path: str, content: bytes) -> None:
        """Write a file in one step where there is none. Raises FileExistsError if there is one, ArtifactError if it fails."""
        target = local_path(path)
        with _finished_part(path, content) as part:
            try:
                os.link(part, target)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                with target.open("xb") as file:  # for a moment, a reader may see a part of it
                    file.write(content)

    def delete(self, path: str) -> None:
        """Delete a file, if it exists."""
        local_path(path).unlink(missing_ok=True)

    def list_names(self, directory: str) -> list[str]:
        """Return the names in a directory, sorted; none if it does not exist."""
        try:
            return sorted(os.listdir(local_path(directory)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def list_files(self, pattern: str) -> dict[str, int]:
        """Return the size in bytes of each file of a path, a glob or a directory, sorted by path, without hidden files."""
        sizes: dict[str, int] = {}
        base, rest = split_glob(str(local_path(pattern)), self.exists)
        for path in [Path(base, name) for name in sorted(glob.glob(rest, root_dir=base or None))] if rest else [Path(base)]:
            files = [path] if path.is_file() else sorted(p for p in path.glob("*") if p.is_file() and not is_hidden(p.name))
            sizes.update({as_uri(str(file)): file.stat().st_size for file in files})
        return sizes
