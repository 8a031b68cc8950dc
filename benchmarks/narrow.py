"""A narrow network, where what surrounds the computation costs most: against two bare cores, and against `keras.Model.fit`."""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import replace
from typing import Any

from benchmarks import cluster, report
from benchmarks.reference import Case, two_cores

CASE = Case((28, 64, 32, 1), None, 0.2, 512_000, 256, 12)
REPEATS, EPOCHS, SECONDS = 3, 9, 4.0
#: What the compiled windows should reach of `keras.Model.fit`.
TIMES_FIT = {"tensorflow": 4.0, "jax": 2.0}


def steady_speed(summary: Any) -> float:
    """Samples per second of all workers together, without the first epoch, while all of them train."""
    return sum(
        sum(epoch["rows"] for epoch in worker["epochs"][1:]) / sum(epoch["seconds"] for epoch in worker["epochs"][1:])
        for worker in summary.workers
    )


def fit(data: Any, case: Case, epochs: int) -> Any:
    """The summary of an ADAG fit with two workers."""
    from airflow_provider_distkeras.ml import DistKeras

    trainer = {"batch_size": case.batch, "num_epoch": epochs, "num_workers": 2, "communication_window": case.window}
    return DistKeras("ADAG", trainer, **case.hyperparameters()).fit(data).summary


def against_two_cores(data: Any, case: Case, epochs: int, repeats: int) -> tuple[float, float]:
    """Our steady speed as a share of two bare cores', and theirs."""
    fit(data, case, 1)
    return report.median_ratio(lambda: steady_speed(fit(data, case, epochs)), lambda: two_cores(case, SECONDS), repeats)


def keras_fit_speed(case: Case) -> float:
    """Samples per second of `keras.Model.fit` on all cores, without its first epoch."""
    import keras

    rows = cluster.random_records(case.rows, case.layers[0]).records
    layers: list[Any] = [keras.Input((case.layers[0],))]
    for units in case.layers[1:-1]:
        layers += [keras.layers.Dense(units, "relu"), keras.layers.Dropout(case.dropout)]
    network = keras.Sequential([*layers, keras.layers.Dense(case.layers[-1])])
    network.compile(keras.optimizers.SGD(1e-3), "mse")
    network.fit(rows[:51_200, :-2], rows[:51_200, -2], batch_size=case.batch, verbose=0)
    used = rows[: case.rows // 2]
    return len(used) / report.seconds(lambda: network.fit(used[:, :-2], used[:, -2], batch_size=case.batch, verbose=0))


def main(name: str) -> None:
    """Measure and write."""
    backend = os.environ["KERAS_BACKEND"]
    data = cluster.random_rows(cluster.session(2), CASE.rows, CASE.layers[0], 2)
    share, bare = against_two_cores(data, CASE, EPOCHS, REPEATS)
    short, bare_short = against_two_cores(data, replace(CASE, window=3), EPOCHS, REPEATS)
    overheads, speeds = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        fit(data, CASE, 1)
        wall = time.perf_counter() - started
        speeds.append(share * bare)
        overheads.append(wall - CASE.rows / (share * bare))
    data.sparkSession.stop()
    by_keras = keras_fit_speed(CASE)
    figures = [
        report.Figure(f"{backend}, narrow, window 12", share, "of two cores", f"{bare:,.0f} samples/s on two bare cores", 0.85),
        report.Figure(f"{backend}, narrow, window 3", short, "of two cores", f"{bare_short:,.0f} samples/s on two bare cores"),
        report.Figure(
            f"{backend}, narrow, window 12", share * bare / by_keras, "x keras fit", f"{by_keras:,.0f} samples/s by fit",
            TIMES_FIT[backend],
        ),
        report.Figure(
            f"{backend}, warm second fit", statistics.median(overheads), "s", "wall time beyond rows / steady speed", 1.0, True
        ),
    ]  # fmt: skip
    report.write(name, figures)


if __name__ == "__main__":
    main(sys.argv[1])
