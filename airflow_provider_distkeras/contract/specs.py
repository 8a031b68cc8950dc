"""The specs, by the kind of job they are for."""

from __future__ import annotations

from airflow_provider_distkeras.contract.csv_specs import CsvSpec, PreprocessSpec, RowsSpec, ScoreSpec
from airflow_provider_distkeras.contract.measured_spec import MeasuredSpec
from airflow_provider_distkeras.contract.promote_spec import PromoteSpec
from airflow_provider_distkeras.contract.spec import CONTRACT_VERSION, Spec
from airflow_provider_distkeras.contract.train_spec import TrainSpec

__all__ = [
    "CONTRACT_VERSION", "SPECS", "CsvSpec", "MeasuredSpec", "PreprocessSpec", "PromoteSpec", "RowsSpec", "ScoreSpec", "Spec",
    "TrainSpec",
]  # fmt: skip

SPECS: dict[str, type[Spec]] = {spec.kind: spec for spec in (PreprocessSpec, TrainSpec, ScoreSpec, PromoteSpec)}
