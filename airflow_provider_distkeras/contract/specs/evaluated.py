"""The base of the specs of jobs that measure the quality of models."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_distkeras.contract.fields import check_names, choice, list_of, optional, text
from airflow_provider_distkeras.contract.params.objectives import EVALUATORS
from airflow_provider_distkeras.contract.specs.base import Spec, spec_field


@dataclass(frozen=True, kw_only=True)
class EvaluatedSpec(Spec):
    """Base of the specs with an evaluator and a metric that decides."""

    evaluator: str = spec_field(choice("evaluator", EVALUATORS), "regression, binary or multiclass.", "regression")
    metric: str | None = spec_field(optional(text), "The evaluator's metric that decides; its first if not given.", None)
    metrics: list[str] = spec_field(list_of(text), "Further metrics of the evaluator to measure.", [])

    def check_whole(self) -> None:
        """Check that the metrics are the evaluator's."""
        super().check_whole()
        check_names(f"metric of the {self.evaluator} evaluator", self.metric_names, EVALUATORS[self.evaluator])

    @property
    def metric_name(self) -> str:
        """The metric that decides."""
        return self.metric or EVALUATORS[self.evaluator][0]

    @property
    def metric_names(self) -> list[str]:
        """All metrics to measure; the first decides."""
        return list(dict.fromkeys([self.metric_name, *self.metrics]))
