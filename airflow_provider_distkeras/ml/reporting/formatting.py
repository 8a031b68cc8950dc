"""Trials as text: parameter values and metrics, as the report, MLflow and TensorBoard show them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from airflow_provider_distkeras.ml.tuning.trial import Trial


def varied_params(trials: Sequence[Trial]) -> list[str]:
    """Return the names of the parameters whose values differ between trials."""
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    return [name for name in names if any(trial.params.get(name) != trials[0].params.get(name) for trial in trials)]


def format_value(value: Any) -> str:
    """Return a parameter's value as text: numbers with four digits, texts as they are, anything else as JSON."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def format_spread(trial: Trial, metric: str) -> str:
    """Return a metric's mean and standard deviation over several folds, such as "0.9000 ± 0.0100"; "-" if a fit failed."""
    mean, std = trial.mean(metric), trial.std(metric)
    if mean is None:
        return "-"
    return f"{mean:.4f} ± {std:.4f}" if len(trial.results) > 1 else f"{mean:.4f}"
