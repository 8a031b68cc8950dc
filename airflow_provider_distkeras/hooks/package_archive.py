"""The files that a task hands to spark-submit: the zip of this package, which travels to the cluster, and the job's program."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import airflow_provider_distkeras

PACKAGE = Path(airflow_provider_distkeras.__file__).parent
#: The rooms that a job imports: Spark's side and the contract. Airflow's side stays at home.
ROOMS = ("contract", "jobs", "ml", "spark", "training")
#: How the names of the folders begin.
_PREFIX, _LOCK = "distkeras-submission-", "lock"
#: Seconds after which a folder without a lock was left behind, and is not one that is being made.
_MAKING_S = 60.0


@contextlib.contextmanager
def submission_folder() -> Iterator[Path]:
    """Make a folder for the files of one submission, for this user's eyes only, and remove it in the end.

    A task that is killed removes nothing, but its lock ends with it: the next submission removes the folder.
    """
    _remove_left_behind()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_behind() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # one in use, or one that is gone by now
            if _is_left_behind(folder):
                with open(folder / _LOCK, "w", opener=_open_own) as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)


def _is_left_behind(folder: Path) -> bool:
    """Return whether a folder is this user's own, no link, and older than one that is being made."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and time.time() - status.st_mtime >= _MAKING_S


def _open_own(path: str, flags: int) -> int:
    """Open a file that is no link, and no pipe that would be waited for."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)


def zip_package(directory: Path) -> Path:
    """Write a zip of the installed package, so that the cluster runs the code of this operator; return its path.

    Args:
        directory: Where to write the zip; the name is the package's.
    """
    archive = directory / f"{PACKAGE.name}.zip"
    files = [PACKAGE / "__init__.py", *(file for room in ROOMS for file in sorted((PACKAGE / room).rglob("*")))]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                target.write(file, file.relative_to(PACKAGE.parent))
    return archive


def job_file(kind: str) -> Path:
    """Return the program that spark-submit runs for a kind of job."""
    return PACKAGE / "jobs" / f"{kind}.py"
