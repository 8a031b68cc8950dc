"""The models that one DAG run has trained, with the way to their reports."""

from __future__ import annotations

import html
from collections.abc import Sequence

from airflow_provider_distkeras.contract.html import page
from airflow_provider_distkeras.plugins.models import ModelRecord
from airflow_provider_distkeras.plugins.table import period, report_link, spread


def run_page(run_id: str, models: Sequence[ModelRecord]) -> str:
    """A row per model.

    Args:
        run_id: the run.
        models: what it has trained.
    """
    if not models:
        return page("Training reports", f"<p>{html.escape(run_id)} has trained no model, or not yet.</p>")
    lines = []
    for model in models:
        metrics = ", ".join(f"{metric} {spread(model, metric)}" for metric in model.metrics)
        cells = (model.task, period(model.attempt.period), metrics)
        columns = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        lines.append(f"<tr>{columns}<td>{report_link(model)}</td></tr>")
    head = "<tr><th>task</th><th>period</th><th>metrics, mean ± std over the folds</th><th>report</th></tr>"
    table = f'<div class="scroll"><table>{head}{"".join(lines)}</table></div>'
    return page("Training reports", f"<p>{html.escape(run_id)}</p>\n{table}")
