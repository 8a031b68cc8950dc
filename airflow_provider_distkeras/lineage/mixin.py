"""What OpenLineage hears of a task, and what it wants told to Spark, where Airflow's OpenLineage provider is installed."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.openlineage.utils.spark import (
    inject_parent_job_information_into_spark_properties,
    inject_transport_information_into_spark_properties,
)
from airflow.providers.common.compat.sdk import mask_secret

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_distkeras.contract.artifacts.request import Request

#: Properties of OpenLineage's listener in Spark that may hold a secret: how it logs in, and the headers it sends.
_SECRET = re.compile(r"spark\.openlineage\.transport\.(?:.*\.)?(?:auth\.(?!type$)|headers\.)")
#: Spark's own pattern of what its UI and its event log hide, and the above.
_REDACTED = rf"(?i)secret|password|token|access[.]?key|{_SECRET.pattern}"


class LineageMixin:
    """The part of an operator that speaks to OpenLineage. Nothing of it runs, or is imported, without the provider."""

    #: The fields of the spec that hold paths: what is read.
    path_fields: ClassVar[tuple[str, ...]] = ()
    conf: dict[str, Any] | None
    properties_file: str | None
    _openlineage_inject_parent_job_info: bool
    _openlineage_inject_transport_info: bool
    _published: tuple[Request, dict[str, Any]] | None = None

    def get_openlineage_facets_on_start(self) -> OperatorLineage:
        """What the task is going to read, as far as its arguments tell."""
        from airflow_provider_distkeras.lineage import facets

        return facets.started([getattr(self, name) for name in self.path_fields if hasattr(self, name)])

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage:
        """What the task has read and made, from the request and the manifest; of one that failed, what it was to read."""
        from airflow_provider_distkeras.lineage import facets

        if self._published is None:
            return self.get_openlineage_facets_on_start()
        request, result = self._published
        return facets.completed(request, result, self.path_fields)

    def tell_spark_of_lineage(self, context: Context, directory: Path) -> None:
        """Add to the Spark properties what OpenLineage's listener in Spark needs to know, where that is asked for.

        The provider does this as well, but to its own hook, and with API keys on the command line. Here they go to a properties
        file that only this user can read.

        Args:
            context: the task's.
            directory: for the properties file; readable for this user alone.
        """
        properties = dict(self.conf or {})
        if self._openlineage_inject_parent_job_info:
            properties = inject_parent_job_information_into_spark_properties(properties, context)
        if self._openlineage_inject_transport_info:
            properties = inject_transport_information_into_spark_properties(properties, context)
        self._openlineage_inject_parent_job_info = self._openlineage_inject_transport_info = False
        secrets = {name: str(properties.pop(name)) for name in [*properties] if _SECRET.match(name)}
        if secrets:
            self.properties_file = str(self._with_secrets(secrets, directory))
        self.conf = properties

    def _with_secrets(self, secrets: dict[str, str], directory: Path) -> Path:
        """A properties file of the properties that would be read anyway, and these."""
        mask_secret(list(secrets.values()))
        added = {"spark.redaction.regex": _REDACTED, **secrets}
        lines = [f"{name}={value}".replace("\\", "\\\\") for name, value in added.items()]
        read_anyway = Path(self.properties_file) if self.properties_file else _spark_defaults()
        defaults = read_anyway.read_text() if self.properties_file or read_anyway.is_file() else ""
        file = directory / "spark.properties"
        file.touch(mode=0o600)
        file.write_text("\n".join([defaults, *lines, ""]))
        return file


def _spark_defaults() -> Path:
    """Where spark-submit looks for properties if it is told no file."""
    submit = shutil.which("spark-submit") or ""
    home = os.environ.get("SPARK_HOME") or str(Path(submit).resolve().parents[1] if submit else "")
    return Path(os.environ.get("SPARK_CONF_DIR") or os.path.join(home, "conf")) / "spark-defaults.conf"
