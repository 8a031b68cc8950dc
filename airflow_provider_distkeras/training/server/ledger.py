"""The ledger of a run: the updates applied, by worker and by epoch, and when training stops early."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_provider_distkeras.training.server.protocol import Frame


@dataclass
class WorkerAccount:
    """The account of one worker.

    Attributes:
        attempt: the newest attempt of its task.
        sequence: commits that it has made.
        rows: its rows.
        commits: commits that an epoch of them makes.
        digest: a hash of its rows, the same for every attempt; None before its HELLO.
        pulled_at: the ledger's `updates` when the worker last received weights.
        left: whether it has trained all its epochs.
        steps: optimizer steps that it has made.
    """

    attempt: int = -1
    sequence: int = 0
    rows: int = 0
    commits: int = 0
    digest: int | None = None
    pulled_at: int = 0
    left: bool = False
    steps: int = 0


@dataclass
class EpochAccount:
    """The account of one pass over the data, all workers together.

    Attributes:
        rows: rows trained.
        loss: the sum of their losses.
        evaluations: per worker, the rows it evaluated and the mean of each metric over them.
        steps: optimizer steps.
        rate_factor: what the loss of earlier epochs has lowered the learning rate by.
    """

    rows: int = 0
    loss: float = 0.0
    evaluations: dict[int, tuple[int, dict[str, float]]] = field(default_factory=dict)
    steps: int = 0
    rate_factor: float = 1.0

    @property
    def mean_loss(self) -> float:
        """Mean training loss of a row; NaN before the first row."""
        return self.loss / self.rows if self.rows else float("nan")

    @property
    def metrics(self) -> dict[str, float]:
        """Mean of each metric over the rows that all workers evaluated."""
        reports = [(rows, metrics) for _, (rows, metrics) in sorted(self.evaluations.items()) if rows]
        total = sum(rows for rows, _ in reports)
        names = [name for name in (reports[0][1] if reports else {}) if all(name in metrics for _, metrics in reports)]
        return {name: sum(rows * metrics[name] for rows, metrics in reports) / total for name in names}


@dataclass
class Ledger:
    """The account of a run: the updates applied so far.

    Attributes:
        updates: updates applied.
        steps: optimizer steps in them; the clock of the learning rate's schedule.
        staleness: number of updates by how many others overtook them; the last entry counts those overtaken by more, too.
        epochs: the accounts of the epochs.
        workers: the accounts of the workers, by number.
    """

    updates: int = 0
    steps: int = 0
    staleness: list[int] = field(default_factory=lambda: [0] * 65)
    epochs: list[EpochAccount] = field(default_factory=list)
    workers: dict[int, WorkerAccount] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows trained so far, all epochs together."""
        return sum(epoch.rows for epoch in self.epochs)

    @property
    def mean_staleness(self) -> float:
        """Mean number of other updates that overtook an update."""
        return sum(i * count for i, count in enumerate(self.staleness)) / max(self.updates, 1)

    @property
    def workers_without_rows(self) -> int:
        """Number of workers that registered with no rows; they evaluate nothing."""
        return sum(worker.digest is not None and not worker.rows for worker in self.workers.values())

    def rows_of_all(self, num_workers: int) -> int:
        """Return the rows of all workers, as far as those that have registered tell."""
        rows = [worker.rows for worker in self.workers.values() if worker.digest is not None]
        return round(sum(rows) / len(rows) * num_workers)

    def worker(self, number: int) -> WorkerAccount:
        """Return a worker's account; open it at the first call."""
        account = self.workers.get(number)
        if account is None:
            account = self.workers[number] = WorkerAccount()
        return account

    def epoch(self, number: int) -> EpochAccount:
        """Return an epoch's account; open it, and those before it, at the first call."""
        while len(self.epochs) <= number:
            self.epochs.append(EpochAccount())
        return self.epochs[number]

    def record(self, account: WorkerAccount, frame: Frame) -> None:
        """Record a commit that was applied."""
        staleness = self.updates - account.pulled_at
        self.staleness[min(staleness, len(self.staleness) - 1)] += 1
        epoch = self.epoch(frame.epoch)
        epoch.rows += frame.rows
        epoch.loss += frame.loss
        epoch.steps += frame.steps
        account.sequence = frame.sequence
        account.steps += frame.steps
        self.steps += frame.steps
        self.updates += 1

    def to_dict(self) -> dict[str, Any]:
        """Return the ledger as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Ledger:
        """Return the ledger of the values that `to_dict` returned."""
        epochs = [
            EpochAccount(
                **{
                    **account,
                    "evaluations": {int(w): (rows, metrics) for w, (rows, metrics) in account["evaluations"].items()},
                }
            )
            for account in values["epochs"]
        ]
        workers = {int(number): WorkerAccount(**account) for number, account in values["workers"].items()}
        return cls(**{**values, "epochs": epochs, "workers": workers})


@dataclass
class EarlyStopping:
    """When training stops: once the loss has not improved for `patience` epochs.

    Attributes:
        patience: epochs to wait; None never stops.
        min_delta: the least decrease of the loss that counts as an improvement.
        best_epoch: the best epoch so far, from 0; -1 before the first.
        best_loss: its loss.
        judged: epochs judged so far.
    """

    patience: int | None = None
    min_delta: float = 0.0
    best_epoch: int = -1
    best_loss: float = float("inf")
    judged: int = 0

    def judge(self, loss: float) -> bool:
        """Record the next epoch's loss; return whether it is the best so far."""
        epoch, self.judged = self.judged, self.judged + 1
        if loss < self.best_loss - self.min_delta:
            self.best_epoch, self.best_loss = epoch, loss
            return True
        return False

    @property
    def due(self) -> bool:
        """Whether it is time to stop."""
        return self.patience is not None and self.judged - 1 - self.best_epoch >= self.patience


@dataclass
class Plateau:
    """When the learning rate is lowered, as `keras.callbacks.ReduceLROnPlateau` does it.

    Attributes:
        factor: what the rate is multiplied by.
        patience: epochs without an improvement after which it is.
        min_delta: the least decrease of the loss that counts as an improvement.
        min_factor: the least that the rate may come to, as a share of what it would be.
        best_loss: the lowest loss so far.
        waited: epochs since, or since the rate was lowered.
        rate_factor: what the rate is multiplied by now.
    """

    factor: float
    patience: int
    min_delta: float
    min_factor: float
    best_loss: float = float("inf")
    waited: int = 0
    rate_factor: float = 1.0

    def judge(self, loss: float) -> None:
        """Record the next epoch's loss, and lower the rate if it is time."""
        if loss < self.best_loss - self.min_delta:
            self.best_loss, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited >= self.patience and self.rate_factor > self.min_factor:
            self.rate_factor, self.waited = max(self.rate_factor * self.factor, self.min_factor), 0
