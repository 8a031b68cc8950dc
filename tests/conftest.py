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
    # A test's DAG replaces that of the test before at once, though both are called alike.
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
}
# The tests start many JVMs that live for seconds: what these spend on optimizing their code, they never get back.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

pytest_plugins = ["tests.airflow_fixtures"]


@pytest.fixture(scope="session")
def airflow_db():
    """Airflow's metadata database, on SQLite."""
    os.makedirs(os.path.join(_HOME, "dags"), exist_ok=True)
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)


@pytest.fixture(scope="session")
def spark():
    """A real Spark session on this machine, with the Python and the Java that the operators would choose."""
    from airflow_provider_distkeras.hooks.spark_environment import find_java_home

    os.environ["JAVA_HOME"] = str(find_java_home())
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").appName("tests")
    quiet = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": os.path.join(_HOME, "warehouse"),
    }
    for key, value in quiet.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    yield session
    session.stop()
