"""The trainers a user picks by name: which update rule they follow, and the parameters they take.

DistKeras(trainers.ADAG, {"batch_size": 256, "communication_window": 3, "num_epoch": 10, "num_workers": 8})
"""

from __future__ import annotations

from typing import Any, ClassVar

from airflow_provider_distkeras.contract.errors import unknown_name
from airflow_provider_distkeras.contract.fields import check_names
from airflow_provider_distkeras.contract.vocabulary import trainer_fields
from airflow_provider_distkeras.training import algorithms


class Trainer:
    """Base of the trainers: a name, an update rule, and checked parameters.

    Args:
        **parameters: the trainer's parameters; those left out take its defaults.

    Raises:
        SpecError: a parameter the trainer does not have, or a value of a wrong type or range.
    """

    rule: ClassVar[type[algorithms.UpdateRule]]

    def __init__(self, **parameters: Any) -> None:
        fields = trainer_fields(type(self).__name__)
        check_names(f"parameter of {type(self).__name__}", parameters, fields)
        self.parameters = {name: field.cast(name, parameters.get(name, field.default)) for name, field in fields.items()}

    @property
    def batch_size(self) -> int:
        """Rows per step."""
        return int(self.parameters["batch_size"])

    @property
    def num_epoch(self) -> int:
        """Passes over the data."""
        return int(self.parameters["num_epoch"])

    @property
    def num_workers(self) -> int:
        """Spark tasks that train."""
        return int(self.parameters.get("num_workers", 1))

    @property
    def communication_window(self) -> int:
        """Steps between two commits."""
        return int(self.parameters.get("communication_window", _SEQUENTIAL_WINDOW))


#: Steps per compiled window of a trainer that has nobody to talk to: long enough that its commits cost nothing.
_SEQUENTIAL_WINDOW = 32


class SingleTrainer(Trainer):
    """Sequential training in one task: the reference the distributed trainers are held to."""

    rule = algorithms.Sequential


class ADAG(Trainer):
    """Asynchronous training with accumulated gradient normalization (see `algorithms.ADAG`)."""

    rule = algorithms.ADAG


_TRAINERS: dict[str, type[Trainer]] = {trainer.__name__: trainer for trainer in (SingleTrainer, ADAG)}


def get(name: str) -> type[Trainer]:
    """The trainer of a name. Raises SpecError, with the nearest name, if there is none."""
    if name not in _TRAINERS:
        raise unknown_name("trainer", name, _TRAINERS)
    return _TRAINERS[name]
