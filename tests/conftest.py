"""Every test runs in an Airflow home of its own, set before Airflow is first imported."""

import atexit
import os
import shutil
import tempfile

import hypothesis

# A busy machine is no failure.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

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

pytest_plugins = [
    "tests.fixtures.airflow",
    "tests.fixtures.dag_run",
    "tests.fixtures.files",
    "tests.fixtures.jobs",
    "tests.fixtures.models",
    "tests.fixtures.operators",
    "tests.fixtures.spark",
]
