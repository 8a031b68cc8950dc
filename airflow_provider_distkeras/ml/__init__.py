"""Spark ML stages that train Keras networks on a cluster, for a notebook or a job. No Airflow needed.

from airflow_provider_distkeras.ml import DistKeras, process_csv
from airflow_provider_distkeras.training import trainers
"""

from airflow_provider_distkeras.ml.data.prepare import process_csv
from airflow_provider_distkeras.ml.display import show
from airflow_provider_distkeras.ml.estimator.estimator import DistKeras
from airflow_provider_distkeras.ml.estimator.model import DistKerasModel
from airflow_provider_distkeras.ml.tuning.validators import CrossValidator, TrainValidationSplit

__all__ = ["CrossValidator", "DistKeras", "DistKerasModel", "TrainValidationSplit", "process_csv", "show"]
