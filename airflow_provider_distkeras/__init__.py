"""Distributed Keras training on Spark, as Airflow operators and as a Spark ML Estimator."""

__version__ = "0.1.0"
