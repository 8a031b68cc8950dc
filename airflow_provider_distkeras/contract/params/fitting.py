"""The params of a fit, whatever the trainer and the network."""

from __future__ import annotations

from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import (
    Check,
    Field,
    boolean,
    choice,
    import_path,
    integer,
    list_of,
    mapping_of,
    number,
    optional,
    text,
)

SETTINGS = ("keras", "raw")
ENCRYPTIONS = ("none", "tls")
CALLBACKS_ON = ("chief", "every")


def _per_class(check: Check, *words: str) -> Check:
    """Return the check of one of some words, or of a dict from class numbers to factors, each of which `check` takes."""

    def check_classes(name: str, value: Any) -> str | dict[str, float]:
        if isinstance(value, str):
            return str(choice("value", words)(name, value))
        if isinstance(value, dict):
            value = {str(key): factor for key, factor in value.items()}
        factors = mapping_of(check)(name, value)
        for key in factors:
            if not key.removesuffix(".0").isdigit():
                raise SpecError(f"{name}: expected class numbers 0, 1, ... as keys, received {key!r}.")
        return {key.removesuffix(".0"): factor for key, factor in factors.items()}

    return check_classes


def _times(name: str, value: Any) -> float:
    times = number(0.0)(name, value)
    if not times:
        raise SpecError(
            f"{name}: expected a number above 0, for no class may vanish, received 0. Set a small share, such as 0.01, or leave "
            "the rows of that class out of the dataset."
        )
    return float(times)


#: The params of a fit; each is a Param of the Estimator.
FITTING: dict[str, Field] = {
    "settings": Field(
        choice("settings", SETTINGS),
        "keras",
        "keras: batch_size and the learning rate mean what they mean in keras.Model.fit, and the workers' are derived from "
        "them; raw: they are every worker's, as in the algorithm's paper.",
    ),
    "class_weight": Field(
        _per_class(number(0.0), "balanced"), None, "Weight per class number, such as {'0': 1, '1': 5}, or 'balanced'."
    ),
    "class_sampling": Field(
        _per_class(_times, "over", "under"),
        None,
        "How many times an epoch has a training row per class number, such as {'0': 0.25, '1': 3}, 1 for classes left out; "
        "'over' repeats all classes up to the most frequent one, 'under' cuts them to the rarest.",
    ),
    "validation_split": Field(number(0.0, 1.0), 0.0, "Share of the rows to validate on after every epoch, in [0, 1)."),
    "patience": Field(
        optional(integer(1)),
        None,
        "Epochs without a better loss (on validation rows, if there are any) after which training stops; "
        "the weights of the best epoch count.",
    ),
    "min_delta": Field(number(0.0), 0.0, "How much lower a loss must be to count as better."),
    "callbacks": Field(
        list_of(import_path), None, "Keras callbacks as 'package.module:name', called per epoch with the server's weights."
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
