"""How the learning rate moves in a fit: its schedule by step, and its reduction where the loss stands still."""

from __future__ import annotations

from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError, unknown_name
from airflow_provider_distkeras.contract.fields import (
    Field,
    boolean,
    check_names,
    integer,
    json_value,
    list_of,
    mapping_of,
    number,
    optional,
    text,
)

_RATE = {"initial_learning_rate": Field(optional(number(0.0)), None, "The rate at step 0; null: learning_rate.")}
_STEPS = {"decay_steps": Field(number(positive=True), None, "Steps of a decay.")}
_LEFT = {"alpha": Field(number(0.0), 0.0, "The share of the rate that is left at the end.")}
_WARMUP = {"warmup_share": Field(number(0.0, 1.0), 0.1, "The share of the fit's steps in which the rate rises from 0.")}
_EXPONENT = {
    **_RATE,
    **_STEPS,
    "decay_rate": Field(number(positive=True), None, "The decay's rate."),
    "staircase": Field(boolean, False, "Whether the rate only changes every decay_steps."),
}

#: Schedules over all of a fit's steps, however many they are; a name alone takes the defaults.
WHOLE_FIT: dict[str, dict[str, Field]] = {
    "cosine": _LEFT,
    "warmup": _WARMUP,
    "warmup_cosine": {**_WARMUP, **_LEFT},
}
#: Keras' own schedules, with their arguments.
KERAS_SCHEDULES: dict[str, dict[str, Field]] = {
    "ExponentialDecay": _EXPONENT,
    "InverseTimeDecay": _EXPONENT,
    "PiecewiseConstantDecay": {
        "boundaries": Field(list_of(number(0.0), minimum=1), None, "The last steps of each rate but the last."),
        "values": Field(list_of(number(0.0), minimum=2), None, "The rates."),
    },
    "PolynomialDecay": {
        **_RATE,
        **_STEPS,
        "end_learning_rate": Field(number(0.0), 1e-4, "The rate at the end."),
        "power": Field(number(positive=True), 1.0, "The polynomial's power."),
        "cycle": Field(boolean, False, "Whether to begin again after decay_steps."),
    },
    "CosineDecay": {
        **_RATE,
        **_STEPS,
        **_LEFT,
        "warmup_target": Field(optional(number(0.0)), None, "The rate after the warm-up."),
        "warmup_steps": Field(integer(0), 0, "Steps of the warm-up."),
    },
    "CosineDecayRestarts": {
        **_RATE,
        "first_decay_steps": Field(number(positive=True), None, "Steps of the first decay."),
        "t_mul": Field(number(1.0), 2.0, "The factor of the steps from one decay to the next."),
        "m_mul": Field(number(positive=True), 1.0, "The factor of the rate from one decay to the next."),
        **_LEFT,
    },
}
_SCHEDULES = {**WHOLE_FIT, **KERAS_SCHEDULES}

#: When, and how much, to lower the learning rate of a loss that stands still.
REDUCE_ON_PLATEAU: dict[str, Field] = {
    "factor": Field(number(0.0, 1.0, positive=True), 0.5, "What the rate is multiplied by."),
    "patience": Field(integer(1), 2, "Epochs without a better loss after which it is."),
    "min_delta": Field(number(0.0), 0.0, "How much lower a loss must be to count as better."),
    "min_lr": Field(number(0.0), 0.0, "The least learning rate."),
}


def schedule(name: str, value: Any) -> str | dict[str, Any]:
    """Check for a schedule: a name, a name with arguments, or what `keras.optimizers.schedules.serialize` returns.

    A schedule of one's own stays as serialized; one of Keras' becomes {'name': ..., its arguments}.
    """
    if isinstance(value, str):
        if value not in WHOLE_FIT:
            if value in KERAS_SCHEDULES:
                raise SpecError(f"{name}: {value} needs arguments, such as {{'name': {value!r}, ...}}.")
            raise SpecError(f"{name}: {unknown_name('schedule', value, _SCHEDULES)}")
        return value
    config = mapping_of(json_value)(name, value)
    if "class_name" in config:
        if config.get("registered_name") not in (None, config["class_name"]):
            return config
        arguments = mapping_of(json_value)(f"{name}['config']", config.get("config"))
        config = {**{key: item for key, item in arguments.items() if item is not None}, "name": config["class_name"]}
    kind = text(f"{name}['name']", config.get("name"))
    if kind not in _SCHEDULES:
        raise SpecError(f"{name}: {unknown_name('schedule', kind, _SCHEDULES)}")
    checked = {"name": kind, **_arguments(name, _SCHEDULES[kind], {key: item for key, item in config.items() if key != "name"})}
    if kind == "PiecewiseConstantDecay" and len(checked["values"]) != len(checked["boundaries"]) + 1:
        raise SpecError(f"{name}: expected one value more than boundaries, received {config!r}.")
    return checked


def reduce_on_plateau(name: str, value: Any) -> dict[str, Any]:
    """Check for the arguments of REDUCE_ON_PLATEAU, of which any may be left out."""
    return _arguments(name, REDUCE_ON_PLATEAU, mapping_of(json_value)(name, value))


def _arguments(name: str, fields: dict[str, Field], given: dict[str, Any]) -> dict[str, Any]:
    """Return the given arguments, checked. Raise SpecError, too, for one that is missing and has no default."""
    check_names(f"argument in {name}", given, fields)
    checked = {key: field.cast(f"{name}[{key!r}]", given.get(key, field.default)) for key, field in fields.items()}
    return {key: value for key, value in checked.items() if key in given}


def defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Return a checked schedule of WHOLE_FIT or KERAS_SCHEDULES with all its arguments."""
    return {**{key: field.default for key, field in _SCHEDULES[config["name"]].items()}, **config}


def highest_rate(config: dict[str, Any]) -> float:
    """Return the highest rate that a schedule with all its arguments names; 0 if it takes `learning_rate`."""
    if config["name"] in WHOLE_FIT or config.get("initial_learning_rate", 0.0) is None:
        return 0.0
    ends = [config.get(name) or 0.0 for name in ("initial_learning_rate", "warmup_target", "end_learning_rate")]
    return float(max(config.get("values") or ends))


def sets_rate(config: str | dict[str, Any] | None) -> bool:
    """Return whether a checked schedule has rates of its own, so that `learning_rate` is of no account."""
    if config is None or isinstance(config, str) or config.get("name") in WHOLE_FIT:
        return False
    return "name" not in config or config["name"] == "PiecewiseConstantDecay" or config.get("initial_learning_rate") is not None


def check_rates(hyperparameters: dict[str, Any]) -> None:
    """Check that one param decides the learning rate.

    Args:
        hyperparameters: those that are set, without defaults.

    Raises:
        SpecError: two params decide it.
    """
    config = hyperparameters.get("lr_schedule")
    if config is None:
        return
    if hyperparameters.get("lr_decay"):
        raise SpecError("lr_decay: lr_schedule decides how the learning rate falls; set one of them.")
    if sets_rate(config) and hyperparameters.get("learning_rate") is not None:
        raise SpecError(
            f"learning_rate: lr_schedule has rates of its own, {config!r}. Leave learning_rate out, or set a schedule without "
            "them: by name, or without initial_learning_rate."
        )
