"""What both sides need of a file system, and the local one. Object stores and HDFS: each side brings its own."""

from __future__ import annotations

import contextlib
import glob
import os
import uuid
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from airflow_provider_distkeras.contract.errors import ArtifactError


class Storage(Protocol):
    """The few operations the contract needs. Paths are URIs; a path without a scheme is local."""

    def exists(self, path: str) -> bool:
        """Whether a file or a directory is there."""

    def read_bytes(self, path: str, limit: int | None = None) -> bytes:
        """The content of a file, or its first `limit` bytes; FileNotFoundError if there is none."""

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file, making its directories; a reader sees the old content or the new, never a part."""

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""

    def list_names(self, directory: str) -> list[str]:
        """The names in a directory, sorted; none if it is not there."""

    def list_files(self, pattern: str) -> dict[str, int]:
        """The files that a path, a glob or a directory stands for, sorted, each with its size in bytes; hidden ones left out."""


def is_local(path: str) -> bool:
    """Whether a path is on this machine's file system."""
    return urlsplit(path).scheme in ("", "file")


def as_uri(path: str) -> str:
    """A path that means the same to Spark and to Airflow: one without a scheme becomes a file:// URI."""
    if urlsplit(path).scheme:
        return path
    return "file://" + os.path.abspath(path)


def local_path(path: str) -> Path:
    """The local path of a file:// URI or a plain path."""
    # Not by urlsplit: in a local path, ? and # are wildcards and letters, not parts of a URL.
    return Path(path.removeprefix("file://") if path.startswith("file://") else path.removeprefix("file:"))


def is_hidden(name: str) -> bool:
    """Whether Spark would leave a file of this name out."""
    return name.startswith((".", "_"))


class LocalStorage:
    """Files of this machine."""

    def exists(self, path: str) -> bool:
        return local_path(path).exists()

    def read_bytes(self, path: str, limit: int | None = None) -> bytes:
        with local_path(path).open("rb") as file:
            return file.read(-1 if limit is None else limit)

    def write_bytes(self, path: str, content: bytes) -> None:
        target = local_path(path)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise ArtifactError(
                f"Cannot write {path}: {error.strerror or error}. Choose an artifact_root that the job may write to."
            ) from error

    def delete(self, path: str) -> None:
        local_path(path).unlink(missing_ok=True)

    def list_names(self, directory: str) -> list[str]:
        try:
            return sorted(os.listdir(local_path(directory)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def list_files(self, pattern: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for match in sorted(glob.glob(str(local_path(pattern)))):
            path = Path(match)
            files = [path] if path.is_file() else sorted(p for p in path.glob("*") if p.is_file() and not is_hidden(p.name))
            found.update({as_uri(str(file)): file.stat().st_size for file in files})
        return found
