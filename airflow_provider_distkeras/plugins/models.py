"""The models that the runs of a DAG have trained, from the XComs of their tasks."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from airflow_provider_distkeras.contract.artifacts.artifact_ref import ArtifactRef
from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.map_key import MapKey
from airflow_provider_distkeras.contract.json_object import MAX_NUMBER

#: The latest runs that a page reads, and the most XComs of theirs.
MAX_RUNS = 200
_MAX_XCOMS = 30_000
#: The keys that only a train task pushes together.
_KEYS = ("model_path", "report_path", "metrics", MapKey.XCOM)


@dataclass(frozen=True)
class ModelRecord:
    """A model that a train task returned.

    Attributes:
        dag_id, run_id, task_id, map_index: the task instance.
        model_path: the model's folder.
        metrics: by metric, `mean`, `std` and, where rows were set aside, `test`.
        root: the artifact root.
        attempt: the attempt below the root that wrote the model.
        map_key: the text that names the segment of the data; empty if the task instance has none.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    model_path: str
    metrics: dict[str, Any]
    root: str
    attempt: Attempt
    map_key: str = ""

    @classmethod
    def from_xcoms(cls, dag_id: str, run_id: str, task_id: str, map_index: int, xcoms: dict[str, Any]) -> ModelRecord | None:
        """Return the model of a task's XComs; None if no train task pushed them, or the path is not that of its own model."""
        path, metrics = xcoms.get("model_path"), xcoms.get("metrics")
        if "report_path" not in xcoms or not isinstance(path, str) or not isinstance(metrics, dict):
            return None
        ref = ArtifactRef.parse(path)
        map_key = map_key_of(xcoms)
        root = ref.root_of(dag_id, task_id, map_key or map_index)
        return None if root is None else cls(dag_id, run_id, task_id, map_index, path, metrics, root, ref.attempt, map_key)

    @property
    def segment(self) -> int | str:
        """The map key, or the map index where there is none."""
        return self.map_key or self.map_index

    @property
    def task(self) -> str:
        """The task's name, with the segment of a mapped task."""
        return self.task_id if self.segment == -1 else f"{self.task_id} [{self.segment}]"

    def statistic(self, metric: str, name: str) -> float | None:
        """Return a statistic of a metric, such as the mean of r2; None if it is missing, or no number that can be drawn."""
        statistics = self.metrics.get(metric)
        value = statistics.get(name) if isinstance(statistics, dict) else None
        return float(value) if isinstance(value, int | float) and abs(value) < MAX_NUMBER else None


def find_missing(dag_id: str, run_id: str | None = None, task_id: str | None = None) -> str | None:
    """Return a sentence on the first of a DAG, its run and the run's task that does not exist; None if all do.

    A DAG that was removed exists while it has a run.
    """
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import exists, or_, select

    if "\0" in f"{dag_id}{run_id}{task_id}":  # which not every database takes
        return "No DAG, run or task has a name with the character NUL."
    is_dag = or_(exists().where(DagModel.dag_id == dag_id), exists().where(DagRun.dag_id == dag_id))
    is_run = exists().where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    of_run = (TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
    is_task = exists().where(*of_run, TaskInstance.task_id == task_id)
    with create_session() as session:
        if not session.scalar(select(is_dag)):
            return f"There is no DAG {dag_id}, so none of its runs has trained a model."
        if run_id is not None and not session.scalar(select(is_run)):
            return f"The DAG {dag_id} has no run {run_id}, so none of its tasks has trained a model."
        if task_id is not None and not session.scalar(select(is_task)):
            return f"The run {run_id} of the DAG {dag_id} has no task {task_id}, so there is no report of one."
    return None


def find_models(dag_id: str, run_id: str | None = None) -> list[ModelRecord]:
    """Return the models that the latest runs of a DAG have trained, those of the latest run first.

    Args:
        dag_id: the DAG.
        run_id: a run of the DAG; None reads the latest runs.
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
    models = (
        ModelRecord.from_xcoms(dag_id, *key, {row.key: decode(row.value) for row in group})
        for key, group in groupby(rows, lambda row: (row.run_id, row.task_id, row.map_index))
    )
    return [model for model in models if model is not None]


def map_key_of(xcoms: dict[str, Any]) -> str:
    """Return the map key that a task instance has pushed; empty if it has none."""
    key = MapKey.from_xcom(xcoms.get(MapKey.XCOM))
    return "" if key is None else key.text


def decode(value: Any) -> Any:
    """Return an XCom's value as JSON, whether it was stored as JSON or as text; never an object of a class that it names."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def by_task(models: Iterable[ModelRecord]) -> list[list[ModelRecord]]:
    """Return the models of each task and segment, one per period, in the order of the periods.

    Of a period's attempts, the newest counts. Of the runs that returned it, the one that made it counts, not one that reused it.
    """
    tasks: dict[tuple[str, int | str], dict[str, ModelRecord]] = {}
    for model in sorted(models, key=_order):
        tasks.setdefault((model.task_id, model.segment), {})[model.attempt.period] = model
    return [list(periods.values()) for periods in tasks.values()]


def _order(model: ModelRecord) -> tuple[Any, ...]:
    """Return what models are sorted by: segments of a task by map index, then those with a key by that."""
    index = 0 if model.map_key else model.map_index
    return model.task_id, model.map_key, index, model.attempt.period, model.attempt.name
