"""The base of the specs of jobs that measure the quality of models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import choice, is_import_path, list_of, optional, text
from airflow_provider_distkeras.contract.params.metrics import DIRECTIONS, EVALUATORS, check_metric, larger_is_better
from airflow_provider_distkeras.contract.specs.base import Spec, spec_field


@dataclass(frozen=True, kw_only=True)
class EvaluatedSpec(Spec):
    """Base of the specs with an evaluator and a metric that decides."""

    added_fields: ClassVar[tuple[str, ...]] = ("metric_direction",)

    evaluator: str = spec_field(choice("evaluator", EVALUATORS), "regression, binary or multiclass.", "regression")
    metric: str | None = spec_field(
        optional(text),
        "The evaluator's metric that decides, by default its first; or your own, 'package.module:name', a function (labels, "
        "outputs, weights) -> float.",
        None,
    )
    metric_direction: str | None = spec_field(
        optional(choice("direction", DIRECTIONS)), "Whether the least or the greatest value of your own metric is best.", None
    )
    metrics: list[str] = spec_field(list_of(text), "Further metrics to measure.", [])

    def check_whole(self) -> None:
        """Check that the metrics are the evaluator's, or the user's own, and that it is known which value is better."""
        super().check_whole()
        for name in self.metric_names:
            if not is_import_path(name):
                check_metric(self.evaluator, name)
        if not is_import_path(self.metric_name):
            if self.metric_direction is not None:
                raise SpecError(f"metric_direction: it is known of {self.metric_name}; leave metric_direction out.")
        elif self.metric_direction is None:
            raise SpecError(
                f"metric_direction: the metric {self.metric_name!r} is your own, so nothing says which value is better; set "
                "metric_direction to 'min' or 'max'."
            )

    @property
    def metric_name(self) -> str:
        """The metric that decides."""
        return self.metric or next(iter(EVALUATORS[self.evaluator]))

    @property
    def metric_names(self) -> list[str]:
        """All metrics to measure; the first decides."""
        return list(dict.fromkeys([self.metric_name, *self.metrics]))

    @property
    def uses_evaluator(self) -> bool:
        """Whether any metric is the evaluator's."""
        return not all(map(is_import_path, self.metric_names))

    @property
    def larger_is_better(self) -> bool:
        """Whether a larger value of the metric that decides is better."""
        if self.metric_direction is not None:
            return self.metric_direction == "max"
        return larger_is_better(self.evaluator, self.metric_name)
