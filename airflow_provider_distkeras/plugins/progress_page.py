"""How far a task is, or why it failed, for as long as there is no report of it."""

from __future__ import annotations

import html
import json
from datetime import datetime

from airflow_provider_distkeras.contract.artifacts.progress import PROGRESS, Progress
from airflow_provider_distkeras.contract.html import page


def find_progress_page(dag_id: str, run_id: str, task_id: str, map_index: int) -> str | None:
    """The page of a task instance; None if nothing is known of it, or it is done."""
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


def progress_page(state: str, at: datetime) -> str | None:
    """What a task's state says, as its operator wrote it; None if that is nothing, or that it is done."""
    try:
        said = json.loads(state)
        error = said.pop("error", None)
        progress = Progress.from_dict(said)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if progress.percent == 100:
        return None
    told = [f"{error}"] if error else str(progress).split(" | ")
    items = "".join(f"<li>{html.escape(part)}</li>" for part in told)
    return page("Training report", f"<p>There is none yet. At {at:%Y-%m-%d %H:%M:%S %Z}, the task told:</p><ul>{items}</ul>")
