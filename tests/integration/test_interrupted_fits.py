"""Workers that are killed, started twice, or beside those of other fits."""

import pytest

from tests.integration.fit_driver import COMMITS, EPOCHS, HALTS_AT, ROWS, fit_request, step
from tests.integration.standalone import standalone

pytestmark = pytest.mark.spark


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


#: The first attempt of worker 1 waits for its twin, which runs in the Python process that worker 0 ran in.
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


def test_a_worker_killed_between_a_window_and_its_commit_trains_that_window_again_and_no_other(drive, tmp_path):
    marker = tmp_path / "struck"
    driver = drive([step(fit_request())], master="local[2,4]", sabotage=KILLED.format(marker=str(marker), at=HALTS_AT))
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
        [step(fit_request("LocalSGD")), step(fit_request("LocalSGD"))],
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
    driver = drive([step(fit_request())], master=two_hosts, sabotage=TWINS.format(marker=str(marker), at=HALTS_AT), conf=conf)
    ((fit,),) = driver.results()
    assert "error" not in fit, fit
    assert marker.exists()
    assert fit["rows_trained"] == EPOCHS * ROWS
    assert fit["updates"] == COMMITS


def test_fits_beside_each_other_end_with_the_weights_that_each_gets_alone(drive):
    mine, yours = fit_request("SingleTrainer", {}), fit_request("SingleTrainer", {}, learning_rate=0.005)
    for fit in (mine, yours):
        fit["trainer_params"] = {"batch_size": 10, "num_epoch": EPOCHS}
    ((alone,), (other,), together) = drive([step(mine), step(yours), step(mine, yours)]).results()
    assert alone["weights"] != other["weights"]
    drivers = [drive([step(fit)]) for fit in (mine, yours)]
    for got in (together, [driver.results()[0][0] for driver in drivers]):
        assert [fit.get("weights") for fit in got] == [alone["weights"], other["weights"]]
        assert [fit["rows_trained"] for fit in got] == [EPOCHS * ROWS] * 2
