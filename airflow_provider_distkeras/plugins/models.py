"""The models that the runs of a DAG have trained, as their tasks returned them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt, locate

#: How far back a page looks: the latest runs, and no more than so many XComs of theirs.
MAX_RUNS = 200
_MAX_XCOMS = 30_000
_TOO_LARGE = 1e100
#: What only a train task pushes together.
_KEYS = ("model_path", "report_path", "metrics")


@dataclass(frozen=True)
class ModelRecord:
    """What a train task returned.

    Attributes:
        dag_id, run_id, task_id, map_index: which task instance.
        model_path: where the model is.
        metrics: mean, std and, where rows were set aside, test of each metric.
        root, attempt: the artifact root, and the attempt below it.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    model_path: str
    metrics: dict[str, Any]
    root: str
    attempt: Attempt

    @classmethod
    def of_xcoms(cls, dag_id: str, run_id: str, task_id: str, map_index: int, xcoms: dict[str, Any]) -> ModelRecord | None:
        """The model that XComs tell of; None if they are not those of a train task, or the path is not that of its own model."""
        path, metrics = xcoms.get("model_path"), xcoms.get("metrics")
        if "report_path" not in xcoms or not isinstance(path, str) or not isinstance(metrics, dict):
            return None
        place = locate(path, dag_id, task_id, map_index)
        return None if place is None else cls(dag_id, run_id, task_id, map_index, path, metrics, *place)

    @property
    def task(self) -> str:
        """The task's name, with the map index of a mapped one."""
        return self.task_id if self.map_index < 0 else f"{self.task_id} [{self.map_index}]"

    def measured(self, metric: str, statistic: str) -> float | None:
        """A statistic of a metric, such as the mean of r2; None if it is not there, or no number that can be drawn."""
        told = self.metrics.get(metric)
        value = told.get(statistic) if isinstance(told, dict) else None
        return float(value) if isinstance(value, int | float) and abs(value) < _TOO_LARGE else None


def find_models(dag_id: str, run_id: str | None = None) -> list[ModelRecord]:
    """What the latest runs of a DAG have trained, those of the latest run first.

    Args:
        dag_id: the DAG.
        run_id: only this run.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    runs = select(DagRun.id, DagRun.run_after).where(DagRun.dag_id == dag_id)
    if run_id is not None:
        runs = runs.where(DagRun.run_id == run_id)
    latest = runs.order_by(DagRun.run_after.desc(), DagRun.id.desc()).limit(MAX_RUNS).subquery()
    instance = (XComModel.run_id, XComModel.task_id, XComModel.map_index)
    query = (
        select(*instance, XComModel.key, XComModel.value)
        .join(latest, XComModel.dag_run_id == latest.c.id)
        .where(XComModel.key.in_(_KEYS))
        .order_by(latest.c.run_after.desc(), latest.c.id.desc(), XComModel.task_id, XComModel.map_index)
        .limit(_MAX_XCOMS)
    )
    with create_session() as session:
        rows = session.execute(query).all()
    found = (
        ModelRecord.of_xcoms(dag_id, *key, {row.key: _plain(row.value) for row in group})
        for key, group in groupby(rows, lambda row: (row.run_id, row.task_id, row.map_index))
    )
    return [model for model in found if model is not None]


def _plain(value: Any) -> Any:
    """An XCom's value as JSON, whether it was stored so or as text; never an object of a class that it names."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


def by_task(models: Iterable[ModelRecord]) -> list[list[ModelRecord]]:
    """The models of each task and map index, one per period, in the order of the periods.

    Of a period's attempts the newest counts; of the runs that returned it, the one that made it, not those that reused it.
    """
    tasks: dict[tuple[str, int], dict[str, ModelRecord]] = {}
    for model in sorted(models, key=lambda model: (model.task_id, model.map_index, model.attempt.period, model.attempt.name)):
        tasks.setdefault((model.task_id, model.map_index), {})[model.attempt.period] = model
    return [list(periods.values()) for periods in tasks.values()]
