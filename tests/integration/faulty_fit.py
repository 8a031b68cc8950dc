"""A fit in a driver of its own, as test_faults.py describes it in JSON; prints its result as JSON."""

import hashlib
import json
import sys
import threading

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

from airflow_provider_distkeras.ml import DistKeras


def fit(data, request):
    model = DistKeras(
        request["trainer"],
        request["trainer_params"],
        layer_dims=[None, 8, 1],
        seed=1,
        backend="jax",
        settings="raw",
        **request["params"],
    ).fit(data)
    weights = b"".join(w.tobytes() for w in model.keras_network().get_weights())
    summary = model.summary
    return {
        "rows": summary.rows,
        "rows_trained": summary.rows_trained,
        "updates": summary.updates,
        "loss": summary.loss,
        "trained_here": sum(epoch["rows"] for worker in summary.workers for epoch in worker["epochs"]),
        "weights": hashlib.sha256(weights).hexdigest(),
    }


def main(request):
    builder = (
        SparkSession.builder.master(request["master"]).config("spark.ui.enabled", "false").config("spark.log.level", "ERROR")
    )
    for key, value in request.get("conf", {}).items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    for path in request.get("py_files", []):
        spark.sparkContext.addPyFile(path)
    random = np.random.default_rng(request.get("data_seed", 0)).normal(size=(400, 2))
    features = [row.tolist() for row in random]
    frame = pd.DataFrame({"features": features, "label": 2 * random[:, 0] - 3 * random[:, 1] + 1})
    data = spark.createDataFrame(frame).repartition(2).cache()
    results = [None] * len(request["fits"])

    def run(position):
        try:
            results[position] = fit(data, request["fits"][position])
        except Exception as error:
            results[position] = {"error": type(error).__name__, "message": str(error)}

    threads = [threading.Thread(target=run, args=(position,)) for position in range(len(results))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("RESULT " + json.dumps(results), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
