"""Every name a user may say: trainers, their parameters, the network's hyper-parameters, losses, evaluators.

The one place they are declared: specs are validated against it before Spark starts; trainers and Spark ML Params come from it.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import (
    Field,
    check_names,
    choice,
    integer,
    json_value,
    list_of,
    mapping_of,
    number,
    optional,
    text,
)

REGULARIZERS = ("l1", "l2", "l1_l2")
BACKENDS = ("tensorflow", "jax")
MISSING = ("fail", "mean", "drop")
SCALINGS = ("standard", "minmax")
IF_EXISTS = ("overwrite", "reuse", "fail")
OUTPUT_FORMATS = ("parquet", "csv")

CLASSIFICATION_LOSSES = ("binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy")
REGRESSION_LOSSES = (
    "mse", "mean_squared_error", "mae", "mean_absolute_error", "msle", "mean_squared_logarithmic_error",
    "mape", "mean_absolute_percentage_error", "huber", "log_cosh", "poisson",
)  # fmt: skip
LOSSES = (*REGRESSION_LOSSES, *CLASSIFICATION_LOSSES)

#: Per evaluator, its metrics (the first is the default), as Spark ML's evaluators name them.
EVALUATORS = {
    "regression": ("r2", "rmse", "mse", "mae", "var"),
    "binary": ("areaUnderROC", "areaUnderPR"),
    "multiclass": ("f1", "accuracy", "weightedPrecision", "weightedRecall", "logLoss", "hammingLoss"),
}


def _layer_dims(name: str, value: Any) -> list[int | None]:
    dims = list_of(optional(integer(1)), minimum=2)(name, value)
    if None in dims[1:]:
        raise SpecError(f"{name}: only the first of layer_dims (the number of features) may be null, received {value!r}.")
    return dims


def _optimizer(name: str, value: Any) -> str | dict[str, Any]:
    if isinstance(value, str):
        return text(name, value)
    config = mapping_of(json_value)(name, value)
    text(f"{name}['name']", config.get("name"))
    for managed, param in (("learning_rate", "learning_rate"), ("decay", "lr_decay")):
        if managed in config:
            raise SpecError(f"{name}: set {param} as its own hyper-parameter, not inside the optimizer (received {value!r}).")
    return config


#: The network's hyper-parameters and how its weights move; each is a Param of the Estimator.
HYPERPARAMETERS: dict[str, Field] = {
    "layer_dims": Field(
        _layer_dims, None, "Units per layer: the features (null: taken from the data), the hidden layers, the outputs."
    ),
    "activations": Field(list_of(text), None, "Activation per hidden layer (default relu); one more sets the output's too."),
    "initializers": Field(
        list_of(text), None, "Kernel initializer per hidden layer (default glorot_uniform); one more sets the output's too."
    ),
    "regularizer": Field(
        optional(choice("regularizer", REGULARIZERS)), None, "Kernel regularizer of the hidden layers, or null."
    ),
    "reg_strength": Field(number(0.0), 1e-2, "Regularization strength (alpha) of the first hidden layer."),
    "reg_decay": Field(number(0.0), 1.0, "Factor of alpha from each hidden layer to the next (alpha *= reg_decay)."),
    "dropout_rate": Field(number(0.0, 1.0), 0.0, "Share of units dropped after each hidden layer, in [0, 1)."),
    "network": Field(
        optional(text), None, "A network of your own instead of layer_dims: Keras JSON config, or 'package.module:function'."
    ),
    "optimizer": Field(
        _optimizer, "sgd", "Any Keras optimizer by name, or {'name': ..., its arguments}; learning_rate is set apart."
    ),
    "learning_rate": Field(number(positive=True), 1e-2, "Learning rate at step 0."),
    "lr_decay": Field(number(0.0), 0.0, "Decay of the learning rate: learning_rate / (1 + lr_decay * step)."),
    "loss": Field(choice("loss", LOSSES), "mse", "Keras loss by name; a cross entropy makes the model a classifier."),
    "metrics": Field(list_of(text), None, "Keras metrics by name, kept in the saved network."),
}

_COMMON: dict[str, Field] = {
    "batch_size": Field(integer(1), 32, "Rows per training step and worker."),
    "num_epoch": Field(integer(1), 1, "Passes over the data."),
}
_DISTRIBUTED: dict[str, Field] = {**_COMMON, "num_workers": Field(integer(1), 2, "Spark tasks that train at the same time.")}

#: Per trainer, its parameters, with the names and defaults that dist-keras users know.
TRAINERS: dict[str, dict[str, Field]] = {
    "SingleTrainer": _COMMON,
    "ADAG": {**_DISTRIBUTED, "communication_window": Field(integer(1), 12, "Steps a worker takes between two commits.")},
}

TRAINER_PARAMETERS: dict[str, Field] = {name: field for fields in TRAINERS.values() for name, field in fields.items()}


def trainer_fields(trainer: str) -> dict[str, Field]:
    """The parameters of a trainer by name; SpecError, with the nearest name, for one that does not exist."""
    check_names("trainer", [trainer], TRAINERS)
    return TRAINERS[trainer]


def check_network(hyperparameters: dict[str, Any]) -> None:
    """Check what only several hyper-parameters together can say: lengths, outputs, and one way to give the network."""
    dims, network = hyperparameters.get("layer_dims"), hyperparameters.get("network")
    if dims is None and network is None:
        raise SpecError("No network: set layer_dims (such as [null, 64, 32, 1]) or network.")
    if dims is not None and network is not None:
        raise SpecError(f"Two networks: layer_dims={dims!r} and network={network!r}. Set one of them.")
    if dims is None:
        return
    check_outputs(hyperparameters.get("loss") or HYPERPARAMETERS["loss"].default, dims[-1])
    hidden = len(dims) - 2
    for name in ("activations", "initializers"):
        values = hyperparameters.get(name)
        if values is not None and len(values) not in (hidden, hidden + 1):
            raise SpecError(
                f"{name}: expected {hidden} values, one per hidden layer of {dims!r} (or {hidden + 1}: the output's too), "
                f"received {len(values)}: {values!r}."
            )


def check_outputs(loss: str, units: int) -> None:
    """Check that a network with this many outputs can be trained with a loss."""
    if loss == "binary_crossentropy" and units != 1:
        raise SpecError(f"binary_crossentropy needs 1 output, the network has {units}; for classes use categorical_crossentropy.")
    if "categorical" in loss and units < 2:
        raise SpecError(f"{loss} needs an output per class, the network has {units}; for two classes use binary_crossentropy.")
    if not is_classification(loss) and units != 1:
        raise SpecError(f"A regression on one label needs 1 output, the network has {units} (loss {loss}).")


def check_evaluator(evaluator: str, hyperparameters: dict[str, Any]) -> None:
    """Check that an evaluator can judge what a network trained with these hyper-parameters predicts."""
    loss = hyperparameters.get("loss") or HYPERPARAMETERS["loss"].default
    if is_classification(loss) == (evaluator == "regression"):
        fitting = ("binary", "multiclass") if is_classification(loss) else ("regression",)
        raise SpecError(f"evaluator: the loss {loss!r} needs {' or '.join(map(repr, fitting))}, received {evaluator!r}.")
    dims = hyperparameters.get("layer_dims")
    if evaluator == "binary" and dims is not None and dims[-1] > 2:
        raise SpecError(f"evaluator: 'binary' judges two classes, the network has {dims[-1]} outputs; use 'multiclass'.")


def is_classification(loss: str) -> bool:
    """Whether a model trained with this loss predicts classes."""
    return loss in CLASSIFICATION_LOSSES
