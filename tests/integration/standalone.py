"""Standalone clusters: a master and its workers, each a process of its own."""

import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager

from airflow_provider_distkeras.hooks.spark_environment import find_java_home, find_spark_home


def spark_environment():
    return {**os.environ, "JAVA_HOME": str(find_java_home()), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}


class Daemon:
    """A Spark daemon, whose log has a line when it is up."""

    def __init__(self, cwd, name, *arguments):
        home = find_spark_home()
        environment = {**spark_environment(), "SPARK_HOME": str(home), "SPARK_NO_DAEMONIZE": "1", "SPARK_WORKER_DIR": str(cwd)}
        command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *arguments]
        self.process = subprocess.Popen(
            command, env=environment, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def wait_for(self, pattern):
        for line in self.process.stdout:
            match = re.search(pattern, line)
            if match:
                # Nobody reads the rest, and a full pipe would stop the daemon.
                threading.Thread(target=self.process.stdout.read, daemon=True).start()
                return match[1]
        raise AssertionError(f"the daemon ended before it logged {pattern}")


@contextmanager
def standalone(folder, *hosts):
    """The URL of a master with a worker of one core on each host."""
    started = []

    def start(name, *arguments):
        cwd = folder / f"daemon-{len(started)}"
        cwd.mkdir()
        started.append(Daemon(cwd, name, *arguments))
        return started[-1]

    try:
        master = start("master.Master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        url = master.wait_for(r"Starting Spark master at (spark://\S+)")
        for host in hosts:
            worker = start("worker.Worker", "--host", host, "--cores", "1", "--memory", "1g", "--webui-port", "0", url)
            worker.wait_for(r"(Successfully registered) with master")
        yield url
    finally:
        for daemon in reversed(started):
            daemon.process.terminate()
            daemon.process.wait()
