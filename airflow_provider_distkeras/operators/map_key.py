"""The segment of the data that a mapped task is about: its map key, else its rendered map index, else its map index."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from airflow_provider_distkeras.contract.artifacts.map_key import MapKey
from airflow_provider_distkeras.contract.errors import SpecError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

#: What templates render that have found nothing.
_NOTHING = ("", "None")


def segment_of(operator: BaseOperator, map_key: str | None, context: Context) -> int | str:
    """Return the key that names the segment, or the map index where there is none; -1 for a task that is not mapped.

    Raises:
        SpecError: The operator has a key, but its template has found nothing.
    """
    if map_key is not None:
        key = str(map_key).strip()
        if key in _NOTHING:
            raise SpecError(f"map_key: expected a text, received {key!r}: its template found nothing, such as no Param.")
        return key
    index = context["ti"].map_index
    if index is None or index < 0:
        return -1
    label, template = "", context.get("map_index_template")
    with contextlib.suppress(TemplateError):  # it may name what is known only when the task has ended
        label = "" if template is None else str(operator.render_template(template, context)).strip()
    return index if label in _NOTHING else label


def claim_segment(operator: BaseOperator, map_key: str | None, context: Context) -> int | str:
    """Return the segment of `segment_of`, and push its key for Airflow's pages and for the other task instances of the run.

    Raises:
        SpecError: Another task instance of this run has the key.
    """
    segment, ti = segment_of(operator, map_key, context), context["ti"]
    if isinstance(segment, int):
        if segment >= 0:
            operator.log.info(
                "Artifacts of this mapped task are filed by its map index, %d. If the list that it is mapped over changes, "
                "another segment has this index: set map_key, or map_index_template, to a text that names the segment.",
                segment,
            )
        return segment
    own = MapKey(segment, -1 if ti.map_index is None else ti.map_index, getattr(context["dag_run"], "clear_number", None) or 0)
    ti.xcom_push(key=MapKey.XCOM, value=own.to_dict())
    pulled = ti.xcom_pull(task_ids=ti.task_id, key=MapKey.XCOM)
    for value in pulled if isinstance(pulled, list) else [pulled]:
        other = MapKey.from_xcom(value)
        if other is not None and own.is_taken_by(other):
            raise SpecError(
                f"map_key: expected a text of its own for each task instance, received {segment!r} for the map indexes "
                f"{other.map_index} and {own.map_index}. Set map_key to a text that tells the segments apart."
            )
    operator.log.info("Artifacts of this task are filed by its map key, %r.", segment)
    return segment
