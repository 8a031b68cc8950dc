"""A trial of a search: its values, and what its fits came to fold by fold."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from airflow_provider_distkeras.ml.tuning.samplers import Params


@dataclass(frozen=True)
class FoldFit:
    """One fit of a search: a cell, by its number, on a fold, by its number."""

    trial: int
    fold: int


@dataclass(frozen=True)
class FoldResult:
    """What a trial came to.

    Attributes:
        metrics: by name, the one that decides first; empty if it failed.
        error: why it failed, such as "DivergenceError: the loss is nan".
        seconds: it took.
        history: per epoch, what `TrainingSummary` says.
        sample: some rows it was measured on: the label, then what the network says, for classes their probabilities.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    seconds: float = 0.0
    history: dict[str, list[float]] = field(default_factory=dict)
    sample: list[list[float]] = field(default_factory=list)


@dataclass
class Trial:
    """A point of the search: its values, and what they came to on every fold that has ended."""

    params: Params
    results: dict[int, FoldResult] = field(default_factory=dict)

    @property
    def error(self) -> str | None:
        """Why it failed, if it did."""
        return next((outcome.error for outcome in self.results.values() if outcome.error is not None), None)

    def values(self, metric: str) -> list[float | None]:
        """A metric's values by fold; None where a fit failed, or the metric is not a number."""
        said = [outcome.metrics.get(metric, math.nan) for _, outcome in sorted(self.results.items())]
        return [value if math.isfinite(value) else None for value in said]

    def mean(self, metric: str) -> float | None:
        """A metric's mean over the folds; None if a fit failed."""
        values = [value for value in self.values(metric) if value is not None]
        return float(np.mean(values)) if values and len(values) == len(self.results) else None

    def std(self, metric: str) -> float | None:
        """Its standard deviation over the folds; None if a fit failed."""
        return None if self.mean(metric) is None else float(np.std([value for value in self.values(metric) if value is not None]))

    def to_dict(self) -> dict[str, Any]:
        """The cell as plain JSON values."""
        names = dict.fromkeys(name for outcome in self.results.values() for name in outcome.metrics)
        return {
            "params": self.params,
            "metrics": {name: {"mean": self.mean(name), "std": self.std(name), "folds": self.values(name)} for name in names},
            "seconds": [round(outcome.seconds, 3) for _, outcome in sorted(self.results.items())],
            "error": self.error,
        }
