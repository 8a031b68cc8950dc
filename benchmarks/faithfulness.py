"""Every trainer at its recommended settings against `keras.Model.fit`, with equal epochs, on a CSV file of yours.

python -m benchmarks.faithfulness hour.csv cnt instant,dteday,casual,registered [ADAG,DynSGD]

Features and label are standardized. Workers of a distributed trainer take batches of 64 / num_workers, so that a round of all of
them sees as many rows as a step of `fit` does; the other settings of a trainer are in SETTINGS. Prints a table in Markdown.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np
from numpy.typing import NDArray

from benchmarks.lib import cluster, report

EPOCHS, BATCH, RATE = report.sized(30, quick=1), 64, 0.003
WORKERS = report.sized((2, 4, 8), quick=(2,))
LAYERS = [64, 32, 1]

#: Per trainer, from the number of workers: its parameters, its optimizer, and its learning rate. DynSGD's workers take turns, as
#: equal ones would: where several share a core, one runs ahead while the others' updates grow stale and count for nothing.
SETTINGS: dict[str, Callable[[int], tuple[dict[str, Any], str, float]]] = {
    "ADAG": lambda n: ({"communication_window": 4}, "adam", RATE * 4 / n),
    "DOWNPOUR": lambda n: ({"communication_window": 2}, "adam", RATE * 2 / n),
    "DynSGD": lambda _: ({"communication_window": 5, "deterministic": True}, "adam", RATE),
    "Experimental": lambda n: ({"communication_window": 4}, "adam", RATE * 4 / n),
    "AEASGD": lambda _: ({"communication_window": 8}, "adam", RATE),
    "EAMSGD": lambda n: ({"communication_window": 4}, "sgd", 0.02 if n < 8 else 0.01),
    "LocalSGD": lambda _: ({"communication_window": 8}, "adam", RATE * 2),
    "AveragingTrainer": lambda _: ({}, "adam", RATE * 2),
    "EnsembleTrainer": lambda _: ({}, "adam", RATE),
}


def main(path: str, label: str, excluded: Iterable[str], trainers: Iterable[str]) -> None:
    """Print the table of held-out r2."""
    import pandas as pd

    frame = pd.read_csv(path).drop(columns=list(excluded))
    labels, features = frame.pop(label).to_numpy(np.float32), frame.to_numpy(np.float32)
    order = np.random.default_rng(0).permutation(len(labels))
    train, test = np.split(order, [int(0.8 * len(order))])
    features = (features - features[train].mean(axis=0)) / features[train].std(axis=0)
    labels = (labels - labels[train].mean()) / labels[train].std()
    spark = cluster.session(max(WORKERS))
    data = spark.createDataFrame(pd.DataFrame({"features": list(features[train].astype(float)), "label": labels[train]})).cache()

    def r2(network: Any) -> float:
        error = network.predict(features[test], verbose=0)[:, 0] - labels[test]
        return float(1 - (error**2).sum() / ((labels[test] - labels[test].mean()) ** 2).sum())

    reference = r2(_keras_fit(features[train], labels[train]))
    print(f"`keras.Model.fit`, {EPOCHS} epochs, batch {BATCH}, Adam at {RATE:g}: {reference:.4f}\n")
    print("| trainer | " + " | ".join(f"{n} workers" for n in WORKERS) + " |\n|---|" + "---|" * len(WORKERS))
    for trainer in trainers:
        row = []
        for workers in WORKERS:
            started = time.perf_counter()
            score = r2(_fit(data, trainer, workers, *SETTINGS[trainer](workers)))
            row.append(f"{score:.4f} ({score - reference:+.4f})")
            print(f"{trainer} {workers}: {row[-1]}, {time.perf_counter() - started:.1f} s", file=sys.stderr)
        print(f"| {trainer} | " + " | ".join(row) + " |", flush=True)
    spark.stop()


def _keras_fit(features: NDArray[np.float32], labels: NDArray[np.float32]) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(units, "relu") for units in LAYERS[:-1]]
    network = keras.Sequential([keras.Input((features.shape[1],)), *layers, keras.layers.Dense(LAYERS[-1])])
    network.compile(keras.optimizers.Adam(RATE), "mse")
    network.fit(features, labels, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return network


def _fit(data: Any, trainer: str, workers: int, parameters: dict[str, Any], optimizer: str, rate: float) -> Any:
    from airflow_provider_distkeras.ml import DistKeras

    size = {"num_ensembles" if trainer == "EnsembleTrainer" else "num_workers": workers}
    common = {"batch_size": BATCH // workers, "num_epoch": EPOCHS, **size}
    estimator = DistKeras(
        trainer, {**common, **parameters}, layer_dims=[None, *LAYERS], optimizer=optimizer, learning_rate=rate, seed=0
    )
    return estimator.fit(data).keras_network()


if __name__ == "__main__":
    lists = [part.split(",") for part in sys.argv[3:]]
    main(sys.argv[1], sys.argv[2], lists[0] if lists else [], lists[1] if len(lists) > 1 else SETTINGS)
