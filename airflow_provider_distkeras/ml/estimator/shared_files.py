"""Runs on executors. Arrays that the processes of a machine share, in mapped files.

The files have no names: links to the descriptors of the process that wrote them lead the machine's other processes there. So the
arrays are gone with the processes that use them, however those end, and need not be on a disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.spark import environment
from airflow_provider_distkeras.training.record_store import unnamed_file

_MARK_BYTES = 16
#: Whether one process can open another one's files; elsewhere than on Linux, the files keep their names.
_SHOWS_DESCRIPTORS = os.path.isdir("/proc/self/fd")
#: Per folder, the descriptors of the files that this process has written, by name.
_written: dict[Path, dict[str, int]] = {}


def write(place: Path, names: Sequence[str], fill: Callable[[Path], None]) -> None:
    """Write the files of a folder, unless another process has done so meanwhile.

    Args:
        place: the folder.
        names: the names of the links.
        fill: writes all of the files in a folder, by the names.
    """
    close_deleted()
    part = Path(tempfile.mkdtemp(prefix="distkeras-part-", dir=place.parent))
    files: dict[str, int] = {}
    try:
        if _SHOWS_DESCRIPTORS or environment.keeps_rows_off_disk():
            for name in names:
                files[name] = unnamed_file(str(place.parent))
                os.symlink(_descriptor(files[name]), part / name)
        fill(part)
        mark = _mark(place) + os.urandom(_MARK_BYTES)
        for name in names:
            with (part / name).open("ab") as file:
                file.write(mark)
        place.mkdir(mode=0o700, exist_ok=True)
        if read(place, names) is None:
            for name in names:
                os.replace(part / name, place / name)
            _written[place], files = files, {}
    finally:
        for descriptor in files.values():
            os.close(descriptor)
        shutil.rmtree(part, ignore_errors=True)


def read(place: Path, names: Sequence[str]) -> list[NDArray[Any]] | None:
    """Map the files of a folder; return None if there are none, or the process that wrote them has ended."""
    own = _written.get(place, {})
    paths = [_descriptor(own[name]) if own else place / name for name in names]
    marks = set()
    try:
        if not place.exists():
            return None
        for path in paths:
            with path.open("rb") as file:
                file.seek(-2 * _MARK_BYTES, os.SEEK_END)
                marks.add(file.read())
        if len(marks) != 1 or not marks.pop().startswith(_mark(place)):  # another process has got the id of one that has ended
            return None
        return [np.load(path, mmap_mode="r") for path in paths]
    except OSError:
        return None


def close_deleted() -> None:
    """Close the files of folders that have been deleted, by whatever process."""
    for place in [place for place in _written if not place.exists()]:
        for descriptor in _written.pop(place).values():
            os.close(descriptor)


def _descriptor(number: int) -> Path:
    """Return a path by which this machine's processes open a file of this process."""
    return Path(f"/proc/{os.getpid()}/fd/{number}")


def _mark(place: Path) -> bytes:
    """Return what the last bytes of a folder's files begin with."""
    return hashlib.sha256(str(place).encode()).digest()[:_MARK_BYTES]
