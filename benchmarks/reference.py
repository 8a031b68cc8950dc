"""The reference of a distributed fit: processes that run the same compiled windows, with no Spark and no exchange."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A network, its data, and how they are trained.

    Attributes:
        layers: units per layer, the features first; regularizer, dropout: of the hidden layers.
        rows: rows per epoch; batch, window: rows per step and steps per commit.
    """

    layers: tuple[int, ...]
    regularizer: str | None
    dropout: float
    rows: int
    batch: int
    window: int

    def hyperparameters(self) -> dict[str, object]:
        """The case as Params of the Estimator."""
        said = {"layer_dims": list(self.layers), "dropout_rate": self.dropout, "learning_rate": 1e-3, "reg_strength": 1e-4}
        return {**said, "regularizer": self.regularizer} if self.regularizer else said


def two_cores(case: Case, seconds: float) -> float:
    """Samples per second of two processes with a core each, both running at the same time."""
    flags = "--xla_cpu_multi_thread_eigen=false" if os.environ["KERAS_BACKEND"] == "jax" else ""
    one_thread = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "XLA_FLAGS": flags}
    environment = {**os.environ, **one_thread}
    command = [sys.executable, "-m", "benchmarks.reference", repr(case), str(seconds)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    workers = [subprocess.Popen(command, env=environment, text=True, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return sum(float(worker.communicate()[0]) for worker in workers)


def _main(case: Case, seconds: float) -> None:
    import numpy as np

    from airflow_provider_distkeras.contract.vocabulary import HYPERPARAMETERS
    from airflow_provider_distkeras.ml.network import blueprint
    from airflow_provider_distkeras.training.steps import compile_window
    from benchmarks.cluster import random_records

    said = {name: field.default for name, field in HYPERPARAMETERS.items()} | case.hyperparameters()
    made = blueprint(said, {"0": case.layers[0]}, {"0": 1}, 0, os.environ["KERAS_BACKEND"], "sgd")
    compiled = compile_window(made.plan, case.batch, case.window)
    compiled.reset(0)
    rows = random_records(case.rows // 2, case.layers[0])
    flat, rates = made.initial[0], np.full(case.window, 1e-3, np.float32)
    flat, _ = compiled.run(flat, next(rows.windows(case.batch, case.window, [0])), rates, made.values)
    print("ready", flush=True)
    sys.stdin.readline()
    started, trained, epoch = time.perf_counter(), 0, 0
    while True:
        for window in rows.windows(case.batch, case.window, [epoch], case.window):
            flat, _ = compiled.run(flat, window, rates, made.values)
            trained += window.rows
            elapsed = time.perf_counter() - started
            if elapsed > seconds:
                print(trained / elapsed, flush=True)
                return
        epoch += 1


if __name__ == "__main__":
    _main(eval(sys.argv[1], {"Case": Case}), float(sys.argv[2]))
