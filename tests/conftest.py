"""Every test runs in an Airflow home of its own, set before Airflow is first imported."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

_HOME = tempfile.mkdtemp(prefix="distkeras-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]
os.environ |= {
    "AIRFLOW_HOME": _HOME,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": os.path.join(_HOME, "dags"),
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
}


@pytest.fixture(scope="session")
def airflow_db():
    """Airflow's metadata database, on SQLite."""
    os.makedirs(os.path.join(_HOME, "dags"), exist_ok=True)
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
