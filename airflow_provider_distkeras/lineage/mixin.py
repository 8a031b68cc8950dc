"""The operators' side of OpenLineage; it needs Airflow's OpenLineage provider only where that is installed and used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.openlineage.utils.spark import (
    inject_parent_job_information_into_spark_properties,
    inject_transport_information_into_spark_properties,
)

from airflow_provider_distkeras.contract.artifacts.champions import names_champion

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_distkeras.contract.artifacts.request import Request


class LineageMixin:
    """The methods of an operator that OpenLineage's listener calls, and the properties for OpenLineage's listener in Spark."""

    #: The fields of the spec that hold paths to read.
    path_fields: ClassVar[tuple[str, ...]] = ()
    #: Those of them that may hold the name of a champion, instead of a path.
    champion_fields: ClassVar[tuple[str, ...]] = ()
    conf: dict[str, Any] | None
    _openlineage_inject_parent_job_info: bool
    _openlineage_inject_transport_info: bool
    #: The request of a finished run, and its result.
    _finished: tuple[Request, dict[str, Any]] | None = None

    def get_openlineage_facets_on_start(self) -> OperatorLineage:
        """Return the datasets that the task is to read, from its arguments."""
        from airflow_provider_distkeras.lineage import facets

        return facets.started(self.paths_to_read())

    def paths_to_read(self) -> list[Any]:
        """Return the arguments that are paths, lists of paths, or empty; the name of a champion is no path."""
        values = {name: getattr(self, name) for name in self.path_fields if hasattr(self, name)}
        return [value for name, value in values.items() if name not in self.champion_fields or not names_champion(value)]

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage:
        """Return what the task has read and written, from request and manifest; of a failed one, what it was to read."""
        from airflow_provider_distkeras.lineage import facets

        if self._finished is None:
            return self.get_openlineage_facets_on_start()
        request, result = self._finished
        return facets.completed(request, result, self.path_fields)

    def spark_properties(self, context: Context) -> dict[str, Any]:
        """Return the task's Spark properties with those of OpenLineage, where they are configured.

        The provider adds them as well, but with API keys on the command line.
        """
        properties = dict(self.conf or {})
        if self._openlineage_inject_parent_job_info:
            properties = inject_parent_job_information_into_spark_properties(properties, context)
        if self._openlineage_inject_transport_info:
            properties = inject_transport_information_into_spark_properties(properties, context)
        self._openlineage_inject_parent_job_info = self._openlineage_inject_transport_info = False
        return properties
