"""What a fit tells afterwards."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.errors import DataError, TrainingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from airflow_provider_distkeras.training.server.store import StoreState


@dataclass(frozen=True)
class TrainingSummary:
    """The account of one fit.

    Attributes:
        trainer: the trainer's name.
        rows: rows of the training data.
        rows_trained: rows trained, all epochs together: exactly rows * epochs, unless training was ended early.
        rows_before: those of them that an earlier fit had trained, from whose snapshot this one went on.
        epochs: passes over the data.
        history: per epoch, `loss` (mean training loss, without regularization), and what was measured at its end on the
            center: `val_loss` and `val_` metrics where there are validation rows, else the metrics on the training rows. Of
            asynchronous workers that were stopped early, some may have begun epochs that not all have ended: those have no
            measures.
        best_epoch: the epoch, from 1, whose weights were kept; None where training could not stop early.
        seconds: wall time of the fit.
        updates: updates the server applied; steps: optimizer steps in all of them.
        staleness: how many other updates an update was overtaken by, on average; staleness_counts: how often by 0, 1, 2, ...,
            the last entry by as many and more.
        workers: per worker, its host, rows, validation rows, seconds, the seconds it waited for the server, and its epochs
            with their rows, steps, seconds and losses.
        progress: what was recorded while it ran, every few seconds.
    """

    trainer: str
    rows: int
    rows_trained: int
    epochs: int
    history: dict[str, list[float]]
    best_epoch: int | None
    seconds: float
    updates: int
    steps: int
    staleness: float
    staleness_counts: list[int] = field(default_factory=list)
    workers: list[dict[str, Any]] = field(default_factory=list)
    progress: list[dict[str, Any]] = field(default_factory=list)
    rows_before: int = 0

    @classmethod
    def of(
        cls, books: StoreState, workers: list[dict[str, Any]], *, trainer: str, validates: bool, seconds: float, **more: Any
    ) -> TrainingSummary:
        """What a run's books and its workers' reports tell.

        Args:
            books: the state that the run ended with.
            workers: per worker, what it reports.
            trainer, seconds, **more: attributes that the books do not tell.
            validates: whether epochs were measured on validation rows.
        """
        ledger, stopping = books.ledger, books.stopping
        history: dict[str, list[float]] = {"loss": [epoch.mean_loss for epoch in ledger.epochs if epoch.rows]}
        for epoch in ledger.epochs[: stopping.judged]:
            for name, value in epoch.measured.items():
                history.setdefault(f"val_{name}" if validates else name, []).append(value)
        return cls(
            trainer=trainer,
            rows=sum(worker["rows"] for worker in workers),
            rows_trained=ledger.rows,
            epochs=len(history["loss"]),
            history=history,
            best_epoch=stopping.best_epoch + 1 if stopping.patience else None,
            seconds=seconds,
            updates=ledger.updates,
            steps=ledger.steps,
            staleness=ledger.mean_staleness,
            staleness_counts=ledger.staleness,
            workers=workers,
            **more,
        )

    def check_rows(self, *, asked: int, num_epoch: int, validates: bool, stopped: bool) -> None:
        """Check that every row was trained as often as asked for, and some were there to validate on.

        Args:
            asked: workers asked for; num_epoch: passes over the data asked for.
            validates: whether rows were to be set aside; stopped: whether training was ended early.

        Raises:
            DataError: there are too few rows of a kind.
            TrainingError: rows are unaccounted for.
        """
        if validates and not sum(worker["validation_rows"] for worker in self.workers):
            raise DataError("validationIndicatorCol, validation_split: no row was set aside to validate on; mark some, or more.")
        if validates and not self.rows:
            raise DataError("validationIndicatorCol, validation_split: every row was set aside to validate on; mark fewer.")
        if self.rows < asked:
            raise DataError(f"{asked} workers for {self.rows} rows: set num_workers to at most the number of rows.")
        if not stopped and self.rows_trained != self.rows * num_epoch:
            raise TrainingError(f"{self.rows_trained} rows trained, expected {self.rows} rows x {num_epoch} epochs.")

    def __str__(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in self.history.items() if values)
        return (
            f"{self.trainer}: {self.rows:,} rows, {self.epochs} epochs in {self.seconds:.1f} s "
            f"({self.samples_per_second:,.0f} samples/s), {last}"
        )

    @property
    def loss(self) -> list[float]:
        """Mean training loss per epoch, without regularization."""
        return self.history["loss"]

    @property
    def samples_per_second(self) -> float:
        """Rows trained in this fit per second of wall time."""
        return (self.rows_trained - self.rows_before) / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain JSON values."""
        return asdict(self)

    def write_progress(self, path: str) -> None:
        """Write what was recorded while it ran to a local file, one JSON object per line."""
        Path(path).write_text("".join(json.dumps(record) + "\n" for record in self.progress))

    def plot(self) -> Figure:
        """Learning curves, the workers' losses, throughput and staleness as a matplotlib figure."""
        from matplotlib import pyplot
        from matplotlib.ticker import MaxNLocator

        figure, ((curves, workers), (speed, staleness)) = pyplot.subplots(2, 2, figsize=(10, 6.5), layout="constrained")
        pyplot.close(figure)  # Jupyter shows what a cell returns; a figure that is still open it would show twice
        for name in ("loss", "val_loss"):
            if name in self.history:
                values = self.history[name]
                curves.plot(range(1, len(values) + 1), values, marker="o", markersize=3, label=name)
        if self.best_epoch:
            curves.axvline(self.best_epoch, linestyle=":", color="gray", label="kept")
        curves.set(title="Loss per epoch", xlabel="epoch", ylabel="loss")
        curves.legend()
        for worker in self.workers:
            points = [(epoch["epoch"] + 1, epoch["loss"]) for epoch in worker["epochs"] if epoch["loss"] is not None]
            workers.plot([x for x, _ in points], [y for _, y in points], linewidth=1, label=f"worker {worker['worker']}")
        workers.set(title="Training loss per worker", xlabel="epoch", ylabel="loss")
        if len(self.workers) <= 8:
            workers.legend(fontsize="small")
        speed.bar(
            [worker["worker"] for worker in self.workers],
            [sum(epoch["rows"] for epoch in worker["epochs"]) / max(_training_seconds(worker), 1e-9) for worker in self.workers],
        )
        speed.set(title="Rows per second and worker", xlabel="worker", ylabel="rows/s")
        last = max((i for i, count in enumerate(self.staleness_counts) if count), default=0)
        staleness.bar(range(last + 1), self.staleness_counts[: last + 1])
        staleness.set(title="Staleness of the updates", xlabel="overtaken by", ylabel="updates")
        for axes, bars in ((speed, len(self.workers)), (staleness, last + 1)):
            axes.set_xlim(-1, bars)  # a bar alone would fill the axes
        for axes in (curves, workers, speed, staleness):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.suptitle(f"{self.trainer}: {self.rows:,} rows, {self.epochs} epochs, {self.seconds:.1f} s")
        return figure


def _training_seconds(worker: dict[str, Any]) -> float:
    return float(sum(epoch["seconds"] for epoch in worker["epochs"]))
