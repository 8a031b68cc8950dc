"""Jobs through the real spark-submit, in processes of their own."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import airflow_provider_distkeras
from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.request import Request
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.hooks.package_archive import zip_package
from airflow_provider_distkeras.hooks.spark_environment import find_spark_home
from tests.integration.fit_driver import Driver
from tests.integration.standalone import spark_environment


@pytest.fixture
def submit(tmp_path):
    """Starts the job of a spec on a master, on a lease if one is given; returns its attempt and its process, with its output."""
    started = []

    def start(spec, master="local[2]", *conf, lease=None):
        attempt = Attempt.claim(
            f"file://{tmp_path}/out", "dag", spec.kind, -1, "2026-03",
            claimed_at=datetime.now(UTC), generation=0, try_number=1, spec_sha256=spec.sha256,
        )  # fmt: skip
        LocalStorage().write_bytes(attempt.spec_path, Request(spec, attempt).to_json().encode())
        if lease is not None:
            LocalStorage().write_bytes(attempt.lease_path, lease.renewed())
        (tmp_path / "zip").mkdir(exist_ok=True)
        job = Path(airflow_provider_distkeras.__file__).parent / "jobs" / f"{spec.kind}.py"
        command = [
            str(find_spark_home() / "bin" / "spark-submit"), "--master", master, "--conf", "spark.ui.enabled=false",
            *(part for option in conf for part in ("--conf", option)),
            "--py-files", str(zip_package(tmp_path / "zip")), str(job), "--spec", attempt.spec_path,
        ]  # fmt: skip
        process = subprocess.Popen(
            command, env=spark_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        started.append(process)
        return attempt, process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def prepared(submit, tmp_path):
    """The path of a prepared dataset of 400 rows."""
    random = np.random.default_rng(0)
    rows = [f"{a:.5f},{b:.5f},{3 * a - b:.5f}" for a, b in random.normal(size=(400, 2))]
    (tmp_path / "in.csv").write_text("a,b,label\n" + "\n".join(rows) + "\n")
    attempt, process = submit(PreprocessSpec.build(input_path=f"{tmp_path}/in.csv"))
    output = process.communicate()[0]
    assert process.returncode == 0, output[-3000:]
    return f"{attempt.path}/dataset"


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """Starts drivers; they end with the tests of a file."""
    started = []

    def start(steps, **options):
        started.append(Driver(tmp_path_factory.mktemp("driver"), steps, **options))
        return started[-1]

    yield start
    for driver in started:
        driver.kill()
