"""A category of many values, embedded as numbers, against the same hashed into one-hot features."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib import cluster, report

ROWS, HELD_OUT, USERS = report.sized(200_000, quick=2_000), report.sized(20_000, quick=200), report.sized(50_000, quick=100)
EPOCHS, HASHED, ROUNDS = report.sized(6, quick=1), 256, report.sized(3, quick=1)


@dataclass(frozen=True)
class Outcome:
    """What a fit took and gave.

    Attributes:
        r2: of the held-out rows.
        seconds: from the CSV file to the model.
        megabytes: of the features of all rows, as workers hold them.
    """

    r2: float
    seconds: float
    megabytes: float


def write_file(path: Path, rows: int, seed: int) -> None:
    """Write rows of users, each with an effect of their own, and two numbers."""
    import pyarrow as pa
    from pyarrow import csv

    effects, random = np.random.default_rng(0).normal(size=USERS), np.random.default_rng(seed)
    user, x, z = random.integers(0, USERS, rows), random.normal(size=rows), random.normal(size=rows)
    label = effects[user] * (1 + 0.5 * (x > 0)) + 0.5 * x - 0.3 * z + 0.3 * random.normal(size=rows)
    csv.write_csv(pa.table({"user": [f"user-{number}" for number in user], "x": x, "z": z, "label": label}), path)


def fit(folder: Path, **encoding: Any) -> Outcome:
    """Prepare, train and measure with an encoding of the users."""
    from pyspark.ml.evaluation import RegressionEvaluator

    from airflow_provider_distkeras.ml import DistKeras, process_csv

    started = time.perf_counter()
    rows = process_csv(f"{folder}/train.csv", scaling="standard", **encoding).cache()
    trainer = {"batch_size": 512, "num_epoch": EPOCHS}
    estimator = DistKeras("SingleTrainer", trainer, layer_dims=[None, 32, 1], optimizer="adam", learning_rate=0.005)
    model = estimator.fit(rows)
    took = time.perf_counter() - started
    features = len(rows.first()["features"])
    held_out = process_csv(f"{folder}/held_out.csv", like=rows)
    r2 = RegressionEvaluator(metricName="r2").evaluate(model.transform(held_out))
    rows.unpersist()
    return Outcome(r2, took, ROWS * features * 4 / 2**20)


def main(name: str) -> None:
    """Measure and write."""
    spark = cluster.session(2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write_file(path / "train.csv", ROWS, seed=1)
        write_file(path / "held_out.csv", HELD_OUT, seed=2)
        encodings: dict[str, dict[str, Any]] = {
            "hashed": {"categorical_columns": ["user"], "max_categories": HASHED},
            "index": {"categorical_encoding": {"user": "index"}},
            "hash": {"categorical_encoding": {"user": {"hash": 2 * USERS}}},
        }
        rounds = [{kind: fit(path, **encoding) for kind, encoding in encodings.items()} for _ in range(ROUNDS)]
        # The fastest of each: the first ones start Python workers, import Keras and compile.
        outcomes = {kind: min((each[kind] for each in rounds), key=lambda outcome: outcome.seconds) for kind in encodings}
    spark.stop()
    hashed = outcomes.pop("hashed")
    figures = []
    for kind, each in outcomes.items():
        what, r2 = f"{USERS:,} categories by {kind}", f"{hashed.r2:.3f} hashed into {HASHED} features"
        took, size = each.seconds / hashed.seconds, each.megabytes / hashed.megabytes
        figures += [
            report.Figure(f"{what}, held-out r2", each.r2, "", r2, hashed.r2),
            report.Figure(f"{what}, CSV to model", took, "x hashed", f"{hashed.seconds:.1f} s", 1.0, at_most=True),
            report.Figure(f"{what}, features", size, "x hashed", f"{hashed.megabytes:.0f} MB", 1.0, at_most=True),
        ]
    report.write(name, figures)


if __name__ == "__main__":
    main(sys.argv[1])
