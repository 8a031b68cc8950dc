"""The zip of the package that travels with a job."""

import zipfile

import pytest

from airflow_provider_distkeras.contract.specs import PreprocessSpec, PromoteSpec, ScoreSpec, TrainSpec
from airflow_provider_distkeras.hooks.package_archive import job_file, zip_package


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
