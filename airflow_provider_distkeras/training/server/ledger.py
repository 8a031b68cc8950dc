"""The books of a run: what has been trained, by whom, how well, and whether it is time to stop."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_provider_distkeras.training.server.protocol import Frame


@dataclass
class WorkerAccount:
    """What the server knows of one worker.

    Attributes:
        attempt: the newest attempt of its task.
        sequence: commits it has made.
        rows: its rows; commits: what an epoch of them makes; digest: of its rows, to know them again.
        pulled_at: the server's count of updates when the worker last got the center.
        left: whether it has done all it had to do.
    """

    attempt: int = -1
    sequence: int = 0
    rows: int = 0
    commits: int = 0
    digest: int | None = None
    pulled_at: int = 0
    left: bool = False


@dataclass
class Epoch:
    """One pass over the data, all workers together.

    Attributes:
        rows, loss: rows trained, and the sum of their losses.
        evaluations: per worker, its validation rows and what it measured on them.
    """

    rows: int = 0
    loss: float = 0.0
    evaluations: dict[int, tuple[int, dict[str, float]]] = field(default_factory=dict)

    @property
    def mean_loss(self) -> float:
        """Training loss per row."""
        return self.loss / self.rows if self.rows else float("nan")

    @property
    def measured(self) -> dict[str, float]:
        """What all workers measured together, each worker's share by its rows."""
        reports = [(rows, measures) for _, (rows, measures) in sorted(self.evaluations.items()) if rows]
        total = sum(rows for rows, _ in reports)
        names = [name for name in (reports[0][1] if reports else {}) if all(name in measures for _, measures in reports)]
        return {name: sum(rows * measures[name] for rows, measures in reports) / total for name in names}


@dataclass
class Ledger:
    """What has been trained so far: the server's clock and the account of rows and losses.

    Attributes:
        updates: updates applied; steps: steps in all of them.
        staleness: how often an update was overtaken by so many others; the last entry stands for as many and more.
    """

    updates: int = 0
    steps: int = 0
    staleness: list[int] = field(default_factory=lambda: [0] * 65)
    epochs: list[Epoch] = field(default_factory=list)
    workers: dict[int, WorkerAccount] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows trained so far, all epochs together."""
        return sum(epoch.rows for epoch in self.epochs)

    @property
    def mean_staleness(self) -> float:
        """How many other updates an update was overtaken by, on average."""
        return sum(i * count for i, count in enumerate(self.staleness)) / max(self.updates, 1)

    def worker(self, number: int) -> WorkerAccount:
        """A worker's account, opened at its first appearance."""
        account = self.workers.get(number)
        if account is None:
            account = self.workers[number] = WorkerAccount()
        return account

    def epoch(self, number: int) -> Epoch:
        """An epoch's account, opened at its first mention."""
        while len(self.epochs) <= number:
            self.epochs.append(Epoch())
        return self.epochs[number]

    def book(self, account: WorkerAccount, frame: Frame) -> None:
        """Enter a commit that was applied."""
        staleness = self.updates - account.pulled_at
        self.staleness[min(staleness, len(self.staleness) - 1)] += 1
        epoch = self.epoch(frame.epoch)
        epoch.rows += frame.rows
        epoch.loss += frame.loss
        account.sequence = frame.sequence
        self.steps += frame.steps
        self.updates += 1

    def to_dict(self) -> dict[str, Any]:
        """The books as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, books: dict[str, Any]) -> Ledger:
        """The books that `to_dict` gave."""
        epochs = [
            Epoch(e["rows"], e["loss"], {int(w): (rows, measures) for w, (rows, measures) in e["evaluations"].items()})
            for e in books["epochs"]
        ]
        workers = {int(number): WorkerAccount(**account) for number, account in books["workers"].items()}
        return cls(**{**books, "epochs": epochs, "workers": workers})


@dataclass
class EarlyStopping:
    """Stops training once an epoch's loss has not become better for `patience` epochs.

    Attributes:
        patience: epochs to wait; None never stops.
        min_delta: what counts as better.
        best_epoch, best_loss: the best so far.
        judged: epochs judged so far.
    """

    patience: int | None = None
    min_delta: float = 0.0
    best_epoch: int = -1
    best_loss: float = float("inf")
    judged: int = 0

    def judge(self, loss: float) -> bool:
        """Take the next epoch's loss; whether it is the best so far."""
        epoch, self.judged = self.judged, self.judged + 1
        if loss < self.best_loss - self.min_delta:
            self.best_epoch, self.best_loss = epoch, loss
            return True
        return False

    @property
    def due(self) -> bool:
        """Whether it is time to stop."""
        return self.patience is not None and self.judged - 1 - self.best_epoch >= self.patience
