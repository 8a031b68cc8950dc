"""Input files: their format, by their names, and the folders such as `day=2026-01-01/` that partition them."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.storage import Storage, is_hidden, is_local
from airflow_provider_distkeras.contract.params.choices import INPUT_FORMATS

_NULL = "__HIVE_DEFAULT_PARTITION__"


def find(storage: Storage, patterns: list[str], *, partitions: bool = True) -> dict[str, int]:
    """Return the size in bytes of each file of paths, globs or directories.

    Args:
        storage: the file system of the files.
        patterns: paths, globs or directories.
        partitions: whether files in partition folders count.

    Raises:
        DataError: nothing matches one of them, or Spark cannot open a file by its name.
    """
    sizes: dict[str, int] = {}
    for pattern in patterns:
        folder = pattern.rstrip("/")
        matches = within(storage, folder) if partitions else storage.list_files(pattern)
        if not matches and not partitions and storage.exists(pattern):
            raise DataError(f"There is no file in {pattern!r} itself: for those in folders below it, set '{folder}/*'.")
        if not matches:
            raise DataError(f"No file matches {pattern!r}. Check the path, and that every machine that reads it can reach it.")
        sizes.update(matches)
    _refuse_colons(sizes)
    return sizes


def format_of(files: Iterable[str]) -> str:
    """Return the format of some files, one of `INPUT_FORMATS`, by how the name of the first ends."""
    first = next(iter(files), "")
    return next((name for name, endings in INPUT_FORMATS.items() if first.endswith(endings)), "csv")


def within(storage: Storage, folder: str) -> dict[str, int]:
    """Return the files of one path as `find` does; none where nothing matches."""
    sizes = storage.list_files(folder)
    for name in storage.list_names(folder):
        if "=" in name and not is_hidden(name) and f"{folder}/{name}" not in sizes:
            sizes.update(within(storage, f"{folder}/{name}"))
    return sizes


def _refuse_colons(paths: Iterable[str]) -> None:
    """Raise DataError for a file of this machine that Hadoop, and so Spark, cannot open by its name."""
    for path in filter(is_local, paths):
        if ":" in path.rpartition("/")[2]:
            raise DataError(f"Spark cannot open {path}: the name of a file may have no colon. Rename the file.")


def partitions_of(path: str) -> dict[str, str | None]:
    """Return the partition columns of a file's folders, with their values as text; None for a missing value."""
    values: dict[str, str | None] = {}
    for folder in _partition_folders(path):
        name, _, value = folder.partition("=")
        values[unquote(name)] = None if value == _NULL else unquote(value)
    return values


def base_of(path: str) -> str:
    """Return the folder of a file, above its partition folders."""
    return "/".join(path.split("/")[: -1 - len(_partition_folders(path))])


def _partition_folders(path: str) -> list[str]:
    """Return the folders named like `day=2026-01-01` that a file lies in, outermost first, without a gap."""
    folders = path.split("/")[:-1]
    first = len(folders)
    while first and "=" in folders[first - 1]:
        first -= 1
    return folders[first:]
