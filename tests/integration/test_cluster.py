"""A standalone cluster: a master and two workers, each with processes of its own, that know the package only from --py-files."""

import re
import subprocess
import threading

import pytest

from airflow_provider_distkeras.contract.manifest import Manifest
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.contract.storage import LocalStorage
from airflow_provider_distkeras.operators.environment import find_spark_home

from .conftest import spark_environment

pytestmark = pytest.mark.spark


class Daemon:
    """A Spark daemon whose log is read for the line that says it is up."""

    def __init__(self, cwd, name, *arguments):
        home = find_spark_home()
        environment = {**spark_environment(), "SPARK_HOME": str(home), "SPARK_NO_DAEMONIZE": "1", "SPARK_WORKER_DIR": str(cwd)}
        command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *arguments]
        self.process = subprocess.Popen(
            command, env=environment, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def wait_for(self, pattern):
        for line in self.process.stdout:
            found = re.search(pattern, line)
            if found:
                # Nobody reads the rest, and a full pipe would stop the daemon.
                threading.Thread(target=self.process.stdout.read, daemon=True).start()
                return found[1]
        raise AssertionError(f"the daemon ended without saying {pattern}")


@pytest.fixture
def cluster(tmp_path):
    """The URL of a master with two workers of one core."""
    started = []

    def start(name, *arguments):
        cwd = tmp_path / f"daemon-{len(started)}"
        cwd.mkdir()
        started.append(Daemon(cwd, name, *arguments))
        return started[-1]

    master = start("master.Master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
    url = master.wait_for(r"Starting Spark master at (spark://\S+)")
    for _ in range(2):
        worker = start("worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", "0", url)
        worker.wait_for(r"(Successfully registered) with master")
    yield url
    for daemon in reversed(started):
        daemon.process.terminate()
        daemon.process.wait()


def test_a_model_is_trained_on_a_cluster(cluster, submit, prepared):
    spec = TrainSpec.build(
        dataset_path=prepared,
        trainer_params={"num_epoch": 3, "num_workers": 2, "batch_size": 16},
        hyperparameters={"layer_dims": [None, 8, 1], "optimizer": "adam", "learning_rate": 0.1},
        num_folds=2,
    )
    attempt, process = submit(spec, cluster)
    said = process.communicate()[0]
    assert process.returncode == 0, said[-3000:]
    training = Manifest.read(LocalStorage(), attempt.manifest_path).details["training"]
    assert training["rows_trained"] == 3 * 400
    assert len(training["workers"]) == 2
