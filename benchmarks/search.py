"""A grid search: against its pure computation, beside Spark's own CrossValidator, and the overhead of a trial."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from benchmarks.lib import cluster, report
from benchmarks.lib.reference import Case, two_cores

TRIALS, FOLDS, EPOCHS = report.sized(10, quick=2), report.sized(3, quick=2), report.sized(5, quick=1)
CASE = Case((28, 64, 32, 1), None, 0.2, report.sized(100_000, quick=4_000), 256, 12)
REPEATS, SECONDS = report.sized(7, quick=1), report.sized(4.0, quick=0.1)
TINY, TINY_ROWS = report.sized(1_000, quick=4), 200


def main(name: str) -> None:
    """Measure and write."""
    backend = os.environ["KERAS_BACKEND"]
    spark = cluster.session(2)
    data = cluster.random_rows(spark, CASE.rows, CASE.layers[0], 4)
    estimator = _estimator(CASE, EPOCHS, backend)
    rates = np.linspace(1e-4, 1e-3, TRIALS).tolist()
    ours, theirs = _validator(estimator, rates, spark=False), _validator(estimator, rates, spark=True)
    trained = TRIALS * FOLDS * EPOCHS * CASE.rows * (FOLDS - 1) / FOLDS
    ours.search(data)  # compiles
    with two_cores(CASE, SECONDS) as speed:
        times, ideal = report.median_ratio(lambda: report.seconds(lambda: ours.search(data)), lambda: trained / speed(), REPEATS)
    stock = report.seconds(lambda: theirs.fit(data))
    whole = report.seconds(lambda: ours.fit(data))
    tiny = _estimator(Case((28, 4, 1), None, 0.0, TINY_ROWS, 64, 4), 1, backend)
    few = cluster.random_rows(spark, TINY_ROWS, CASE.layers[0], 2)
    wide = _validator(tiny, np.linspace(1e-4, 1e-3, TINY).tolist(), spark=False).setParams(numFolds=2)
    _validator(tiny, [1e-3], spark=False).search(few)
    each = report.seconds(lambda: wide.search(few)) / (2 * TINY)
    spark.stop()
    title = f"{backend}, {TRIALS} trials x {FOLDS} folds of {CASE.rows:,} rows"
    report.write(
        name,
        [
            report.Figure(f"{title}, searched", times, "x its pure computation", f"{ideal:.1f} s on two bare cores", 1.25, True),
            report.Figure(f"{title}, with the refit", stock / whole, "x as fast as Spark's own", f"{stock:.1f} s by it"),
            report.Figure(f"{backend}, {TINY} tiny trials, 2 folds", each * 1e3, "ms a fit", "all of it is overhead", 150, True),
        ],
    )


def _estimator(case: Case, epochs: int, backend: str) -> Any:
    from airflow_provider_distkeras.ml import DistKeras

    trainer = {"batch_size": case.batch, "num_epoch": epochs, "communication_window": case.window, "num_workers": 1}
    return DistKeras("ADAG", trainer, backend=backend, settings="raw", **case.hyperparameters())


def _validator(estimator: Any, rates: list[float], *, spark: bool) -> Any:
    from pyspark.ml import evaluation, tuning

    from airflow_provider_distkeras.ml import CrossValidator

    grid = tuning.ParamGridBuilder().addGrid(estimator.learning_rate, rates).build()
    evaluator = evaluation.RegressionEvaluator(metricName="r2")
    kind = tuning.CrossValidator if spark else CrossValidator
    options = {"parallelism": 2} if spark else {}
    return kind(estimator=estimator, estimatorParamMaps=grid, evaluator=evaluator, numFolds=FOLDS, seed=0, **options)


if __name__ == "__main__":
    main(sys.argv[1])
