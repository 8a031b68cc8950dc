"""Fits whose parameter server is attacked by a million hostile frames: what it costs, and that nothing else changes."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from airflow_provider_distkeras.training import driver, server
from airflow_provider_distkeras.training.server.shards import ShardedParameterServer
from benchmarks.lib import hostile, report

FRAMES = report.sized(1_000_000, quick=2_000)
ROWS, FEATURES = report.sized(200_000, quick=4_000), 8
EPOCHS = report.sized(40, quick=3)
ATTACKERS = 2


class Besieged(ShardedParameterServer):
    """A parameter server that hostile processes attack from its start to its end."""

    frames = 0

    def __enter__(self) -> Besieged:
        super().__enter__()
        self._attackers = [hostile.start(self.shards[0].port, self.secret, seed) for seed in range(ATTACKERS)]
        return self

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        Besieged.frames += sum(int(attacker.communicate()[0]) for attacker in self._attackers)


class Lines(logging.Handler):
    """Counts the lines of the server's log."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count a line."""
        Lines.count += 1


def main(name: str) -> None:
    """Measure and write. Raises ValueError if a fit under attack has other weights than one that is left alone."""
    from benchmarks.lib import cluster

    data = cluster.random_rows(cluster.session(2), ROWS, FEATURES, 2)
    logging.getLogger(server.__name__).addHandler(Lines())
    _fit(data)
    expected, quiet = _fit(data)
    before, seconds, fits = _memory(), 0.0, 0
    driver.ShardedParameterServer = Besieged
    try:
        while Besieged.frames < FRAMES:
            weights, speed = _fit(data)
            if not np.array_equal(weights, expected):
                raise ValueError("A fit under attack has other weights than one that is left alone.")
            seconds, fits = seconds + ROWS * EPOCHS / speed, fits + 1
    finally:
        driver.ShardedParameterServer = ShardedParameterServer
    speed = fits * ROWS * EPOCHS / seconds
    frames = f"{Besieged.frames:,} hostile frames during {fits} fits, whose weights are those of a fit left alone"
    report.write(
        name,
        [
            report.Figure("hostile frames", Besieged.frames / seconds, "1/s", frames),
            report.Figure(
                "speed under attack", speed / quiet, "of alone", f"{quiet:,.0f} samples/s, attackers on the same cores"
            ),
            report.Figure("memory of the driver", (_memory() - before) / 1e6, "MB more", f"{before / 1e6:.0f} MB", 64.0, True),
            report.Figure("lines of the log", Lines.count / fits, "a fit", f"{seconds / fits:.0f} s a fit", 6.0, True),
        ],
    )


def _fit(data: Any) -> tuple[Any, float]:
    """Return the weights of a fit that any other fit must have, too, and its samples per second."""
    from airflow_provider_distkeras.ml import DistKeras

    trainer = {"batch_size": 256, "communication_window": 12, "num_epoch": EPOCHS, "num_workers": 2, "deterministic": True}
    model = DistKeras(
        "ADAG", trainer, layer_dims=[FEATURES, 64, 32, 1], seed=1, settings="raw", backend=os.environ["KERAS_BACKEND"]
    ).fit(data)
    if model.summary.rows_trained != ROWS * EPOCHS:
        raise ValueError(f"{model.summary.rows_trained:,} rows trained; expected {ROWS * EPOCHS:,}.")
    return np.concatenate([w.ravel() for w in model.keras_network().get_weights()]), model.summary.samples_per_second


def _memory() -> int:
    """Return the resident bytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main(sys.argv[1])
