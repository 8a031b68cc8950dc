"""A narrow network, where what surrounds the computation costs most: against two bare cores, and against `keras.Model.fit`."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.lib import cluster, report
from benchmarks.lib.reference import Case, two_cores

CASE = Case((28, 64, 32, 1), None, 0.2, report.sized(512_000, quick=20_480), 256, 12)
REPEATS, EPOCHS, SECONDS = report.sized(5, quick=1), report.sized(9, quick=2), report.sized(4.0, quick=0.1)
#: What the compiled windows should reach of `keras.Model.fit`.
TIMES_FIT = {"tensorflow": 4.0, "jax": 2.0}


def steady_speed(summary: Any) -> float:
    """Samples per second of all workers together, without the first epoch, while all of them train."""
    return sum(
        sum(epoch["rows"] for epoch in worker["epochs"][1:]) / sum(epoch["seconds"] for epoch in worker["epochs"][1:])
        for worker in summary.workers
    )


def fit(data: Any, case: Case, epochs: int) -> Any:
    """Return the summary of an ADAG fit with two workers."""
    from airflow_provider_distkeras.ml import DistKeras

    trainer = {"batch_size": case.batch, "num_epoch": epochs, "num_workers": 2, "communication_window": case.window}
    return DistKeras("ADAG", trainer, settings="raw", **case.hyperparameters()).fit(data).summary


def against_two_cores(data: Any, case: Case, epochs: int, repeats: int) -> tuple[float, float]:
    """The medians of our steady speed as a share of two bare cores', and of theirs."""
    fit(data, case, 1)
    with two_cores(case, SECONDS) as reference:
        return report.median_ratio(lambda: steady_speed(fit(data, case, epochs)), reference, repeats)


def keras_fit(case: Case) -> Callable[[], float]:
    """What measures the samples per second of `keras.Model.fit` on all cores; its compilation is behind it."""
    import keras

    rows = cluster.random_records(case.rows // 2, case.layers[0]).records
    features, labels = rows[:, :-2].copy(), rows[:, -2].copy()
    layers: list[Any] = [keras.Input((case.layers[0],))]
    for units in case.layers[1:-1]:
        layers += [keras.layers.Dense(units, "relu"), keras.layers.Dropout(case.dropout)]
    network = keras.Sequential([*layers, keras.layers.Dense(case.layers[-1])])
    network.compile(keras.optimizers.SGD(1e-3), "mse")
    train = lambda: network.fit(features, labels, batch_size=case.batch, verbose=0)  # noqa: E731 - it is used twice
    train()
    return lambda: len(labels) / report.seconds(train)


def second_fits(data: Any, case: Case, speed: float, repeats: int) -> list[float]:
    """The wall time that warm fits of one epoch take beyond what training their rows takes at this speed."""
    return [report.seconds(lambda: fit(data, case, 1)) - case.rows / speed for _ in range(repeats)]


def main(name: str) -> None:
    """Measure and write."""
    backend = os.environ["KERAS_BACKEND"]
    data = cluster.random_rows(cluster.session(2), CASE.rows, CASE.layers[0], 2)
    by_keras = keras_fit(CASE)
    share, bare = against_two_cores(data, CASE, EPOCHS, REPEATS)
    short, bare_short = against_two_cores(data, replace(CASE, window=3), EPOCHS, REPEATS)
    speeds: list[float] = []

    def ours() -> float:
        speeds.append(steady_speed(fit(data, CASE, EPOCHS)))
        return speeds[-1]

    times, kerass = report.median_ratio(ours, by_keras, REPEATS)
    beyond = statistics.median(second_fits(data, CASE, statistics.median(speeds), REPEATS))
    data.sparkSession.stop()
    title, cores = f"{backend}, 28-64-32-1", "samples/s on two bare cores"
    figures = [
        report.Figure(f"{title}, window 12", share, "of two cores", f"{bare:,.0f} {cores}", 0.85),
        report.Figure(f"{title}, window 3", short, "of two cores", f"{bare_short:,.0f} {cores}"),
        report.Figure(f"{title}, window 12", times, "x keras fit", f"{kerass:,.0f} samples/s by fit", TIMES_FIT[backend]),
        report.Figure(
            f"{backend}, warm second fit of {CASE.rows:,} rows", beyond, "s",
            f"beyond training at {statistics.median(speeds):,.0f} samples/s", 1.0, at_most=True,
        ),
    ]  # fmt: skip
    report.write(name, figures)


if __name__ == "__main__":
    main(sys.argv[1])
