"""The page of a DAG run: the models that it has trained, with links to their reports."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_distkeras.plugins.models import ModelRecord
from airflow_provider_distkeras.plugins.rendering import render


def run_page(run_id: str, models: Sequence[ModelRecord]) -> str:
    """Return the page of a run as HTML, with a row per model that it has trained."""
    return render("run.html.jinja", run_id=run_id, models=models)
