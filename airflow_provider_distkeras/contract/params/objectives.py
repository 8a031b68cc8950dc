"""What a network is trained for and judged by: losses, evaluators and their metrics, and which of them go together."""

from __future__ import annotations

from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError

CLASSIFICATION_LOSSES = ("binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy")
REGRESSION_LOSSES = (
    "mse", "mean_squared_error", "mae", "mean_absolute_error", "msle", "mean_squared_logarithmic_error",
    "mape", "mean_absolute_percentage_error", "huber", "log_cosh", "poisson",
)  # fmt: skip
LOSSES = (*REGRESSION_LOSSES, *CLASSIFICATION_LOSSES)
DEFAULT_LOSS = "mse"

#: Per evaluator, its metrics (the first is the default); those that Spark ML's evaluators have, as they name them.
EVALUATORS = {
    "regression": ("r2", "rmse", "mse", "mae", "var", "mape"),
    "binary": ("areaUnderROC", "areaUnderPR"),
    "multiclass": ("f1", "accuracy", "weightedPrecision", "weightedRecall", "logLoss", "hammingLoss"),
}


def losses(hyperparameters: dict[str, Any]) -> list[str]:
    """Return the losses, one per output."""
    loss = hyperparameters.get("loss") or DEFAULT_LOSS
    return [loss] if isinstance(loss, str) else loss


def check_outputs(loss: str, units: int, labels: int = 1) -> None:
    """Raise SpecError unless a network of `units` outputs can be trained with a loss on `labels` labels per row."""
    if labels > 1:
        if labels != units:
            raise SpecError(f"A row has {labels} labels, the network {units} outputs (loss {loss}); expected as many of each.")
        return
    if loss == "binary_crossentropy" and units != 1:
        raise SpecError(f"binary_crossentropy needs 1 output, the network has {units}; for classes use categorical_crossentropy.")
    if "categorical" in loss and units < 2:
        raise SpecError(f"{loss} needs an output per class, the network has {units}; for two classes use binary_crossentropy.")
    if not is_classification(loss) and units != 1:
        raise SpecError(f"A regression on one label needs 1 output, the network has {units} (loss {loss}).")


def check_evaluator(evaluator: str, hyperparameters: dict[str, Any]) -> None:
    """Raise SpecError unless an evaluator fits the predictions of a network with these hyper-parameters."""
    loss = losses(hyperparameters)[0]
    if is_classification(loss) == (evaluator == "regression"):
        valid = ("binary", "multiclass") if is_classification(loss) else ("regression",)
        raise SpecError(f"evaluator: the loss {loss!r} needs {' or '.join(map(repr, valid))}, received {evaluator!r}.")
    dims = hyperparameters.get("layer_dims")
    if evaluator == "binary" and dims is not None and dims[-1] > 2:
        raise SpecError(f"evaluator: 'binary' judges two classes, the network has {dims[-1]} outputs; use 'multiclass'.")


def is_classification(loss: str) -> bool:
    """Return whether a model that is trained with this loss predicts classes."""
    return loss in CLASSIFICATION_LOSSES
