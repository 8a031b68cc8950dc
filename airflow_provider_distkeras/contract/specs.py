"""The three specs, by the kind of job they are for."""

from __future__ import annotations

from airflow_provider_distkeras.contract.csv_specs import CsvSpec, PreprocessSpec, ScoreSpec
from airflow_provider_distkeras.contract.spec import CONTRACT_VERSION, Spec
from airflow_provider_distkeras.contract.train_spec import TrainSpec

__all__ = ["CONTRACT_VERSION", "SPECS", "CsvSpec", "PreprocessSpec", "ScoreSpec", "Spec", "TrainSpec"]

SPECS: dict[str, type[Spec]] = {spec.kind: spec for spec in (PreprocessSpec, TrainSpec, ScoreSpec)}
