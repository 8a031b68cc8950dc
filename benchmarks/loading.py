"""From Parquet, through Spark, to a worker's float32 block, on one core."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.lib import cluster, report

ROWS, FEATURES = report.sized(512_000, quick=20_000), 28
WARM_UPS, REPEATS = report.sized(2, quick=0), report.sized(5, quick=1)
TARGET = 15.0


def main(name: str) -> None:
    """Measure and write."""
    alone = _alone()
    spark = cluster.session(1)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows")
        cluster.random_rows(spark, ROWS, FEATURES, 1).write.parquet(path)
        spark.catalog.clearCache()
        through = _through_spark(spark, path)
    spark.stop()
    report.write(name, [*through, alone])


def _alone() -> report.Figure:
    """The Loader on Arrow batches, against a copy of their values by NumPy."""
    import numpy as np

    from airflow_provider_distkeras.training.dataset import Loader

    batches = cluster.arrow_batches(ROWS, FEATURES)

    def copied() -> Any:
        return np.concatenate([b.column(0).flatten().to_numpy().reshape(-1, FEATURES) for b in batches])

    pairs = [(_speed(copied), _speed(lambda: Loader().load(batches))) for _ in range(1 + REPEATS)][1:]
    copy, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    return report.Figure("Loader alone", ours, "M values/s", f"{copy:.0f} M by a plain copy", TARGET)


def _through_spark(spark: Any, path: str) -> list[report.Figure]:
    """Through Spark, against the same query whose Python side drops what it gets. Spark and Python may each use a core."""
    from pyspark.sql import functions as F

    def query(function: Callable[[Iterable[Any]], Iterator[Any]], shuffled: bool = False) -> float:
        data = spark.read.parquet(path).select("features", F.array("label").alias("label"))
        data = data.repartition(1) if shuffled else data
        return _speed(lambda: _check(data.mapInArrow(function, "rows long").collect()))

    rounds = [(query(_drop), query(_load), query(_load, True)) for _ in range(WARM_UPS + REPEATS)][WARM_UPS:]
    dropped, ours, shuffled = (statistics.median(column) for column in zip(*rounds, strict=True))
    reference = f"{dropped:.0f} M where Python drops them"
    return [
        report.Figure("Parquet to block, local[1]", ours, "M values/s", reference, TARGET),
        report.Figure("the same dealt out by repartition(1), as a fit does", shuffled, "M values/s", f"{ours:.0f} M without"),
    ]


def _load(batches: Iterable[Any]) -> Iterator[Any]:
    import pyarrow as pa

    from airflow_provider_distkeras.training.dataset import Loader

    rows, _ = Loader().load(batches)
    yield pa.RecordBatch.from_pydict({"rows": [len(rows)]})


def _drop(batches: Iterable[Any]) -> Iterator[Any]:
    import pyarrow as pa

    yield pa.RecordBatch.from_pydict({"rows": [sum(batch.num_rows for batch in batches)]})


def _check(rows: list[Any]) -> None:
    if sum(row.rows for row in rows) != ROWS:
        raise ValueError(f"{rows} instead of {ROWS} rows.")


def _speed(work: Callable[[], object]) -> float:
    """Millions of values per second."""
    return ROWS * FEATURES / report.seconds(work) / 1e6


if __name__ == "__main__":
    main(sys.argv[1])
