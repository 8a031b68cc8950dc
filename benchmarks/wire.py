"""Commits over loopback to parameter servers in another process: one round trip, and where the server saturates."""

from __future__ import annotations

import statistics
import sys

from benchmarks.lib import report
from benchmarks.lib.load import Load, bouncing, committing, measure, replaying
from benchmarks.lib.serving import far

#: Weights of the narrow and of the wide network, near enough: 16 KB and 2.6 MB.
SMALL, LARGE = 4_096, 650_000
WORKERS = report.sized((1, 8, 32), quick=(1, 4))
REPEATS = report.sized(5, quick=1)
SECONDS = report.sized(1.5, quick=0.1)


def compare(weights: int, workers: int) -> tuple[Load, Load]:
    """Measure bare bytes and commits in turns, and return the medians.

    One worker is a real one, from its vector to its reply; several would measure themselves, so they replay bytes.
    """
    with far("echo", weights, workers) as echo, far("server", weights, workers) as server:
        bounce = [bouncing(echo, number, weights) for number in range(workers)]
        ours = committing if workers == 1 else replaying
        commit = [ours(server, number, weights) for number in range(workers)]
        pairs = [(measure(echo, bounce, SECONDS), measure(server, commit, SECONDS)) for _ in range(REPEATS)]
        return _median([bare for bare, _ in pairs]), _median([load for _, load in pairs])


def _median(loads: list[Load]) -> Load:
    return Load(*(statistics.median(getattr(load, name) for load in loads) for name in ("rate", "latency", "busy")))


def main(name: str) -> None:
    """Measure both sizes with every number of workers, and write."""
    figures = []
    for weights, size in ((SMALL, "16 KB"), (LARGE, "2.6 MB")):
        best = 0.0
        for workers in WORKERS:
            bare, ours = compare(weights, workers)
            title, best = f"{size}, {workers} workers" if workers > 1 else f"{size}, 1 worker", max(best, ours.rate)
            both_ways = 8 * weights / 1e9  # GB per exchange
            # Workers that wait for each other's turn at one server do not measure a round trip.
            if weights == SMALL:
                target = 150.0 if workers == 1 else None
                bare_trip = f"{bare.latency * 1e6:.0f} us bare ping-pong"
                figures.append(report.Figure(f"round trip, {title}", ours.latency * 1e6, "us", bare_trip, target, at_most=True))
            bare_speed = f"{bare.rate * both_ways:.2f} GB/s bare ping-pong"
            target = 1.0 if weights == LARGE else None
            figures.append(report.Figure(f"both ways, {title}", ours.rate * both_ways, "GB/s", bare_speed, target))
            reference = f"{bare.rate:,.0f} /s bare; server {ours.busy * 1e6:.0f} us of processor each, echo {bare.busy * 1e6:.0f}"
            figures.append(report.Figure(f"commits, {title}", ours.rate, "1/s", reference))
        figures.append(
            report.Figure(
                f"saturation, {size}", best, "1/s", f"{best * 8 * weights / 1e9:.2f} GB/s, the most of {WORKERS} workers"
            )
        )
    report.write(name, figures)


if __name__ == "__main__":
    main(sys.argv[1])
