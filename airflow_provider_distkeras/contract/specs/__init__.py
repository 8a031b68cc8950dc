"""The specs of the jobs, a file for each, and what they share."""

from __future__ import annotations

from airflow_provider_distkeras.contract.specs.base import JobDetails as JobDetails
from airflow_provider_distkeras.contract.specs.base import Spec as Spec
from airflow_provider_distkeras.contract.specs.base import spec_class_of as spec_class_of
from airflow_provider_distkeras.contract.specs.input import InputSpec as InputSpec
from airflow_provider_distkeras.contract.specs.input import RowsSpec as RowsSpec
from airflow_provider_distkeras.contract.specs.preprocess import PreprocessSpec as PreprocessSpec
from airflow_provider_distkeras.contract.specs.promote import PromoteSpec as PromoteSpec
from airflow_provider_distkeras.contract.specs.score import ScoreSpec as ScoreSpec
from airflow_provider_distkeras.contract.specs.train import TrainSpec as TrainSpec
