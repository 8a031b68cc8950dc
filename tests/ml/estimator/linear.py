"""Estimators of a line."""

from pyspark.ml import evaluation

from airflow_provider_distkeras.ml import DistKeras

#: The rows of the fixture `data`.
ROWS = 301


def estimator(trainer="ADAG", trainer_params=None, **params):
    options = {"layer_dims": [None, 8, 1], "optimizer": "adam", "learning_rate": 0.05, "seed": 1, "backend": "jax", **params}
    fast = {"batch_size": 16, "num_epoch": 2, **(trainer_params or {})}
    return DistKeras(trainer, fast, **options)


def r2(predicted):
    return evaluation.RegressionEvaluator(metricName="r2").evaluate(predicted)
