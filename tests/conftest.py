"""Every test runs in an Airflow home of its own, set before Airflow is first imported."""

import atexit
import os
import shutil
import tempfile

import hypothesis
import pyspark

from tests.fixtures import java

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
os.environ.setdefault("JAVA_TOOL_OPTIONS", " ".join(java.LIGHT))
# It starts and compiles in half the time of TensorFlow; tests of a backend name it.
os.environ.setdefault("KERAS_BACKEND", "jax")

pytest_plugins = [
    "tests.fixtures.airflow",
    "tests.fixtures.dag_run",
    "tests.fixtures.files",
    "tests.fixtures.jobs",
    "tests.fixtures.models",
    "tests.fixtures.operators",
    "tests.fixtures.spark",
]


def pytest_configure(config):
    """Where several processes run tests, begin with an archive of Spark's classes, which all their JVMs map."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        archive = config.rootpath / ".pytest_cache" / f"spark-{pyspark.__version__}.jsa"
        if archive.exists() or java.archive_classes(archive):
            java.map_archive(archive)
