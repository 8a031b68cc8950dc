"""The summary of a fit: its history, its workers, its staleness, and their plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.errors import DataError, TrainingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from airflow_provider_distkeras.training.backends.label_transform import LabelTransform
    from airflow_provider_distkeras.training.server.store import StoreState
    from airflow_provider_distkeras.training.trainers import Trainer

#: An epoch of fewer steps hardly moves the weights.
_FEW_STEPS = 4
#: Updates count as stale if more others than so many of every worker have overtaken them, and as many if their share is this.
_STALE, _MANY_STALE = 4, 0.05
#: Workers that move the weights by less than this share of what training on one machine does stay behind it.
_SHORT_REACH = 0.35
#: After so many epochs, a loss that is not lower than in the first one does not fall.
_ENOUGH_EPOCHS = 3


@dataclass(frozen=True)
class TrainingSummary:
    """The summary of one fit.

    Attributes:
        trainer: the trainer's name.
        rows: rows of the training data.
        rows_trained: rows trained, all epochs together: exactly rows * epochs, unless training ended early.
        epochs: passes over the data.
        history: per epoch, `loss` (mean training loss, without regularization), and the metrics of the server weights at its
            end: `val_loss` and `val_` metrics where there are validation rows, else the metrics on the training rows. If
            asynchronous workers stop early, some may have begun epochs that not all have completed: those have no metrics. Where
            the learning rate moves, `learning_rate` is the user's at the epoch's end.
        best_epoch: the epoch, from 1, whose weights are the result; None where training could not stop early.
        seconds: wall time of the fit.
        updates: updates that the server applied.
        steps: optimizer steps in all of them.
        staleness: mean number of other updates that overtook an update.
        staleness_counts: number of updates by how many others overtook them; the last entry counts those overtaken by more, too.
        workers: per worker, its host, rows, validation rows, seconds, the seconds it waited for the server, and its epochs
            with their rows, steps, seconds and losses.
        progress: the monitor's records, one every few seconds.
        settings: what the workers took and what it means, in a line, see `WorkerSettings`; None for workers that share nothing.
        label_transform: of the labels that losses are of, see `LabelTransform.to_dict`; None where these are labels as they are.
        started_from: which of the initial weights were an earlier model's, in a line; None if all were new.
        rows_before: rows of `rows_trained` that an earlier fit had trained, from whose checkpoint this one resumed.
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
    settings: str | None = None
    label_transform: dict[str, Any] | None = None
    started_from: str | None = None

    @classmethod
    def from_state(
        cls, state: StoreState, workers: list[dict[str, Any]], *, trainer: str, validates: bool, seconds: float,
        learning_rates: Sequence[float] = (), label_transform: LabelTransform | None = None, **attributes: Any,
    ) -> TrainingSummary:  # fmt: skip
        """Return the summary of a run.

        Args:
            state: the state that the run ended with.
            workers: the workers' reports.
            trainer: the trainer's name.
            validates: whether epochs were evaluated on validation rows.
            seconds: wall time of the fit.
            learning_rates: the user's learning rate at the end of each epoch, where it moves.
            label_transform: of the labels that losses are of.
            **attributes: further attributes that the state does not hold.
        """
        ledger, stopping = state.ledger, state.stopping
        history: dict[str, list[float]] = {"loss": [epoch.mean_loss for epoch in ledger.epochs if epoch.rows]}
        for epoch in ledger.epochs[: stopping.judged]:
            for name, value in epoch.metrics.items():
                history.setdefault(f"val_{name}" if validates else name, []).append(value)
        if learning_rates:
            history["learning_rate"] = [*learning_rates]
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
            label_transform=None if label_transform is None else label_transform.to_dict(),
            **attributes,
        )

    def check_rows(self, *, num_workers: int, num_epoch: int, validates: bool, stopped: bool) -> None:
        """Raise unless every row was trained `num_epoch` times, and there were rows for every purpose.

        Args:
            num_workers: Spark tasks that train.
            num_epoch: passes over the data.
            validates: whether rows were to be set aside.
            stopped: whether training ended early.

        Raises:
            DataError: there are fewer training rows than workers, or no validation rows.
            TrainingError: rows are unaccounted for.
        """
        if validates and not sum(worker["validation_rows"] for worker in self.workers):
            raise DataError("validationIndicatorCol, validation_split: no row was set aside to validate on; mark some, or more.")
        if validates and not self.rows:
            raise DataError("validationIndicatorCol, validation_split: every row was set aside to validate on; mark fewer.")
        if self.rows < num_workers:
            raise DataError(f"{num_workers} workers for {self.rows} rows: set num_workers to at most the number of rows.")
        if not stopped and self.rows_trained != self.rows * num_epoch:
            raise TrainingError(f"{self.rows_trained} rows trained, expected {self.rows} rows x {num_epoch} epochs.")

    def warnings(self, trainer: Trainer, reach: float = 1.0) -> list[str]:
        """Return why the fit may have learned less than training on one machine would, each with what to set.

        Args:
            trainer: the trainer, with its workers' parameters.
            reach: how far an epoch moved the weights, see `WorkerSettings`.
        """
        warnings = []
        if reach < _SHORT_REACH:
            warnings.append(
                f"An epoch moved the weights about {reach:.2g} times as far as one of keras.Model.fit at this learning_rate. Set "
                f"a learning_rate {1 / reach:.2g} times as high, or settings='keras', which derives the workers' from it."
            )
        if len(self.loss) >= _ENOUGH_EPOCHS and self.loss[-1] >= self.loss[0]:
            warnings.append(
                f"The loss did not fall: {self.loss[0]:.4g} in the first epoch, {self.loss[-1]:.4g} in the last. Set a lower "
                "learning_rate, or scale the features."
            )
        least = min(self.workers, key=lambda worker: worker["rows"])
        steps = -(-least["rows"] // trainer.batch_size)
        if steps < _FEW_STEPS:
            fix = "batch_size" if trainer.is_divided else "batch_size or num_workers"
            warnings.append(
                f"Worker {least['worker']} has {least['rows']} rows, {steps} batches of {trainer.batch_size}: so few steps "
                f"an epoch learn little. Set a smaller {fix}, or more epochs."
            )
        bound = _STALE * trainer.num_workers
        stale = sum(self.staleness_counts[bound + 1 :]) / max(self.updates, 1)
        if trainer.suffers_from_staleness and stale > _MANY_STALE:
            warnings.append(
                f"{stale:.0%} of the updates were overtaken by more than {bound} others: {self.trainer} moves the weights by "
                "what is long past. Give every worker a core of its own, or set settings='keras', by which workers wait for each "
                "other."
            )
        return warnings

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
    def loss_unit(self) -> str:
        """What follows the word loss on an axis: whether it is of transformed labels, not of labels as they are."""
        return ", of transformed labels" if self.label_transform else ""

    @property
    def samples_per_second(self) -> float:
        """Rows trained in this fit per second of wall time."""
        return (self.rows_trained - self.rows_before) / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain JSON values."""
        return asdict(self)

    def plot(self) -> Figure:
        """Return learning curves, the workers' losses, throughput and staleness as a matplotlib figure."""
        from matplotlib import pyplot
        from matplotlib.ticker import MaxNLocator

        figure, ((curves, workers), (speed, staleness)) = pyplot.subplots(2, 2, figsize=(10, 6.5), layout="constrained")
        pyplot.close(figure)  # Jupyter shows the figure that is returned, and once more if it is still open
        for name in ("loss", "val_loss"):
            if name in self.history:
                values = self.history[name]
                curves.plot(range(1, len(values) + 1), values, marker="o", markersize=3, label=name)
        if self.best_epoch:
            curves.axvline(self.best_epoch, linestyle=":", color="gray", label="best")
        curves.set(title="Loss per epoch", xlabel="epoch", ylabel=f"loss{self.loss_unit}")
        curves.legend()
        for worker in self.workers:
            points = [(epoch["epoch"] + 1, epoch["loss"]) for epoch in worker["epochs"] if epoch["loss"] is not None]
            workers.plot([x for x, _ in points], [y for _, y in points], linewidth=1, label=f"worker {worker['worker']}")
        workers.set(title="Training loss per worker", xlabel="epoch", ylabel=f"loss{self.loss_unit}")
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
