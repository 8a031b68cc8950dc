"""The page of a task instance without a report: its progress, or why it failed."""

from __future__ import annotations

from datetime import datetime

from airflow_provider_distkeras.contract.artifacts.progress import PROGRESS, Progress
from airflow_provider_distkeras.contract.errors import MalformedError
from airflow_provider_distkeras.contract.json_object import check_members, parse_object
from airflow_provider_distkeras.plugins.rendering import message_page, render

_NONE = "This task instance has no training report, or not yet."


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
    """Return the page for a task's state as HTML, in words where no operator wrote the state; None if the task is done.

    Args:
        state: the progress, or the error, as JSON.
        updated_at: when the operator wrote it.
    """
    try:
        progress, error = _parse(state)
    except MalformedError as reason:
        return message_page("Training report", _NONE, str(reason))
    if progress.percent == 100 and not error:
        return None
    lines = [error] if error else str(progress).split(" | ")
    return render("progress.html.jinja", lines=lines, updated_at=updated_at)


def empty_page() -> str:
    """Return the page of a task instance that has neither a report nor a progress, as HTML."""
    return message_page("Training report", _NONE)


def _parse(state: str) -> tuple[Progress, str]:
    """Return the progress and the error, or an empty text, that a state holds. Raises MalformedError."""
    what = "The state of the task"
    fields = parse_object(state, what)
    check_members(fields, {"error": str}, what)
    error = fields.pop("error", "")
    return Progress.from_dict(fields), error
