"""The specs, by the kind of job they are for."""

from __future__ import annotations

from airflow_provider_distkeras.contract.specs.base import CONTRACT_VERSION, Spec
from airflow_provider_distkeras.contract.specs.csv import CsvSpec, RowsSpec
from airflow_provider_distkeras.contract.specs.evaluated import EvaluatedSpec
from airflow_provider_distkeras.contract.specs.preprocess import PreprocessSpec
from airflow_provider_distkeras.contract.specs.promote import PromoteSpec
from airflow_provider_distkeras.contract.specs.score import ScoreSpec
from airflow_provider_distkeras.contract.specs.train import TrainSpec

__all__ = [
    "CONTRACT_VERSION", "SPECS", "CsvSpec", "EvaluatedSpec", "PreprocessSpec", "PromoteSpec", "RowsSpec", "ScoreSpec", "Spec",
    "TrainSpec",
]  # fmt: skip

SPECS: dict[str, type[Spec]] = {spec.kind: spec for spec in (PreprocessSpec, TrainSpec, ScoreSpec, PromoteSpec)}
