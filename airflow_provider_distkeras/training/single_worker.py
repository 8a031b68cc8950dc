"""Runs on executors. Training by a single worker, with the parameter store in its own process: no server, no connection."""

from __future__ import annotations

import copy
import socket
import time
from dataclasses import dataclass, replace

from airflow_provider_distkeras.training.algorithms.rule import Matrix
from airflow_provider_distkeras.training.dataset import Rows
from airflow_provider_distkeras.training.server.client import ParameterClient, Shard
from airflow_provider_distkeras.training.server.ledger import EarlyStopping, Plateau
from airflow_provider_distkeras.training.server.protocol import Frame
from airflow_provider_distkeras.training.server.requests import RequestHandler, SyncPolicy, WorkerId
from airflow_provider_distkeras.training.server.store import ParameterStore, StoreState
from airflow_provider_distkeras.training.summary import TrainingSummary
from airflow_provider_distkeras.training.worker import Worker, WorkerJob


@dataclass(frozen=True)
class SingleWorkerFit:
    """A fit by a single worker, as plain values.

    Attributes:
        job: the worker's configuration; a transform of labels in it is yet to be fitted.
        trainer: the trainer's name.
        weights: the initial weights, (1, weights).
        patience, min_delta: when to stop early, see `EarlyStopping`.
        plateau: when to lower the learning rate; None never does.
    """

    job: WorkerJob
    trainer: str
    weights: Matrix
    patience: int | None = None
    min_delta: float = 0.0
    plateau: Plateau | None = None

    def train(self, rows: Rows, validation: Rows) -> tuple[Matrix, TrainingSummary]:
        """Train on every row, exactly `num_epoch` times, or until training stops early; as `driver.train` with one worker.

        Args:
            rows: the rows to train on.
            validation: the rows to validate on; may be empty.

        Returns:
            The trained weights, (1, weights), and the summary.

        Raises:
            TrainingError, DivergenceError, DataError: as `driver.train` does.
        """
        started, rule, job = time.perf_counter(), self.job.rule, self._fitted_job(rows, validation)
        stopping = EarlyStopping(self.patience, self.min_delta)
        state = StoreState(rule.open(self.weights), stopping=stopping, plateau=copy.copy(self.plateau))
        store = ParameterStore(state, rule)
        handler = RequestHandler(store, SyncPolicy(barrier=job.barrier))
        epochs = Worker(job, 0, rows, validation, _in_process_client(handler)).train()
        seconds = time.perf_counter() - started
        report = {"worker": 0, "host": socket.gethostname(), "rows": len(rows), "validation_rows": len(validation)}
        workers = [{**report, "seconds": seconds, "waited": 0.0, "epochs": epochs}]
        summary = TrainingSummary.from_state(
            state, workers, trainer=self.trainer, validates=job.validates, seconds=seconds, learning_rates=job.epoch_rates(state),
            label_transform=job.label_transform,
        )  # fmt: skip
        summary.check_rows(num_workers=1, num_epoch=job.num_epoch, validates=job.validates, stopped=store.stopped)
        return rule.result(state.store if state.best is None else state.best), summary

    def _fitted_job(self, rows: Rows, validation: Rows) -> WorkerJob:
        """Return the worker's configuration, with a transform of labels that is fitted on these rows."""
        transform, num_labels = self.job.label_transform, sum(self.job.plan.label_sizes)
        if transform is None or not len(rows):
            return replace(self.job, label_transform=None)
        labels, others = (each.records[:, -1 - num_labels : -1] for each in (rows, validation))
        return replace(self.job, label_transform=transform.fitted(labels, rows.records[:, -1], others))


def _in_process_client(handler: RequestHandler) -> ParameterClient:
    size = handler.store.state.store.shape[1]
    return ParameterClient([_InProcessTransport(handler)], (Shard("", 0, 0, size),), worker=0, attempt=0)


class _InProcessTransport:
    """A connection to a request handler in the same process, which responds at once."""

    def __init__(self, handler: RequestHandler) -> None:
        self._handler = handler
        self._client = WorkerId()
        self._responses: list[Frame] = []

    def send(self, frame: Frame) -> None:
        """Handle a request."""
        self._responses.append(self._handler.handle(self._client, frame))

    def receive(self) -> Frame:
        """Return the response to the last request."""
        return self._responses.pop()

    def close(self) -> None:
        """End the connection."""
        self._handler.disconnect(self._client)
