"""Fits in a driver of their own, as fit_driver.py asks for them in JSON; prints the result of each in JSON.

Also the layers that go wrong, which driver and workers import from here.
"""

import hashlib
import itertools
import json
import os
import pathlib
import sys
import threading

import keras
import numpy as np

ROWS = 400
CALLS = 50
calls = {how: itertools.count(1) for how in ("raises", "hangs")}


@keras.saving.register_keras_serializable("interrupted")
class Faulty(keras.layers.Layer):
    """Goes wrong in the middle of training: at its 50th batch in a process."""

    def __init__(self, how, **kwargs):
        super().__init__(**kwargs)
        self.how = how

    def call(self, inputs):
        import jax

        def look(values):
            if next(calls[self.how]) == CALLS:
                if self.how == "hangs":
                    threading.Event().wait()
                raise ValueError("the layer's own error")
            return np.zeros_like(values)

        shape = jax.ShapeDtypeStruct(inputs.shape, inputs.dtype)
        return inputs + jax.pure_callback(look, shape, jax.lax.stop_gradient(inputs), vmap_method="sequential")

    def compute_output_shape(self, input_shape):
        return input_shape

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "how": self.how}


def network(how):
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(8), Faulty(how), keras.layers.Dense(1)])


def raises():
    return network("raises")


def hangs():
    return network("hangs")


def halt_once(marker, worker, at):
    """Have a worker make so many commits and then wait for ever, in the first driver that gets so far."""
    from airflow_provider_distkeras.training.server import client

    honest = client.ParameterClient.commit

    def commit(self, update, sequence, *rest):
        reply = honest(self, update, sequence, *rest)
        if self._worker == worker and sequence == at and claim(marker):
            threading.Event().wait()
        return reply

    client.ParameterClient.commit = commit


def claim(marker):
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def dataset(spark, seed=0, wide=0):
    import pandas as pd
    from pyspark.sql import functions as F

    if wide:
        return spark.range(2000).select(F.array_repeat(F.lit(0.0), wide).alias("features"), F.lit(1.0).alias("label"))
    random = np.random.default_rng(seed).normal(size=(ROWS, 2))
    features = [row.tolist() for row in random]
    return spark.createDataFrame(pd.DataFrame({"features": features, "label": 2 * random[:, 0] - 3 * random[:, 1] + 1}))


def fit(spark, request):
    from airflow_provider_distkeras.ml import DistKeras

    data = dataset(spark, **request.get("data", {}))
    params = {"layer_dims": [None, 8, 1], "seed": 1, "backend": "jax", "settings": "raw", **request["params"]}
    try:
        model = DistKeras(request["trainer"], request["trainer_params"], **params).fit(data)
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error)}
    summary = model.summary
    weights = b"".join(w.tobytes() for w in model.keras_network().get_weights())
    epochs = [epoch for worker in summary.workers for epoch in worker["epochs"]]
    return {
        "rows": summary.rows,
        "rows_trained": summary.rows_trained,
        "updates": summary.updates,
        "loss": summary.loss,
        "trained_here": sum(epoch["rows"] for epoch in epochs),
        "first_losses_here": [worker["epochs"][0]["loss"] for worker in summary.workers if worker["epochs"]],
        "weights": hashlib.sha256(weights).hexdigest(),
        "snapshots_left": len(list(pathlib.Path(request["params"].get("snapshot_path", "/nowhere")).glob("*"))),
    }


def main(request):
    from pyspark.sql import SparkSession

    builder = (
        SparkSession.builder.master(request["master"]).config("spark.ui.enabled", "false").config("spark.log.level", "ERROR")
    )
    for key, value in request["conf"].items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    for path in request["py_files"]:
        spark.sparkContext.addPyFile(path)
    for step in request["steps"]:
        if "copy" in step:
            pathlib.Path(step["copy"][1]).write_bytes(pathlib.Path(step["copy"][0]).read_bytes())
        results = [None] * len(step["fits"])

        def run(position, step=step, results=results):
            results[position] = fit(spark, step["fits"][position])

        threads = [threading.Thread(target=run, args=(position,)) for position in range(len(results))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print("RESULT " + json.dumps(results), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
