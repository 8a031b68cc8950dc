"""How fits go on, while they run: a line in the log and a JSON line every few seconds, snapshots, and a watch for silence."""

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
from airflow_provider_distkeras.training.server.shards import ParameterServers

logger = logging.getLogger(__name__)

_REPORT_SECONDS = 5.0
_LOOK_SECONDS = 0.5
#: The fits that run at the moment, in this process.
_running: set[TrainingMonitor] = set()


@dataclass(frozen=True)
class FitPace:
    """How far a fit is: epochs done of how many, the speed, and the loss of the epoch under way."""

    epoch: float
    num_epoch: int
    samples_per_second: float
    loss: float


def running() -> list[FitPace]:
    """How far the fits are that run at the moment, in this process; less those that have not trained a row yet."""
    records = [(record, progress.num_epoch) for progress in list(_running) if (record := progress.record()) is not None]
    return [FitPace(said["epoch"], num_epoch, said["samples_per_second"], said["loss"]) for said, num_epoch in records]


@dataclass(frozen=True)
class SilenceWatch:
    """What is done while a fit runs.

    Attributes:
        num_workers, num_epoch: the size of the work.
        path: a local file that gets the JSON lines, or None.
        snapshots: where snapshots go, or None; every `snapshot_seconds`.
        timeout: seconds of silence after which `give_up` is called with what to tell.
    """

    num_workers: int
    num_epoch: int
    path: str | None
    snapshots: CheckpointStore | None
    snapshot_seconds: float
    timeout: float
    give_up: Callable[[str], None]


class TrainingMonitor:
    """Watches a fit from a thread of its own; use it as a context manager.

    Attributes:
        records: what was written so far, one dict per line.

    Raises:
        SpecError: the file cannot be written.
    """

    def __init__(self, servers: ParameterServers, watch: SilenceWatch) -> None:
        self.records: list[dict[str, Any]] = []
        self._servers = servers
        self._watch = watch
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="distkeras-progress", daemon=True)
        self._started = time.monotonic()
        self._began: float | None = None
        self._began_rows = 0
        if watch.path is not None:
            try:
                Path(watch.path).touch()
            except OSError as error:
                raise SpecError(f"progress_path: cannot write {watch.path!r}: {error}") from error

    @property
    def num_epoch(self) -> int:
        """Epochs to train."""
        return self._watch.num_epoch

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
        while not self._ended.wait(_LOOK_SECONDS):
            now = time.monotonic()
            active = self._servers.active_at
            if active is None:
                reported = saved = now
                continue
            if self._began is None and self._servers.ledger.updates:
                self._began, self._began_rows, reported = now, self._servers.ledger.rows, now
            if now - reported >= _REPORT_SECONDS:
                reported = now
                self._report()
            if self._watch.snapshots is not None and now - saved >= self._watch.snapshot_seconds:
                saved = now
                self._save(self._watch.snapshots)
            if now - active > self._watch.timeout:
                self._watch.give_up(
                    f"no worker was heard of for {self._watch.timeout:g} s; "
                    "one may hang in the network's own code, or set timeout if a window takes that long"
                )
                return

    def _report(self) -> None:
        record = self.record()
        if record is None:
            return
        self.records.append(record)
        if self._watch.path is not None:
            try:
                with Path(self._watch.path).open("a") as file:
                    file.write(json.dumps(record) + "\n")
            except OSError as error:
                logger.warning("progress_path: %s could not be written: %s; training goes on", self._watch.path, error)
        done, total = record["epoch"], self._watch.num_epoch
        speed, loss, eta = record["samples_per_second"], record["loss"], record["eta_seconds"]
        percent = min(int(100 * done / total), 100)
        logger.info("%s", ProgressLine(percent, "training", done, total, "epochs", speed, loss, eta_seconds=eta))

    def record(self) -> dict[str, Any] | None:
        """How far the fit is; None if no row has been trained."""
        ledger, now = self._servers.ledger, time.monotonic()
        rows = ledger.rows
        known = [worker.rows for worker in list(ledger.workers.values())]
        if not rows or not sum(known):
            return None
        # Spark deals the rows out evenly, so workers that wait for a slot have as many as those that run.
        total = sum(known) / len(known) * self._watch.num_workers
        speed = (rows - self._began_rows) / max(now - (self._began or self._started), 1e-9) or rows / (now - self._started)
        return {
            "seconds": round(now - self._started, 3),
            "epoch": round(rows / total, 3),
            "rows": rows,
            "samples_per_second": round(speed, 1),
            "loss": next(epoch.mean_loss for epoch in reversed(list(ledger.epochs)) if epoch.rows),
            "eta_seconds": round(max(total * self._watch.num_epoch - rows, 0) / speed, 1),
            "staleness": round(ledger.mean_staleness, 3),
            "updates": ledger.updates,
        }

    def _save(self, snapshots: CheckpointStore) -> None:
        """Write a snapshot. One that cannot be written is a warning: training goes on."""
        try:
            snapshots.write(checkpoint.to_bytes(self._servers.snapshot()))
        except Exception as error:
            logger.warning("The snapshot of this training could not be written: %s", error)
