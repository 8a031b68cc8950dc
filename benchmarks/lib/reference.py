"""The reference of a distributed fit: processes that run the same compiled windows, with no Spark and no exchange."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_distkeras.spark.environment import variables

if TYPE_CHECKING:
    from airflow_provider_distkeras.training.dataset import Rows


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
        """Return the Params of the Estimator for this case."""
        params = {"layer_dims": list(self.layers), "dropout_rate": self.dropout, "learning_rate": 1e-3, "reg_strength": 1e-4}
        return {**params, "regularizer": self.regularizer} if self.regularizer else params


@contextmanager
def two_cores(case: Case, seconds: float) -> Iterator[Callable[[], float]]:
    """Yield a function that measures the samples per second of two processes, each on its core, at the same time."""
    environment = {**os.environ, **variables(os.environ["KERAS_BACKEND"], 1)}
    command = [sys.executable, "-m", "benchmarks.lib.reference", repr(case), str(seconds)]
    pipe = subprocess.PIPE
    workers = [subprocess.Popen(command, env=environment, text=True, stdin=pipe, stdout=pipe) for _ in range(2)]

    def speed() -> float:
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        return sum(float(worker.stdout.readline()) for worker in workers)

    try:
        for worker in workers:
            worker.stdout.readline()  # it has compiled
        yield speed
    finally:
        for worker in workers:
            worker.communicate()


class Trainer:
    """The compiled windows of a case, fed with rows as a worker feeds them, and nothing else."""

    def __init__(self, case: Case) -> None:
        import numpy as np

        from airflow_provider_distkeras.contract.params.network import HYPERPARAMETERS
        from airflow_provider_distkeras.ml.network.builder import build_network
        from airflow_provider_distkeras.training.backends import compile_window

        params = {name: field.default for name, field in HYPERPARAMETERS.items()} | case.hyperparameters()
        built = build_network(params, {"0": case.layers[0]}, {"0": 1}, 0, os.environ["KERAS_BACKEND"], "sgd")
        self._case, self._flat, self._values = case, built.initial[0], built.values
        self._rates = np.full(case.window, 1e-3, np.float32)
        self._compiled = compile_window(built.plan, case.batch, case.window)
        self._compiled.reset(0)

    def train(self, rows: Rows, epoch: int) -> Iterator[int]:
        """Train an epoch; yield the rows of each window after it."""
        for window in rows.windows(self._case.batch, self._case.window, [epoch], self._case.window):
            self._flat, _ = self._compiled.run(self._flat, window, self._rates, self._values)
            yield window.rows


def _main(case: Case, seconds: float) -> None:
    from benchmarks.lib.cluster import random_records

    trainer, rows = Trainer(case), random_records(case.rows // 2, case.layers[0])
    next(trainer.train(rows, 0))
    print("ready", flush=True)
    epoch = 0
    for _ in sys.stdin:
        started, trained, elapsed = time.perf_counter(), 0, 0.0
        while elapsed < seconds:
            epoch += 1
            for count in trainer.train(rows, epoch):
                trained += count
                elapsed = time.perf_counter() - started
                if elapsed > seconds:
                    break
        print(trained / elapsed, flush=True)


if __name__ == "__main__":
    _main(eval(sys.argv[1], {"Case": Case}), float(sys.argv[2]))
