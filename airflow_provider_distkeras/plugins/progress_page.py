"""The page of a task instance without a report: its progress, or why it failed."""

from __future__ import annotations

import json
from datetime import datetime

from airflow_provider_distkeras.contract.artifacts.progress import PROGRESS, Progress
from airflow_provider_distkeras.plugins.rendering import render


def find_progress_page(dag_id: str, run_id: str, task_id: str, map_index: int) -> str | None:
    """Return the page of a task instance; None if its state is not recorded, or it is done."""
    try:
        from airflow.models.task_state_store import TaskStateStoreModel as State
    except ImportError:  # before Airflow 3.3
        return None
    from airflow.utils.session import create_session
    from sqlalchemy import select

    instance = (State.dag_id == dag_id, State.run_id == run_id, State.task_id == task_id, State.map_index == map_index)
    with create_session() as session:
        row = session.execute(select(State.value, State.updated_at).where(*instance, State.key == PROGRESS)).first()
    return None if row is None else progress_page(row.value, row.updated_at)


def progress_page(state: str, updated_at: datetime) -> str | None:
    """Return the page for a task's state as HTML; None if the task is done, or no operator wrote the state.

    Args:
        state: the progress, or the error, as JSON.
        updated_at: when the operator wrote it.
    """
    try:
        fields = json.loads(state)
        error = fields.pop("error", None)
        progress = Progress.from_dict(fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if progress.percent == 100:
        return None
    lines = [str(error)] if error else str(progress).split(" | ")
    return render("progress.html.jinja", lines=lines, updated_at=updated_at)


def empty_page() -> str:
    """Return the page of a task instance that has neither a report nor a progress, as HTML."""
    return render("progress.html.jinja", lines=[])
