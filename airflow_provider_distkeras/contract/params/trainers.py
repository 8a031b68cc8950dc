"""The trainers' params, and which trainer has which."""

from __future__ import annotations

from airflow_provider_distkeras.contract.fields import Field, boolean, check_names, integer, number, optional

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
