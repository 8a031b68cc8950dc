"""Training on four times the rows that a worker may keep in memory, against training on all of them in memory."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile

from airflow_provider_distkeras.spark.environment import variables
from benchmarks.lib import report
from benchmarks.lib.reference import Case, Trainer

CASE = Case((28, 64, 32, 1), None, 0.2, report.sized(512_000, quick=20_000), 256, 12)
REPEATS = report.sized(5, quick=1)


def main(name: str) -> None:
    """Measure and write."""
    # Before the backend is imported, which reads them.
    os.environ.update(variables(os.environ["KERAS_BACKEND"], 1))
    import numpy as np

    from airflow_provider_distkeras.training.dataset import Loader
    from benchmarks.lib.cluster import arrow_batches

    batches = arrow_batches(CASE.rows, CASE.layers[0])
    in_memory, _ = Loader().load(batches)
    size = in_memory.records.nbytes
    with tempfile.TemporaryDirectory() as folder:
        mapped, _ = Loader(size // 4, folder).load(batches)
        if not isinstance(mapped.records, np.memmap):
            raise ValueError(f"{size:,} bytes stayed in memory under a limit of a quarter of them.")
        trainer = Trainer(CASE)
        for rows in (in_memory, mapped):
            sum(trainer.train(rows, 0))
        epochs = iter(range(1, 1 + 2 * REPEATS))

        def speed(rows: object) -> float:
            return len(rows) / report.seconds(lambda: sum(trainer.train(rows, next(epochs))))

        share, reference = report.median_ratio(lambda: speed(mapped), lambda: speed(in_memory), REPEATS)
        feeding = statistics.median(report.seconds(lambda: _feed(mapped)) for _ in range(REPEATS))
        feeding_memory = statistics.median(report.seconds(lambda: _feed(in_memory)) for _ in range(REPEATS))
    backend = os.environ["KERAS_BACKEND"]
    figures = [
        report.Figure(
            f"{backend}, {size / 1e6:.0f} MB of rows, a quarter of it allowed", share, "of in memory",
            f"{reference:,.0f} samples/s in memory", 0.7,
        ),
        report.Figure("windows alone, mapped", feeding * 1e3, "ms/epoch", f"{feeding_memory * 1e3:.0f} ms in memory"),
    ]  # fmt: skip
    report.write(name, figures)


def _feed(rows: object) -> None:
    for _ in rows.windows(CASE.batch, CASE.window, [0], CASE.window):
        pass


if __name__ == "__main__":
    main(sys.argv[1])
