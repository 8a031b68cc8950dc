"""A trial of a study: the values of its params, and the results of its fits, one per fold."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: The values of a trial's hyper-parameters and trainer parameters, by name.
TrialParams = dict[str, Any]


@dataclass(frozen=True)
class FoldFit:
    """One fit of a study.

    Attributes:
        trial: the number of the trial in the study.
        fold: the number of the fold.
    """

    trial: int
    fold: int


@dataclass(frozen=True)
class FoldResult:
    """The result of one fit.

    Attributes:
        metrics: by name, the study's metric first; empty if the fit failed.
        error: the error it failed with, such as "DivergenceError: the loss is nan"; None if it did not fail.
        seconds: the time it took.
        history: values per epoch, as in `TrainingSummary.history`.
        sample: some held-out rows: the label, then the prediction, for classes their probabilities.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    seconds: float = 0.0
    history: dict[str, list[float]] = field(default_factory=dict)
    sample: list[list[float]] = field(default_factory=list)

    @classmethod
    def failure(cls, error: Exception, seconds: float) -> FoldResult:
        """Return the result of a fit that raised an error: its type and the first line of its message."""
        message = next((line.strip() for line in str(error).splitlines() if line.strip()), "it says nothing more")
        return cls(error=f"{type(error).__name__}: {message}", seconds=seconds)


@dataclass
class Trial:
    """A trial of a study.

    Attributes:
        params: the values it tries.
        results: the results of the fits that have ended, by fold.
    """

    params: TrialParams
    results: dict[int, FoldResult] = field(default_factory=dict)

    @property
    def error(self) -> str | None:
        """The error of the first fit that failed; None if none failed."""
        return next((result.error for result in self.results.values() if result.error is not None), None)

    def values(self, metric: str) -> list[float | None]:
        """Return a metric's values by fold; None where a fit failed, or the metric is not finite."""
        values = [result.metrics.get(metric, math.nan) for _, result in sorted(self.results.items())]
        return [value if math.isfinite(value) else None for value in values]

    def mean(self, metric: str) -> float | None:
        """Return a metric's mean over the folds; None if a fit failed."""
        values = [value for value in self.values(metric) if value is not None]
        return float(np.mean(values)) if values and len(values) == len(self.results) else None

    def std(self, metric: str) -> float | None:
        """Return a metric's standard deviation over the folds; None if a fit failed."""
        return None if self.mean(metric) is None else float(np.std([value for value in self.values(metric) if value is not None]))

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as plain JSON values."""
        names = dict.fromkeys(name for result in self.results.values() for name in result.metrics)
        return {
            "params": self.params,
            "metrics": {name: {"mean": self.mean(name), "std": self.std(name), "folds": self.values(name)} for name in names},
            "seconds": [round(result.seconds, 3) for _, result in sorted(self.results.items())],
            "error": self.error,
        }
