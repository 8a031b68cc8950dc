"""Evaluators and their metrics: their names, their arguments, and whether a larger value is better."""

from __future__ import annotations

from airflow_provider_distkeras.contract.errors import SpecError, unknown_name

DIRECTIONS = ("min", "max")

#: Per evaluator, its metrics and their directions; the first is the default. Spark ML's are named as there.
EVALUATORS: dict[str, dict[str, str]] = {
    "regression": {"r2": "max", "rmse": "min", "mse": "min", "mae": "min", "var": "max", "mape": "min", "wape": "min"},
    "binary": {
        "areaUnderROC": "max", "areaUnderPR": "max", "logLoss": "min", "accuracy": "max", "f1": "max", "precision": "max",
        "recall": "max", "precisionAtRecall": "max",
    },
    "multiclass": {
        "f1": "max", "accuracy": "max", "weightedPrecision": "max", "weightedRecall": "max", "logLoss": "min",
        "hammingLoss": "min",
    },
}  # fmt: skip
#: Metrics with an argument, such as "precisionAtRecall:0.8".
_WITH_ARGUMENT = ("precisionAtRecall",)


def check_metric(evaluator: str, metric: str) -> None:
    """Raise SpecError unless a metric is one of an evaluator's, with an argument if it takes one."""
    name, _, argument = metric.partition(":")
    if name not in EVALUATORS[evaluator]:
        raise unknown_name(f"metric of the {evaluator} evaluator", name, EVALUATORS[evaluator])
    if name in _WITH_ARGUMENT:
        try:
            valid = 0 < float(argument) <= 1
        except ValueError:
            valid = False
        if not valid:
            raise SpecError(
                f"metric: expected '{name}:' with a share above 0 and up to 1, such as '{name}:0.8', received {metric!r}."
            )
    elif argument:
        raise SpecError(f"metric: {name} takes no argument, received {metric!r}. Leave it out.")


def metric_parts(metric: str) -> tuple[str, float | None]:
    """Return the name of a metric, and its argument if it has one."""
    name, _, argument = metric.partition(":")
    return name, float(argument) if argument else None


def larger_is_better(evaluator: str, metric: str) -> bool:
    """Return whether a larger value of one of an evaluator's metrics is better."""
    return EVALUATORS[evaluator][metric_parts(metric)[0]] == "max"
