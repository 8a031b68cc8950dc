"""Every trainer against `keras.Model.fit` with the same learning rate, batch size, optimizer and number of epochs.

python -m benchmarks.faithfulness                                      four generated data sets
python -m benchmarks.faithfulness --csv hour.csv --label cnt --exclude instant,dteday,casual,registered

On each data set and for each optimizer, the best of RATES for `fit` is looked up, then `fit` and the trainers are compared on
held-out rows at that rate, a third and three times of it: the median of so many seeds. Prints tables in Markdown, one line per
trainer: the difference to `fit` at the three rates; below zero, the trainer is worse.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

from benchmarks.lib import cluster, report
from benchmarks.lib.datasets import GENERATED, Dataset, split

ROWS = report.sized(6000, quick=300)
EPOCHS, BATCH = report.sized(10, quick=1), 32
HIDDEN = [64, 32]
RATES = report.sized([0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3], quick=[0.01])
OPTIMIZERS: dict[str, str | dict[str, Any]] = {"sgd": "sgd", "momentum": {"name": "sgd", "momentum": 0.9}, "adam": "adam"}
TRAINERS = [
    "SingleTrainer", "ADAG", "DOWNPOUR", "DynSGD", "Experimental", "AEASGD", "EAMSGD", "LocalSGD", "AveragingTrainer",
]  # fmt: skip
WORST = -1.0  # of a fit that diverges


def main() -> None:
    """Print a table for each data set and optimizer."""
    options = _options()
    spark = cluster.session(max(options.workers))
    for name, data in _datasets(options).items():
        rows = _dataframe(spark, data)
        for optimizer in options.optimizers:
            _compare(f"{name}, {optimizer}", data, rows, OPTIMIZERS[optimizer], options)
    spark.stop()


def _options() -> argparse.Namespace:
    def texts(value: str) -> list[str]:
        return value.split(",")

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=texts, default=[*GENERATED], help="of the generated data sets: smooth,outliers")
    parser.add_argument("--csv", help="a file of numbers with a header, instead")
    parser.add_argument("--label", help="the column to predict")
    parser.add_argument("--exclude", type=texts, default=[], help="columns to leave out")
    parser.add_argument("--optimizers", type=texts, default=[*OPTIMIZERS], help=",".join(OPTIMIZERS))
    parser.add_argument("--trainers", type=texts, default=TRAINERS, help="names of trainers")
    parser.add_argument("--workers", type=lambda value: [int(each) for each in texts(value)], default=[1, 2, 4, 8])
    parser.add_argument("--factors", type=lambda value: [float(each) for each in texts(value)], default=[1 / 3, 1.0, 3.0])
    parser.add_argument("--seeds", type=int, default=report.sized(5, quick=1), help="fits of which the median counts")
    return parser.parse_args()


def _datasets(options: argparse.Namespace) -> dict[str, Dataset]:
    if options.csv is None:
        return {name: GENERATED[name](ROWS) for name in options.data}
    import pandas as pd

    frame = pd.read_csv(options.csv).drop(columns=options.exclude)
    labels = frame.pop(options.label).to_numpy(float)
    return {os.path.basename(options.csv): split(frame.to_numpy(float), labels)}


def _dataframe(spark: Any, data: Dataset) -> Any:
    import pandas as pd

    frame = pd.DataFrame({"features": list(data.features.astype(float)), "label": data.labels.astype(float)})
    return spark.createDataFrame(frame).cache()


def _compare(title: str, data: Dataset, rows: Any, optimizer: str | dict[str, Any], options: argparse.Namespace) -> None:
    """Print the table of one data set and optimizer."""
    best = max(RATES, key=lambda rate: _keras_fit(data, optimizer, rate, 0))
    rates, seeds = [best * factor for factor in options.factors], range(options.seeds)
    reference = [statistics.median(_keras_fit(data, optimizer, rate, seed) for seed in seeds) for rate in rates]
    fits = ", ".join(f"{score:.3f}" for score in reference)
    print(f"\n**{title}**: {data.metric} of `fit` at a rate of {', '.join(f'{rate:.2g}' for rate in rates)}: {fits}\n")
    print("| trainer | " + " | ".join(f"{n} workers" for n in options.workers) + " |\n|---|" + "---|" * len(options.workers))
    for trainer in options.trainers:
        row = []
        for workers in options.workers if trainer != "SingleTrainer" else [1]:
            started, cells = time.perf_counter(), []
            for rate, fit in zip(rates, reference, strict=True):
                score = statistics.median(_fit(data, rows, trainer, workers, optimizer, rate, seed) for seed in seeds)
                cells.append(f"{score - fit:+.3f}")
            row.append(" ".join(cells))
            print(f"{trainer} {workers}: {row[-1]}, {time.perf_counter() - started:.1f} s", file=sys.stderr)
        print(f"| {trainer} | " + " | ".join(row) + " |", flush=True)


def _keras_fit(data: Dataset, optimizer: str | dict[str, Any], rate: float, seed: int) -> float:
    import keras

    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(units, "relu") for units in HIDDEN]
    inputs, outputs = keras.Input((data.features.shape[1],)), keras.layers.Dense(data.units, data.activation)
    network = keras.Sequential([inputs, *layers, outputs])
    config = {"name": optimizer} if isinstance(optimizer, str) else dict(optimizer)
    made = keras.optimizers.get({"class_name": config.pop("name"), "config": {**config, "learning_rate": rate}})
    network.compile(made, data.loss)
    network.fit(data.features, data.labels, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return _score(data, network)


def _fit(data: Dataset, rows: Any, trainer: str, workers: int, optimizer: Any, rate: float, seed: int) -> float:
    from airflow_provider_distkeras.contract.errors import DivergenceError
    from airflow_provider_distkeras.ml import DistKeras

    parameters: dict[str, Any] = {"batch_size": BATCH, "num_epoch": EPOCHS}
    if trainer != "SingleTrainer":
        parameters["num_workers"] = workers
    estimator = DistKeras(
        trainer, parameters, layer_dims=[None, *HIDDEN, data.units], loss=data.loss, optimizer=optimizer, learning_rate=rate,
        settings="keras", seed=seed,
    )  # fmt: skip
    try:
        return _score(data, estimator.fit(rows).keras_network())
    except DivergenceError:
        return WORST


def _score(data: Dataset, network: Any) -> float:
    """Return the metric of a trained network, WORST at the least."""
    outputs = network.predict(data.test_features, batch_size=4096, verbose=0)
    return max(WORST, data.score(outputs))  # max with a NaN second is WORST


if __name__ == "__main__":
    main()
