"""The monitor of a fit while it runs: progress, checkpoints, and an end to a fit whose workers send nothing."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_distkeras.contract.artifacts.progress import Progress as ProgressLine
from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.training import checkpoint
from airflow_provider_distkeras.training.checkpoint import CheckpointStore
from airflow_provider_distkeras.training.server.shards import ShardedParameterServer

logger = logging.getLogger(__name__)

_REPORT_SECONDS = 5.0
_POLL_SECONDS = 0.5
#: The monitors of the fits that run now, in this process.
_running: set[TrainingMonitor] = set()


@dataclass(frozen=True)
class FitProgress:
    """The progress of a fit: epochs trained of how many, rows per second, and the loss of the current epoch."""

    epoch: float
    num_epoch: int
    samples_per_second: float
    loss: float


def running_fits() -> list[FitProgress]:
    """Return the progress of the fits that run now, in this process, once they have trained a row."""
    records = [(record, monitor.num_epoch) for monitor in list(_running) if (record := monitor.record()) is not None]
    return [
        FitProgress(record["epoch"], num_epoch, record["samples_per_second"], record["loss"]) for record, num_epoch in records
    ]


@dataclass(frozen=True)
class MonitorOptions:
    """The options of a fit's monitor.

    Attributes:
        num_workers: Spark tasks that train.
        num_epoch: passes over the data.
        progress_path: a local file for a JSON line every few seconds; None to write none.
        checkpoints: storage of the run's checkpoint; None to write none.
        checkpoint_seconds: seconds between two checkpoints.
        timeout: seconds without a frame of any worker after which `give_up` is called.
        give_up: ends the fit, for the reason that it is called with.
    """

    num_workers: int
    num_epoch: int
    progress_path: str | None
    checkpoints: CheckpointStore | None
    checkpoint_seconds: float
    timeout: float
    give_up: Callable[[str], None]


class TrainingMonitor:
    """Monitors a fit from a thread of its own; use it as a context manager.

    Args:
        server: the fit's parameter server.
        options: what to write, and when to give up.

    Attributes:
        records: the progress written so far, one record per line.

    Raises:
        SpecError: the progress file cannot be written.
    """

    def __init__(self, server: ShardedParameterServer, options: MonitorOptions) -> None:
        self.records: list[dict[str, Any]] = []
        self._server = server
        self._options = options
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="distkeras-progress", daemon=True)
        self._started = time.monotonic()
        self._began: float | None = None
        self._began_rows = 0
        if options.progress_path is not None:
            try:
                Path(options.progress_path).touch()
            except OSError as error:
                raise SpecError(f"progress_path: cannot write {options.progress_path!r}: {error}") from error

    @property
    def num_epoch(self) -> int:
        """Passes over the data."""
        return self._options.num_epoch

    def __enter__(self) -> TrainingMonitor:
        self._thread.start()
        _running.add(self)
        return self

    def __exit__(self, *exception: object) -> None:
        _running.discard(self)
        self._ended.set()
        self._thread.join()
        self._report()

    def _run(self) -> None:
        reported = saved = time.monotonic()
        while not self._ended.wait(_POLL_SECONDS):
            now = time.monotonic()
            active = self._server.active_at
            if active is None:
                reported = saved = now
                continue
            if self._began is None and self._server.ledger.updates:
                self._began, self._began_rows, reported = now, self._server.ledger.rows, now
            if now - reported >= _REPORT_SECONDS:
                reported = now
                self._report()
            if self._options.checkpoints is not None and now - saved >= self._options.checkpoint_seconds:
                saved = now
                self._save(self._options.checkpoints)
            if now - active > self._options.timeout:
                self._options.give_up(
                    f"no worker has sent anything for {self._options.timeout:g} s; "
                    "one may hang in the network's own code, or set timeout if a window takes that long"
                )
                return

    def _report(self) -> None:
        record = self.record()
        if record is None:
            return
        self.records.append(record)
        if self._options.progress_path is not None:
            try:
                with Path(self._options.progress_path).open("a") as file:
                    file.write(json.dumps(record) + "\n")
            except OSError as error:
                logger.warning("progress_path: %s could not be written: %s; training goes on", self._options.progress_path, error)
        done, total = record["epoch"], self.num_epoch
        speed, loss, eta = record["samples_per_second"], record["loss"], record["eta_seconds"]
        logger.info(ProgressLine(int(100 * done / total), "training", done, total, "epochs", speed, loss, eta_seconds=eta))

    def record(self) -> dict[str, Any] | None:
        """Return the fit's progress: seconds, epochs, rows, speed, loss and staleness; None before the first row is trained."""
        ledger, now = self._server.ledger, time.monotonic()
        rows = ledger.rows
        counts = [worker.rows for worker in list(ledger.workers.values())]
        if not rows or not sum(counts):
            return None
        # Spark distributes the rows evenly, so workers that wait for a slot have as many as those that run.
        total = sum(counts) / len(counts) * self._options.num_workers
        speed = (rows - self._began_rows) / max(now - (self._began or self._started), 1e-9) or rows / (now - self._started)
        return {
            "seconds": round(now - self._started, 3),
            "epoch": round(min(rows / total, self.num_epoch), 3),  # an estimate, as the total is
            "rows": rows,
            "samples_per_second": round(speed, 1),
            "loss": next(epoch.mean_loss for epoch in reversed(list(ledger.epochs)) if epoch.rows),
            "eta_seconds": round(max(total * self.num_epoch - rows, 0) / speed, 1),
            "staleness": round(ledger.mean_staleness, 3),
            "updates": ledger.updates,
        }

    def _save(self, checkpoints: CheckpointStore) -> None:
        """Write a checkpoint. If that fails, log a warning: training goes on."""
        try:
            checkpoints.write(checkpoint.to_bytes(self._server.copy_states()))
        except Exception as error:  # the storage may raise anything
            logger.warning("The checkpoint of this training could not be written: %s", error)
