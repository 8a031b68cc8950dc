"""The pages' templates, and how they show periods, metrics and links."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import ChoiceLoader, DictLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from airflow_provider_distkeras.contract.html import PAGE_TEMPLATE
from airflow_provider_distkeras.plugins.models import ModelRecord


def render(template: str, **values: Any) -> Markup:
    """Return a template of this room as HTML, with every value escaped.

    Args:
        template: the template's file name, such as "run.html.jinja".
        **values: the template's variables; a Markup, such as a chart, is inserted as it is.
    """
    return Markup(_environment().get_template(template).render(values))


def message_page(title: str, *sentences: str) -> Markup:
    """Return a page of sentences as HTML."""
    return render("message.html.jinja", title=title, sentences=sentences)


@cache
def _environment() -> Environment:
    loader = ChoiceLoader([DictLoader({"page": PAGE_TEMPLATE}), PackageLoader("airflow_provider_distkeras.plugins")])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        period=format_period,
        number=format_number,
        spread=format_spread,
        report_url=report_url,
    )
    return environment


def format_period(key: str) -> str:
    """Return a data period without its time of day if that is midnight."""
    return key.removesuffix("T000000Z")


def format_number(value: float | None) -> str:
    """Return a metric's value with four decimals, like the training report; very small and very large ones with four digits."""
    if value is None:
        return "-"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"


def format_spread(model: ModelRecord, metric: str) -> str:
    """Return the mean and the standard deviation of a metric over the folds, such as "0.9000 ± 0.0100"."""
    mean, std = model.statistic(metric, "mean"), model.statistic(metric, "std")
    return format_number(mean) if mean is None or std is None else f"{format_number(mean)} ± {format_number(std)}"


def report_url(model: ModelRecord) -> str:
    """Return the address of a model's training report, relative to the other pages, wherever Airflow is served."""
    query = {"run_id": model.run_id, "task_id": model.task_id, "map_index": model.map_index}
    return f"../report/{quote(model.dag_id, safe='')}?{urlencode(query)}"
