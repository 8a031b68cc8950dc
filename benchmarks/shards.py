"""How throughput grows from 1 to 64 workers with 1, 2 and 4 shards: simulated, from times measured here."""

from __future__ import annotations

import os
import statistics
import sys

import numpy as np

from benchmarks import wire
from benchmarks.lib import report
from benchmarks.lib.load import measure, replaying
from benchmarks.lib.queueing import Costs, simulate
from benchmarks.lib.reference import Case, two_cores
from benchmarks.lib.serving import far
from benchmarks.narrow import CASE as NARROW
from benchmarks.wide import CASE as WIDE

WORKERS = report.sized((1, 2, 4, 8, 16, 32, 64), quick=(1, 4))
SHARDS = report.sized((1, 2, 4), quick=(1, 2))
#: The driver that is simulated; its network is taken to be as fast as this machine's loopback.
CORES = 8
#: Workers at once while the server's times are taken: at its saturation its threads cost more than one that is alone.
LOADED = 8
SECONDS = report.sized(2.0, quick=0.1)
WINDOWS = report.sized(200, quick=10)


def server_times() -> tuple[float, float]:
    """Return what an exchange costs the server: seconds per call, and seconds per weight."""
    spent = []
    for weights in (wire.SMALL, wire.LARGE):
        with far("server", weights, LOADED) as server:
            exchanges = [replaying(server, number, weights) for number in range(LOADED)]
            spent.append(statistics.median(measure(server, exchanges, SECONDS).busy for _ in range(3)))
    each = (spent[1] - spent[0]) / (wire.LARGE - wire.SMALL)
    return max(spent[0] - each * wire.SMALL, 0.0), each


def update_time(weights: int) -> float:
    """Return the seconds per weight of the update alone."""
    from airflow_provider_distkeras.training.algorithms.additive import AdagRule

    rule, update = AdagRule(weights, 2), np.zeros(weights, np.float32)
    store = rule.open(np.zeros((1, weights), np.float32))
    return statistics.median(report.seconds(lambda: rule.exchange(store, 0, update, 0)) for _ in range(50)) / weights


def weights_of(case: Case) -> int:
    """Return the number of weights of a case's network."""
    return sum((inputs + 1) * units for inputs, units in zip(case.layers, case.layers[1:], strict=False))


def main(name: str) -> None:
    """Measure, simulate and write."""
    call, each = server_times()
    per_weight = update_time(wire.LARGE)
    backend, figures, seconds = os.environ["KERAS_BACKEND"], [], SECONDS * 1.5
    for title, case in (("narrow", NARROW), ("wide", WIDE)):
        weights = weights_of(case)
        with two_cores(case, seconds) as reference:
            window = 2 * case.window * case.batch / statistics.median(reference() for _ in range(3))
        costs = Costs(window, call, weights * max(each - per_weight, 0.0), weights * per_weight)
        speeds = {(w, s): simulate(costs, w, s, CORES, WINDOWS) for w in WORKERS for s in SHARDS}
        reference = (
            f"{title}, window {case.window}, {backend}: {window * 1e3:.1f} ms per window; server, driver of {CORES} cores: "
            f"{call * 1e6:.0f} us per call, {costs.copies * 1e6:.0f} us copies, {costs.update * 1e6:.0f} us update"
        )
        print(f"\n{reference}\n{'workers':>9}" + "".join(f"{shards:>10} shards" for shards in SHARDS))
        for workers in WORKERS:
            row = (f"{speeds[workers, shards] / speeds[1, 1]:>16.1f}x" for shards in SHARDS)
            print(f"{workers:>9}" + "".join(row))
        figures += [
            report.Figure(f"{title}, {workers} workers, {shards} shards", speed / speeds[1, 1], "x one worker", reference)
            for (workers, shards), speed in speeds.items()
        ]
    report.write(name, [*figures, _checked(call, each, per_weight)])


def _checked(call: float, each: float, per_weight: float) -> report.Figure:
    """The simulation of workers that compute nothing, against such workers here, where they use up one of two cores."""
    with far("server", wire.LARGE, 8) as server:
        measured = measure(server, [replaying(server, number, wire.LARGE) for number in range(8)], SECONDS)
    costs = Costs(1e-6, call, wire.LARGE * max(each - per_weight, 0.0), wire.LARGE * per_weight)
    simulated = simulate(costs, 8, 1, max(1, (os.cpu_count() or 1) // 2), WINDOWS)
    reference = f"{measured.rate:.0f} /s measured, {simulated:.0f} simulated"
    return report.Figure("the simulation, 8 idle workers, 2.6 MB", simulated / measured.rate, "of measured", reference)


if __name__ == "__main__":
    main(sys.argv[1])
