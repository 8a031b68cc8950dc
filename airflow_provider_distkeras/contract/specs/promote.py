"""The spec of a promote job, and its decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from airflow_provider_distkeras.contract.fields import boolean, number, optional, text
from airflow_provider_distkeras.contract.period import is_older
from airflow_provider_distkeras.contract.specs.base import JobDetails, spec_field
from airflow_provider_distkeras.contract.specs.evaluated import EvaluatedSpec
from airflow_provider_distkeras.contract.specs.input import RowsSpec
from airflow_provider_distkeras.contract.specs.paths import uri


@dataclass(frozen=True, kw_only=True)
class PromoteDetails(JobDetails):
    """What a promote job's manifest holds beside its result.

    Attributes:
        challenger_path: the model that was compared with the champion.
        champion_path: the champion's model; None if there was none.
        rows_left_out: rows that a model could not score or that have no label.
        unknown_labels: rows whose label is no class, per model that has such rows.
    """

    challenger_path: str | None = None
    champion_path: str | None = None
    rows_left_out: int = 0
    unknown_labels: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PromoteSpec(EvaluatedSpec, RowsSpec):
    """Two models and labelled rows that neither was trained on to the better of the two."""

    kind: ClassVar[str] = "promote"
    result_fields: ClassVar[tuple[str, ...]] = ("champion_path", "promoted", "reason", "metrics", "rows")
    main_artifact: ClassVar[str] = "champion_path"
    details_class: ClassVar[type[JobDetails]] = PromoteDetails
    added_fields: ClassVar[tuple[str, ...]] = (*EvaluatedSpec.added_fields, *RowsSpec.added_fields)

    champion: str = spec_field(text, "The name of the champion.")
    model_path: str = spec_field(uri, "The challenger: the model_path a train task returned.")
    period: str = spec_field(text, "The challenger's period of data.")
    champion_path: str | None = spec_field(optional(uri), "The present champion's model_path; none if there is none.", None)
    champion_period: str | None = spec_field(optional(text), "The present champion's period of data.", None)
    margin: float = spec_field(number(0.0), "By how much more than this the challenger must be better.", 0.0)
    threshold: float | None = spec_field(optional(number()), "The metric that a challenger must reach in any case.", None)
    allow_older: bool = spec_field(boolean, "Whether a challenger may replace a champion of a newer period.", False)

    def decide(self, challenger: float, champion: float | None, *, larger_is_better: bool) -> tuple[bool, str]:
        """Return whether the challenger becomes the champion, and why.

        Args:
            challenger: the challenger's metric.
            champion: the present champion's metric; None if there is no champion.
            larger_is_better: whether a larger metric is better.
        """
        sign = 1 if larger_is_better else -1
        comparison = f"{self.metric_name} {challenger:.6g}"
        if self.threshold is not None and sign * challenger < sign * self.threshold:
            return False, f"{comparison} does not reach the threshold {self.threshold:g}"
        if champion is None:
            return True, f"{comparison}, and there was no champion"
        comparison = f"{comparison} against the champion's {champion:.6g}"
        if self.champion_period and is_older(self.period, self.champion_period) and not self.allow_older:
            return False, f"{comparison}, which is of a newer period ({self.champion_period}, not {self.period}) and so stays"
        if not sign * (challenger - champion) > self.margin:
            return False, f"{comparison} is not better by more than {self.margin:g}"
        return True, f"{comparison} is better by more than {self.margin:g}"
