"""All params with their checks, defaults and docs: trainers, their params, the network's hyper-parameters, losses, evaluators.

Specs are checked against them before Spark starts; trainers and Spark ML Params are made from them.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import (
    Field,
    boolean,
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
BACKENDS = ("tensorflow", "jax", "torch")
DTYPES = ("float32", "mixed_bfloat16")
SETTINGS = ("keras", "raw")
ENCRYPTIONS = ("none", "tls")
CALLBACKS_ON = ("chief", "every")
MISSING = ("fail", "mean", "median", "indicator", "drop")
#: The parts of a column of times, each a feature.
CALENDAR_PARTS = ("year", "quarter", "month", "week", "yearday", "day", "weekday", "hour", "minute", "second")
UNSEEN = ("ignore", "quarantine")
BAD_LINES = ("fail", "quarantine", "drop")
SCALINGS = ("standard", "minmax")
SEARCHES = ("grid", "random", "optuna")
IF_EXISTS = ("overwrite", "reuse", "fail")
#: Per format of input, how its files' names end; files of any other name are CSV.
INPUT_FORMATS: dict[str, tuple[str, ...]] = {"csv": (), "parquet": (".parquet", ".parq")}
OUTPUT_FORMATS = ("parquet", "csv", "json")

#: Per score of a row, the column it is written to.
SCORES = {
    "prediction": "prediction",
    "probability": "probability",
    "label": "prediction_label",
    "raw": "rawPrediction",
    "std": "prediction_std",
}

CLASSIFICATION_LOSSES = ("binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy")
REGRESSION_LOSSES = (
    "mse", "mean_squared_error", "mae", "mean_absolute_error", "msle", "mean_squared_logarithmic_error",
    "mape", "mean_absolute_percentage_error", "huber", "log_cosh", "poisson",
)  # fmt: skip
LOSSES = (*REGRESSION_LOSSES, *CLASSIFICATION_LOSSES)

#: Per evaluator, its metrics (the first is the default); those that Spark ML's evaluators have, as they name them.
EVALUATORS = {
    "regression": ("r2", "rmse", "mse", "mae", "var", "mape"),
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


def _loss(name: str, value: Any) -> str | list[str]:
    one = choice("loss", LOSSES)
    return list_of(one, minimum=1)(name, value) if isinstance(value, (list, tuple)) else one(name, value)


def _class_weight(name: str, value: Any) -> str | dict[str, float]:
    if value == "balanced":
        return "balanced"
    if isinstance(value, dict):
        value = {str(key): weight for key, weight in value.items()}
    weights = mapping_of(number(0.0))(name, value)
    for key in weights:
        if not key.removesuffix(".0").isdigit():
            raise SpecError(f"{name}: expected class numbers 0, 1, ... as keys, received {key!r}.")
    return {key.replace(".0", ""): weight for key, weight in weights.items()}


def _import_path(name: str, value: Any) -> str:
    module, _, attribute = text(name, value).partition(":")
    if not module or not attribute:
        raise SpecError(f"{name}: expected 'package.module:name', received {value!r}.")
    return str(value)


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
    "input_shape": Field(
        list_of(integer(1), minimum=1),
        None,
        "Shape that a row's features are given in, such as [28, 28, 1]; handed to `network`.",
    ),
    "custom_objects": Field(list_of(text), None, "Modules whose import registers the network's custom layers and functions."),
    "dtype": Field(
        choice("dtype", DTYPES), "float32", "float32, or mixed_bfloat16 to compute in bfloat16; weights stay float32."
    ),
    "optimizer": Field(
        _optimizer, "sgd", "Any Keras optimizer by name, or {'name': ..., its arguments}; learning_rate is set apart."
    ),
    "learning_rate": Field(number(positive=True), 1e-2, "Learning rate at step 0."),
    "lr_decay": Field(number(0.0), 0.0, "Decay of the learning rate: learning_rate / (1 + lr_decay * step)."),
    "loss": Field(
        _loss, "mse", "Keras loss by name, or a list of them, one per output; a cross entropy makes the model a classifier."
    ),
    "loss_weights": Field(list_of(number(0.0), minimum=1), None, "What each output's loss counts, in the order of the outputs."),
    "metrics": Field(
        list_of(text), None, "Keras metrics by name, of the first output: measured after every epoch, saved with the network."
    ),
}

#: The params of a fit; each is a Param of the Estimator.
FITTING: dict[str, Field] = {
    "settings": Field(
        choice("settings", SETTINGS),
        "keras",
        "keras: batch_size, learning_rate and lr_decay mean what they mean in keras.Model.fit, and the workers' are derived from "
        "them; raw: they are every worker's, as in the algorithm's paper.",
    ),
    "class_weight": Field(_class_weight, None, "Weight per class number, such as {'0': 1, '1': 5}, or 'balanced'."),
    "validation_split": Field(number(0.0, 1.0), 0.0, "Share of the rows to validate on after every epoch, in [0, 1)."),
    "patience": Field(
        optional(integer(1)),
        None,
        "Epochs without a better loss (on validation rows, if there are any) after which training stops; "
        "the weights of the best epoch count.",
    ),
    "min_delta": Field(number(0.0), 0.0, "How much lower a loss must be to count as better."),
    "callbacks": Field(
        list_of(_import_path), None, "Keras callbacks as 'package.module:name', called per epoch with the server's weights."
    ),
    "callbacks_on": Field(choice("place", CALLBACKS_ON), "chief", "Where callbacks run: on the chief, or on every worker."),
    "cache_mb": Field(
        number(positive=True), 1024.0, "MB of its rows that a worker holds in memory; more go to Spark's local disk."
    ),
    "force_repartition": Field(
        boolean,
        False,
        "Whether rows are dealt out evenly even if they lie in num_workers partitions already; "
        "otherwise those are trained where they lie.",
    ),
    "timeout": Field(number(positive=True), 1800.0, "Seconds to wait for a worker, or for the parameter server, at most."),
    "encryption": Field(
        choice("encryption", ENCRYPTIONS), "none", "tls encrypts the connections of workers and parameter server."
    ),
    "server_shards": Field(optional(integer(1)), None, "Parameter servers that share the weights; by default by their size."),
    "snapshot_path": Field(optional(text), None, "A folder for checkpoints, from which a fit that was cut off is resumed."),
    "snapshot_seconds": Field(number(positive=True), 60.0, "Seconds between two checkpoints."),
    "progress_path": Field(optional(text), None, "A file on the driver that gets a JSON line every few seconds of training."),
}

_COMMON: dict[str, Field] = {
    "batch_size": Field(integer(1), 32, "Rows per training step of all workers together; of each, if settings is raw."),
    "num_epoch": Field(integer(1), 1, "Passes over the data."),
}
_DISTRIBUTED: dict[str, Field] = {**_COMMON, "num_workers": Field(integer(1), 2, "Spark tasks that train at the same time.")}


def _window(steps: int) -> dict[str, Field]:
    return {
        "communication_window": Field(
            integer(1), steps, "Steps a worker takes between two commits; if it is not set, 1 unless settings is raw."
        )
    }


_TURNS: dict[str, Field] = {
    "deterministic": Field(
        boolean, False, "Whether workers commit in turns, so that a seed repeats a run bit by bit; all must run at the same time."
    )
}
_ELASTIC: dict[str, Field] = {
    "rho": Field(
        optional(number(positive=True)),
        None,
        "Exploration: a commit moves the weights of worker and server towards each other by rho * learning_rate of their "
        "distance; "
        "by default by 0.9 / num_workers.",
    )
}

#: Per trainer, its parameters, with the names and defaults that dist-keras users know.
TRAINERS: dict[str, dict[str, Field]] = {
    "SingleTrainer": _COMMON,
    "AveragingTrainer": _DISTRIBUTED,
    "EnsembleTrainer": {**_COMMON, "num_ensembles": Field(integer(1), 2, "Networks, each trained on its own part of the rows.")},
    "DOWNPOUR": {**_DISTRIBUTED, **_window(5), **_TURNS},
    "ADAG": {**_DISTRIBUTED, **_window(12), **_TURNS},
    "AEASGD": {**_DISTRIBUTED, **_window(32), **_TURNS, **_ELASTIC},
    "EAMSGD": {
        **_DISTRIBUTED, **_window(32), **_TURNS, **_ELASTIC,
        "momentum": Field(number(0.0, 1.0), 0.9, "Nesterov's momentum of the workers' SGD, in [0, 1)."),
    },
    "DynSGD": {**_DISTRIBUTED, **_window(5), **_TURNS},
    "Experimental": {**_DISTRIBUTED, **_window(5), **_TURNS},
    "LocalSGD": {
        **_DISTRIBUTED, **_window(8),
        "outer_learning_rate": Field(
            number(positive=True), 1.0, "Share of the way to the workers' mean that the server's weights go."
        ),
        "outer_momentum": Field(number(0.0, 1.0), 0.0, "Nesterov's momentum of the server's weights, in [0, 1)."),
    },
}  # fmt: skip

TRAINER_PARAMETERS: dict[str, Field] = {name: field for fields in TRAINERS.values() for name, field in fields.items()}


def trainer_fields(trainer: str) -> dict[str, Field]:
    """Return the params of a trainer by name. Raises SpecError, with the nearest name, if there is no such trainer."""
    check_names("trainer", [trainer], TRAINERS)
    return TRAINERS[trainer]


def check_network(hyperparameters: dict[str, Any], labels: int = 1) -> None:
    """Check hyper-parameters against each other: their lengths, the outputs, and that there is one network.

    Args:
        hyperparameters: values of HYPERPARAMETERS.
        labels: the number of labels of a row.

    Raises:
        SpecError: they do not fit together.
    """
    dims, network = hyperparameters.get("layer_dims"), hyperparameters.get("network")
    if dims is None and network is None:
        raise SpecError("No network: set layer_dims (such as [null, 64, 32, 1]) or network.")
    if dims is not None and network is not None:
        raise SpecError(f"Two networks: layer_dims={dims!r} and network={network!r}. Set one of them.")
    if dims is None:
        return
    if hyperparameters.get("input_shape") is not None:
        raise SpecError("input_shape is for a network of your own; layer_dims takes a row's features as they are.")
    per_output = losses(hyperparameters)
    if len(per_output) > 1:
        raise SpecError(f"loss: layer_dims makes one output, received {len(per_output)} losses: {per_output!r}.")
    check_outputs(per_output[0], dims[-1], labels)
    hidden = len(dims) - 2
    for name in ("activations", "initializers"):
        values = hyperparameters.get(name)
        if values is not None and len(values) not in (hidden, hidden + 1):
            raise SpecError(
                f"{name}: expected {hidden} values, one per hidden layer of {dims!r} (or {hidden + 1}: the output's too), "
                f"received {len(values)}: {values!r}."
            )


def losses(hyperparameters: dict[str, Any]) -> list[str]:
    """Return the losses, one per output."""
    loss = hyperparameters.get("loss") or HYPERPARAMETERS["loss"].default
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
