"""Drivers in processes of their own, which make the fits that a test asks for."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from airflow_provider_distkeras.hooks.package_archive import zip_package
from tests.integration.standalone import spark_environment

DRIVER = Path(__file__).with_name("interrupted_fits.py")
ROWS, EPOCHS = 400, 30
RUN = {"batch_size": 10, "num_epoch": EPOCHS, "num_workers": 2, "communication_window": 2}
COMMITS = 2 * 10 * EPOCHS  # 200 rows per worker, 20 to a commit
HALTS_AT = 155  # of a worker's 300 commits: in its 16th epoch
PATIENCE = 200


class Driver:
    """A driver process that makes one step after the other."""

    def __init__(self, folder, steps, master="local[2]", sabotage=None, conf=(), **environment):
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log"
        files = [str(DRIVER)]
        if sabotage:
            (folder / "saboteur.py").write_text(sabotage)
            files.append(str(folder / "saboteur.py"))
            for fit in (fit for step in steps for fit in step["fits"]):
                fit["params"] = {**fit["params"], "custom_objects": ["saboteur"]}
        if master.startswith("spark:"):
            files.append(str(zip_package(folder)))
        path = [str(folder), str(DRIVER.parent), os.environ.get("PYTHONPATH", "")]
        environment = {**spark_environment(), "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(path), **environment}
        request = {"master": master, "steps": steps, "py_files": files, "conf": dict(conf)}
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER), json.dumps(request)], env=environment, stdout=subprocess.PIPE,
            stderr=self.log.open("w"), text=True, start_new_session=True,
        )  # fmt: skip

    def results(self):
        """Return the result of each fit of each step."""
        out = self.process.communicate(timeout=PATIENCE)[0]
        lines = [json.loads(line.removeprefix("RESULT ")) for line in out.splitlines() if line.startswith("RESULT ")]
        assert self.process.returncode == 0, self.log.read_text()[-3000:]
        return lines

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()


def fit_request(trainer="ADAG", trainer_params=None, data=None, **params):
    request = {
        "trainer": trainer,
        "trainer_params": {**RUN, **(trainer_params or {})},
        "params": {"learning_rate": 0.02, **params},
    }
    return {**request, "data": data or {}}


def step(*fits, **options):
    return {"fits": list(fits), **options}


def wait_for(driver, condition):
    """Wait until a condition returns something true, while the driver lives; return that."""
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        assert driver.process.poll() is None, driver.log.read_text()[-3000:]
        assert time.monotonic() < deadline, driver.log.read_text()[-3000:]
        time.sleep(0.05)
    return result
