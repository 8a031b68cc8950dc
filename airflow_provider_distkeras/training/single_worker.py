"""Training by one worker whose center is in its own process: no server, no exchange, the same rules and books."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

from airflow_provider_distkeras.training.algorithms import Matrix
from airflow_provider_distkeras.training.dataset import Rows
from airflow_provider_distkeras.training.server.client import ParameterClient, Shard
from airflow_provider_distkeras.training.server.ledger import EarlyStopping
from airflow_provider_distkeras.training.server.protocol import Frame
from airflow_provider_distkeras.training.server.store import ParameterStore, Rendezvous, StoreState, WorkerId
from airflow_provider_distkeras.training.summary import TrainingSummary
from airflow_provider_distkeras.training.worker import Worker, WorkerJob


@dataclass(frozen=True)
class SingleWorkerFit:
    """What to train by one worker, as plain values.

    Attributes:
        job: what the worker is told.
        trainer: the trainer's name.
        weights: the initial weights, (1, weights).
        patience, min_delta: when to stop early.
    """

    job: WorkerJob
    trainer: str
    weights: Matrix
    patience: int | None = None
    min_delta: float = 0.0

    def train(self, rows: Rows, validation: Rows) -> tuple[Matrix, TrainingSummary]:
        """Train on every row, exactly `num_epoch` times, or until it is time to stop; as `driver.train` with one worker.

        Returns:
            The trained weights, (1, weights), and the summary.

        Raises:
            TrainingError, DivergenceError, DataError: as `driver.train` does.
        """
        started, rule = time.perf_counter(), self.job.rule
        state = StoreState(rule.open(self.weights), stopping=EarlyStopping(self.patience, self.min_delta))
        center = ParameterStore(state, rule, Rendezvous(gather=self.job.gather))
        epochs = Worker(self.job, 0, rows, validation, _Inside(center)).train()
        seconds = time.perf_counter() - started
        report = {"worker": 0, "host": socket.gethostname(), "rows": len(rows), "validation_rows": len(validation)}
        workers = [{**report, "seconds": seconds, "waited": 0.0, "epochs": epochs}]
        validates = self.job.validates
        summary = TrainingSummary.of(state, workers, trainer=self.trainer, validates=validates, seconds=seconds)
        summary.check_rows(asked=1, num_epoch=self.job.num_epoch, validates=validates, stopped=center.stopped)
        return rule.result(state.store if state.best is None else state.best), summary


class _Inside(ParameterClient):
    """A session with a center in the same process."""

    def __init__(self, center: ParameterStore) -> None:
        size = center.state.store.shape[1]
        super().__init__([_Call(center)], (Shard("", 0, 0, size),), worker=0, attempt=0)


class _Call:
    """A connection whose other end answers at once."""

    def __init__(self, center: ParameterStore) -> None:
        self._center = center
        self._peer = WorkerId()
        self._answer: list[Frame] = []

    def send(self, frame: Frame) -> None:
        self._answer.append(self._center.answer(self._peer, frame))

    def receive(self) -> Frame:
        return self._answer.pop()

    def close(self) -> None:
        self._center.part(self._peer)
