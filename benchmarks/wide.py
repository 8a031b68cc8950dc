"""The article's wide network, where the computation costs most: against two bare cores."""

from __future__ import annotations

import os
import sys

from benchmarks.lib import cluster, report
from benchmarks.lib.reference import Case
from benchmarks.narrow import against_two_cores

CASE = Case((28, 2000, 300, 1), "l1_l2", 0.2, report.sized(51_200, quick=2_048), 256, 3)
REPEATS, EPOCHS = report.sized(3, quick=1), report.sized(4, quick=2)


def main(name: str) -> None:
    """Measure and write."""
    backend = os.environ["KERAS_BACKEND"]
    data = cluster.random_rows(cluster.session(2), CASE.rows, CASE.layers[0], 2)
    share, bare = against_two_cores(data, CASE, EPOCHS, REPEATS)
    data.sparkSession.stop()
    reference = f"{bare:,.0f} samples/s on two bare cores"
    report.write(name, [report.Figure(f"{backend}, 28-2000-300-1, window 3", share, "of two cores", reference, 0.90)])


if __name__ == "__main__":
    main(sys.argv[1])
