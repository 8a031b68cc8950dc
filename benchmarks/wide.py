"""The article's wide network, where the computation costs most: against two bare cores."""

from __future__ import annotations

import os
import sys

from benchmarks import cluster, report
from benchmarks.narrow import against_two_cores
from benchmarks.reference import Case

CASE = Case((28, 2000, 300, 1), "l1_l2", 0.2, 51_200, 256, 3)


def main(name: str) -> None:
    """Measure and write."""
    backend = os.environ["KERAS_BACKEND"]
    data = cluster.random_rows(cluster.session(2), CASE.rows, CASE.layers[0], 2)
    share, bare = against_two_cores(data, CASE, epochs=4, repeats=3)
    reference = f"{bare:,.0f} samples/s on two bare cores"
    report.write(name, [report.Figure(f"{backend}, wide, window 3", share, "of two cores", reference, 0.90)])


if __name__ == "__main__":
    main(sys.argv[1])
