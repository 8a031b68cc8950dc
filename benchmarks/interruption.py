"""What it costs to kill a train job when four fifths of its fits have ended, and to run it again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import airflow_provider_distkeras
from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.request import Request
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.specs import PreprocessSpec, Spec, TrainSpec
from airflow_provider_distkeras.hooks.spark_environment import find_java_home
from benchmarks.lib import report

ROWS, FEATURES = report.sized(100_000, quick=2_000), 28
TRIALS, FOLDS = report.sized(10, quick=3), report.sized(3, quick=2)
EPOCHS = report.sized(60, quick=1)  # to start Spark and Keras anew takes as long as a search of seconds
ENDED = TRIALS * FOLDS * 4 // 5


def main(name: str) -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_rows(root / "in.csv")
        prepared = PreprocessSpec.build(input_path=f"{root}/in.csv")
        made = claim(root, prepared)
        finish(made, prepared)
        dataset = f"{made.path}/dataset"
        whole, spec = train_spec(dataset, seed=0), train_spec(dataset, seed=1)
        full = finish(claim(root, whole), whole)
        attempt = claim(root, spec)
        process, began = submit(attempt, spec), time.perf_counter()
        while len(list(Path(attempt.path[7:], "trials").glob("*.json"))) < ENDED:
            if process.poll() is not None:
                raise RuntimeError(f"The job ended before it could be killed, with exit code {process.returncode}.")
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed = time.perf_counter() - began
        again = finish(claim(root, spec), spec)
    cost = (killed + again - full) / full
    durations = f"{full:.0f} s without; killed after {killed:.0f} s, then {again:.0f} s"
    title = f"{os.environ['KERAS_BACKEND']}, a search killed when {ENDED} of {TRIALS * FOLDS} fits had ended"
    report.write(name, [report.Figure(title, cost, "of the job's time lost", durations, 0.25, True)])


def train_spec(dataset: str, seed: int) -> TrainSpec:
    """The search; another seed is another search of the same size."""
    return TrainSpec.build(
        dataset_path=dataset,
        trainer_params={"batch_size": 256, "num_epoch": EPOCHS, "communication_window": 12, "num_workers": 1},
        hyperparameters={"layer_dims": [FEATURES, 64, 32, 1], "dropout_rate": 0.2},
        param_grid={"learning_rate": np.linspace(1e-4, 1e-3, TRIALS).tolist()},
        num_folds=FOLDS,
        seed=seed,
    )


def write_rows(path: Path) -> None:
    """Random features and a label that follows from them."""
    import pyarrow as pa
    from pyarrow import csv

    values = np.random.default_rng(0).standard_normal((FEATURES, ROWS)).round(5)
    names = [*(f"c{number}" for number in range(FEATURES)), "label"]
    csv.write_csv(pa.Table.from_arrays([*map(pa.array, values), pa.array(values[0] * 2 - values[1])], names), path)


def claim(root: Path, spec: Spec) -> Attempt:
    """A new attempt, with its request written."""
    attempt = Attempt.claim(
        f"file://{root}/out", "dag", spec.kind, -1, "2026-03",
        claimed_at=datetime.now(UTC), generation=0, try_number=1, spec_sha256=spec.sha256,
    )  # fmt: skip
    LocalStorage().write_bytes(attempt.spec_path, Request(spec, attempt).to_json().encode())
    return attempt


def submit(attempt: Attempt, spec: Spec) -> subprocess.Popen[Any]:
    """Start the job of an attempt on local[2]."""
    job = Path(airflow_provider_distkeras.__file__).parent / "jobs" / f"{spec.kind}.py"
    options = "--master local[2] --driver-memory 4g --conf spark.ui.enabled=false --conf spark.log.level=ERROR pyspark-shell"
    environment = {"JAVA_HOME": str(find_java_home()), "PYSPARK_PYTHON": sys.executable, "PYSPARK_SUBMIT_ARGS": options}
    command = [sys.executable, str(job), "--spec", attempt.spec_path]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env={**os.environ, **environment}, stdout=quiet, stderr=quiet, start_new_session=True)


def finish(attempt: Attempt, spec: Spec) -> float:
    """The wall time of a job. Raises RuntimeError with its cause if it fails."""
    began = time.perf_counter()
    if submit(attempt, spec).wait():
        raise RuntimeError(LocalStorage().read_bytes(attempt.error_path).decode())
    return time.perf_counter() - began


if __name__ == "__main__":
    main(sys.argv[1])
