"""Where models that version 0.1 saved look for `DistKerasModel`."""

from airflow_provider_distkeras.ml.estimator.model import DistKerasModel as DistKerasModel
