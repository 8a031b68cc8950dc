"""The plugin that Airflow discovers."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_distkeras.plugins import tabs


class DistKerasPlugin(AirflowPlugin):
    """The plugin of the pages: every Airflow process loads this class, only the API server asks for its app."""

    name = "distkeras"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The app, built on first use."""
        from airflow_provider_distkeras.plugins.app import create_app

        return [{"app": create_app(), "url_prefix": tabs.URL_PREFIX, "name": self.name}]

    @cached_property
    def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The tabs on each DAG, DAG run and task instance."""
        return tabs.external_views()
