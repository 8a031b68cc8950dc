"""The Jinja environment of the plugin's pages."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, DictLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from airflow_provider_distkeras.contract.html import PAGE_TEMPLATE
from airflow_provider_distkeras.plugins import formatting


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
        period=formatting.format_period,
        number=formatting.format_number,
        spread=formatting.format_spread,
        report_url=formatting.report_url,
    )
    return environment
