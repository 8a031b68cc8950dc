"""What a fit tells afterwards."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrainingSummary:
    """The account of one fit.

    Attributes:
        trainer: the trainer's name.
        rows: rows of the training data.
        rows_trained: rows trained, all epochs together: exactly rows * epochs.
        epochs: passes over the data.
        loss: mean training loss per epoch, without regularization.
        seconds: wall time of the fit.
        updates: updates the server applied; steps: optimizer steps in all of them.
        staleness: how many other updates an update was overtaken by, on average.
        workers: per worker, its rows, its seconds, the seconds it waited for the server, and its host.
    """

    trainer: str
    rows: int
    rows_trained: int
    epochs: int
    loss: list[float]
    seconds: float
    updates: int
    steps: int
    staleness: float
    workers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def samples_per_second(self) -> float:
        """Rows trained per second of wall time."""
        return self.rows_trained / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain JSON values."""
        return asdict(self)
