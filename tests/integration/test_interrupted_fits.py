"""Fits that are interrupted, duplicated or spoilt, with real processes: drivers, barrier stages, speculation, layers, disks."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_distkeras.hooks.package_archive import zip_package
from airflow_provider_distkeras.training import checkpoint

from .conftest import spark_environment
from .standalone import standalone

pytestmark = pytest.mark.spark

DRIVER = Path(__file__).with_name("interrupted_fits.py")
ROWS, EPOCHS = 400, 30
RUN = {"batch_size": 10, "num_epoch": EPOCHS, "num_workers": 2, "communication_window": 2}
COMMITS = 2 * 10 * EPOCHS  # 200 rows per worker, 20 to a commit
HALTS_AT = 155  # of a worker's 300 commits: in its 16th epoch
PATIENCE = 200

HALTING = "import interrupted_fits\ninterrupted_fits.halt_once({marker!r}, worker=1, at={at})\n"

KILLED = """
import os, signal
import interrupted_fits
from airflow_provider_distkeras.training.server import client
honest = client.ParameterClient.commit

def commit(self, update, sequence, *rest):
    if self._worker == 1 and sequence == {at} and interrupted_fits.claim({marker!r}):
        os.kill(os.getpid(), signal.SIGKILL)  # this window was trained, and is not committed
    return honest(self, update, sequence, *rest)

client.ParameterClient.commit = commit
"""

#: The first attempt of worker 1 goes on only when its twin has come, which runs where worker 0 did: in a Python that knows this.
TWINS = """
import os, time
import interrupted_fits
from airflow_provider_distkeras.training.server import client
hello, commit = client.ParameterClient.hello, client.ParameterClient.commit

def greet(self, *arguments):
    self.is_twin = self._worker == 1
    if self.is_twin:
        interrupted_fits.claim({marker!r})
    return hello(self, *arguments)

def wait(self, update, sequence, *rest):
    deadline = time.monotonic() + 60
    first = self._worker == 1 and not hasattr(self, "is_twin")
    while first and sequence == {at} and not os.path.exists({marker!r}):
        if time.monotonic() > deadline:
            raise RuntimeError("no twin came")
        time.sleep(0.02)
    return commit(self, update, sequence, *rest)

client.ParameterClient.hello, client.ParameterClient.commit = greet, wait
"""


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
        """What each fit of each step came to."""
        out = self.process.communicate(timeout=PATIENCE)[0]
        lines = [json.loads(line.removeprefix("RESULT ")) for line in out.splitlines() if line.startswith("RESULT ")]
        assert self.process.returncode == 0, self.log.read_text()[-3000:]
        return lines

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    started = []

    def start(steps, **options):
        started.append(Driver(tmp_path_factory.mktemp("driver"), steps, **options))
        return started[-1]

    yield start
    for driver in started:
        driver.kill()


def one(trainer="ADAG", trainer_params=None, data=None, **params):
    request = {
        "trainer": trainer,
        "trainer_params": {**RUN, **(trainer_params or {})},
        "params": {"learning_rate": 0.02, **params},
    }
    return {**request, "data": data or {}}


def step(*fits, **options):
    return {"fits": list(fits), **options}


def wait_for(driver, condition):
    """Wait until a condition gives something, while the driver lives."""
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        assert driver.process.poll() is None, driver.log.read_text()[-3000:]
        assert time.monotonic() < deadline, driver.log.read_text()[-3000:]
        time.sleep(0.05)
    return result


def altered(content, **account):
    """A checkpoint with something else in the workers' accounts."""
    states = checkpoint.from_bytes(content)
    ledger = states[0].ledger
    ledger.workers = {number: replace(worker, **account) for number, worker in ledger.workers.items()}
    return checkpoint.to_bytes(states)


@pytest.fixture(scope="module")
def restarted(drive, tmp_path_factory):
    """A driver is killed in the middle of a fit; another makes the same fit, from that checkpoint and from others in its place."""
    folder = tmp_path_factory.mktemp("restarted")
    snapshots, marker = folder / "snapshots", folder / "halted"
    sabotage = HALTING.format(marker=str(marker), at=HALTS_AT)

    def again(**options):
        # A timeout that a restarted worker would run into, not a test that hangs.
        return one(snapshot_path=str(snapshots), snapshot_seconds=0.2, optimizer="adam", timeout=60.0, **options)

    first = drive([step(again())], sabotage=sabotage)

    def checkpoint_file():
        for path in snapshots.glob("*.npz"):
            workers = checkpoint.from_bytes(path.read_bytes())[0].ledger.workers
            if 1 in workers and workers[1].sequence == HALTS_AT and workers.get(0) and workers[0].sequence == COMMITS // 2:
                return path
        return None

    path = wait_for(first, checkpoint_file)
    first.kill()
    content = path.read_bytes()
    places = {
        "whole": content,
        "of_other_rows": content,
        "truncated": content[: len(content) // 2],
        "empty": b"",
        "of_an_older_application": altered(content, attempt=10_000),
    }
    steps = []
    for name, content in places.items():
        (folder / name).write_bytes(content)
        data = {"seed": 7} if name == "of_other_rows" else {}
        steps.append(step(again(data=data), copy=[str(folder / name), str(path)]))
    second = drive(steps, sabotage=sabotage)
    results = dict(zip(places, [results[0] for results in second.results()], strict=True))
    results["log"] = second.log.read_text()
    results["booked"] = checkpoint.from_bytes(content)[0].ledger.rows
    return results


def test_a_fit_whose_driver_was_killed_goes_on_from_its_snapshot(restarted):
    fit = restarted["whole"]
    assert "error" not in fit, fit
    assert fit["rows_trained"] == EPOCHS * ROWS
    assert fit["updates"] == COMMITS
    assert restarted["booked"] == 20 * (COMMITS // 2 + HALTS_AT)
    assert fit["trained_here"] == EPOCHS * ROWS - restarted["booked"]
    assert max(fit["first_losses_here"]) < 0.5 * fit["loss"][0]
    assert len(fit["loss"]) == EPOCHS


def test_a_fit_that_has_ended_leaves_no_snapshot(restarted):
    assert restarted["whole"]["snapshots_left"] == restarted["truncated"]["snapshots_left"] == 0


@pytest.mark.parametrize("name", ["of_other_rows", "truncated", "empty"])
def test_a_snapshot_that_cannot_be_gone_on_from_is_told_and_training_starts_over(restarted, name):
    fit = restarted[name]
    assert "error" not in fit, fit
    assert fit["trained_here"] == fit["rows_trained"] == EPOCHS * ROWS
    assert fit["updates"] == COMMITS
    assert "raining starts from the beginning." in restarted["log"]


def test_a_snapshot_is_gone_on_from_by_an_application_that_has_started_fewer_tasks(restarted):
    """Spark counts the attempts of tasks anew in every application."""
    fit = restarted["of_an_older_application"]
    assert "error" not in fit, fit
    assert fit["rows_trained"] == EPOCHS * ROWS
    assert fit["trained_here"] == EPOCHS * ROWS - restarted["booked"]


def test_a_snapshot_cut_off_or_damaged_anywhere_is_an_artifact_error():
    import numpy as np

    from airflow_provider_distkeras.contract.errors import ArtifactError
    from airflow_provider_distkeras.training.server.store import StoreState

    content = checkpoint.to_bytes([StoreState(np.arange(8, dtype=np.float32).reshape(2, 4), saved={0: b"momentum"})])
    damaged = [content[:n] for n in range(len(content))]
    damaged += [content[:n] + bytes([content[n] ^ 0xFF]) + content[n + 1 :] for n in range(len(content))]
    other = set()
    for content in damaged:
        try:
            checkpoint.from_bytes(content)
        except ArtifactError:
            continue
        except Exception as error:
            other.add(repr(error))
    assert other == set()


def test_a_worker_killed_between_a_window_and_its_commit_trains_that_window_again_and_no_other(drive, tmp_path):
    marker = tmp_path / "struck"
    driver = drive([step(one())], master="local[2,4]", sabotage=KILLED.format(marker=str(marker), at=HALTS_AT))
    ((fit,),) = driver.results()
    assert marker.exists()
    assert "error" not in fit, fit
    assert fit["rows_trained"] == EPOCHS * ROWS
    assert fit["updates"] == COMMITS
    assert fit["trained_here"] == EPOCHS * ROWS - (HALTS_AT - 1) * 20


def test_workers_in_step_begin_again_together_when_one_is_killed(drive, tmp_path):
    marker = tmp_path / "struck"
    sabotage = KILLED.format(marker=str(marker), at=HALTS_AT)
    driver = drive(
        [
            step(
                one("LocalSGD"),
            ),
            step(one("LocalSGD")),
        ],
        master="local[2,4]",
        sabotage=sabotage,
    )
    (fit,), (undisturbed,) = driver.results()
    assert marker.exists()
    assert "error" not in fit, fit
    assert fit["rows_trained"] == undisturbed["rows_trained"] == EPOCHS * ROWS
    assert fit["updates"] == undisturbed["updates"]
    assert fit["trained_here"] == EPOCHS * ROWS - 2 * (HALTS_AT - 1) * 20
    assert fit["weights"] == undisturbed["weights"]


@pytest.fixture
def two_hosts(tmp_path):
    """The URL of a master with workers on two addresses: Spark never starts a task twice on one host."""
    with standalone(tmp_path, "127.0.0.2", "127.0.0.3") as url:
        yield url


def test_a_task_that_spark_starts_twice_commits_once(drive, two_hosts, tmp_path):
    marker = tmp_path / "twin"
    conf = {
        "spark.speculation": "true", "spark.speculation.interval": "100ms", "spark.speculation.quantile": "0.5",
        "spark.speculation.multiplier": "1.1", "spark.speculation.minTaskRuntime": "100ms", "spark.executor.memory": "600m",
    }  # fmt: skip
    driver = drive([step(one())], master=two_hosts, sabotage=TWINS.format(marker=str(marker), at=HALTS_AT), conf=conf)
    ((fit,),) = driver.results()
    assert "error" not in fit, fit
    assert marker.exists()
    assert fit["rows_trained"] == EPOCHS * ROWS
    assert fit["updates"] == COMMITS


def test_fits_beside_each_other_end_with_the_weights_that_each_gets_alone(drive):
    mine, yours = one("SingleTrainer", {}), one("SingleTrainer", {}, learning_rate=0.005)
    for fit in (mine, yours):
        fit["trainer_params"] = {"batch_size": 10, "num_epoch": EPOCHS}
    ((alone,), (other,), together) = drive([step(mine), step(yours), step(mine, yours)]).results()
    assert alone["weights"] != other["weights"]
    drivers = [drive([step(fit)]) for fit in (mine, yours)]
    for got in (together, [driver.results()[0][0] for driver in drivers]):
        assert [fit.get("weights") for fit in got] == [alone["weights"], other["weights"]]
        assert [fit["rows_trained"] for fit in got] == [EPOCHS * ROWS] * 2


@pytest.fixture(scope="module")
def spoilt(drive):
    """Fits that cannot go well, one after the other in one driver."""
    layers = {"layer_dims": None, "custom_objects": ["interrupted_fits"]}
    steps = [
        step(one(**layers, network="interrupted_fits:raises")),
        step(one(**layers, network="interrupted_fits:hangs", timeout=8.0)),
        step(one(learning_rate=1e9)),
        step(one(progress_path="/dev/full")),
        step(one()),
    ]
    names = ["raises", "hangs", "diverges", "progress", "after"]
    return dict(zip(names, [results[0] for results in drive(steps).results()], strict=True))


def test_a_layer_that_raises_ends_the_fit_with_the_place_and_its_own_error(spoilt):
    fit = spoilt["raises"]
    assert fit["error"] == "TrainingError"
    assert "the layer's own error" in fit["message"]
    assert fit["message"].startswith("Worker ")
    # Its 50th batch is the 10th of the third epoch, of 20 batches each.
    assert "epoch 3, batches 9 to 10" in fit["message"]


def test_a_layer_that_hangs_for_ever_ends_the_fit_after_the_time_allowed(spoilt):
    fit = spoilt["hangs"]
    assert fit["error"] == "TrainingError"
    assert "no worker has sent anything for 8 s" in fit["message"]


def test_divergence_names_the_worker_the_epoch_and_the_batches(spoilt):
    fit = spoilt["diverges"]
    assert fit["error"] == "DivergenceError"
    assert "epoch 1, batches " in fit["message"]
    assert "on worker " in fit["message"]


def test_a_progress_file_on_a_full_disk_does_not_lose_the_fit(spoilt):
    fit = spoilt["progress"]
    assert "error" not in fit, fit
    assert fit["rows_trained"] == EPOCHS * ROWS


def test_the_next_fit_in_the_same_driver_is_none_the_worse(spoilt):
    fit = spoilt["after"]
    assert "error" not in fit, fit
    assert fit["rows_trained"] == EPOCHS * ROWS


@pytest.fixture
def tiny_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_ends_the_fit_with_what_to_do(drive, tiny_disk):
    wide = one(cache_mb=0.001, data={"wide": 400})
    ((fit,),) = drive([step(wide)], SPARK_LOCAL_DIRS=str(tiny_disk)).results()
    assert fit["error"] == "TrainingError"
    assert fit["message"].startswith("Worker ")
    assert "The local disk is full: a worker needs " in fit["message"]
    assert str(tiny_disk) in fit["message"]
