"""The zip of the package that travels with a job."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

import pytest

from airflow_provider_distkeras.contract.specs import PreprocessSpec, PromoteSpec, ScoreSpec, TrainSpec
from airflow_provider_distkeras.hooks.package_archive import job_file, submission_folder, zip_package


def test_archive_holds_sparks_side_and_the_contract_only(tmp_path):
    archive = zip_package(tmp_path)

    files = [name.split("/", 1)[1] for name in zipfile.ZipFile(archive).namelist()]
    assert archive.name == "airflow_provider_distkeras.zip"
    assert {file.split("/")[0] for file in files} == {"__init__.py", "contract", "jobs", "ml", "spark", "training"}
    assert {"__init__.py", "jobs/train.py", "ml/__init__.py", "contract/errors.py"} <= {*files}
    assert not [file for file in files if "__pycache__" in file]


def test_files_beside_the_code_travel_too(tmp_path):
    archive = zip_package(tmp_path)

    assert [name for name in zipfile.ZipFile(archive).namelist() if not name.endswith(".py")]


@pytest.mark.parametrize("spec", [PreprocessSpec, TrainSpec, ScoreSpec, PromoteSpec])
def test_every_spec_has_a_job(spec):
    assert job_file(spec.kind).is_file()


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The machine's folder for temporary files, for this process and its children."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


_HOLD = """
import sys
from airflow_provider_distkeras.hooks.package_archive import submission_folder
with submission_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_the_folder_of_a_submission_is_its_users_and_goes_with_it(temporary):
    with submission_folder() as folder:
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o777 == 0o700
    assert [*temporary.iterdir()] == []


def test_what_others_have_put_in_the_place_of_a_folder_is_left_alone(temporary, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (temporary / "distkeras-submission-link").symlink_to(elsewhere)
    for name, put in {"pipe": os.mkfifo, "locklink": lambda path: path.symlink_to(elsewhere / "made")}.items():
        folder = temporary / f"distkeras-submission-{name}"
        folder.mkdir()
        put(folder / "lock")
        os.utime(folder, (time.time() - 100,) * 2)
    with submission_folder():  # returns, although nobody writes into the pipe
        assert len([*temporary.iterdir()]) == 4
    assert [*elsewhere.iterdir()] == []


def test_what_a_killed_task_leaves_behind_is_removed_by_the_next_one_and_what_is_in_use_is_not(temporary):
    holders = [
        subprocess.Popen([sys.executable, "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    left, used = (temporary / holder.stdout.readline().strip() for holder in holders)
    holders[0].send_signal(signal.SIGKILL)
    holders[0].communicate()
    with submission_folder() as young:
        assert {*temporary.iterdir()} == {left, used, young}
    for folder in (left, used):
        os.utime(folder, (time.time() - 100,) * 2)
    with submission_folder() as folder:
        assert {*temporary.iterdir()} == {used, folder}
    holders[1].communicate("")
    assert [*temporary.iterdir()] == []
