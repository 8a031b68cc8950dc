"""SparkSubmitOperator with templated resources."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import Field, integer, memory, text
from airflow_provider_distkeras.contract.secrets import holds_credentials
from airflow_provider_distkeras.hooks.process import REDACTION, mask_secrets, read_redaction, split_secrets
from airflow_provider_distkeras.operators.templates import is_constant

_INTEGERS = ("total_executor_cores", "executor_cores", "num_executors", "status_poll_interval")
_TEXTS = ("conn_id", "archives", "repositories", "spark_binary", "yarn_queue", "deploy_mode")
_MEMORIES = ("executor_memory", "driver_memory")
#: What may hold URIs, and stands among the arguments of spark-submit.
_URIS = (
    "archives", "driver_class_path", "exclude_packages", "files", "jars", "keytab", "name", "packages", "principal",
    "properties_file", "proxy_user", "py_files", "repositories",
)  # fmt: skip
_A_DICT = "a dict (of a template that is a whole dict, Airflow makes one with the DAG's render_template_as_native_obj=True)"
_TYPES = {
    **dict.fromkeys(_URIS, (str, "a text, of several values with commas between them")),
    "conf": (dict, _A_DICT),
    "env_vars": (dict, _A_DICT),
    "post_submit_commands": (list | tuple, "a list of texts"),
}


class SparkResourcesOperator(SparkSubmitOperator):
    """SparkSubmitOperator whose resources may be templates.

    Beside the parameters below, it takes those of SparkSubmitOperator, less `application`, `application_args` and `java_class`,
    which are this package's own.

    :param conn_id: The Spark connection; it must exist. (templated)
    :param archives: Archives to unpack beside each executor, comma-separated. (templated)
    :param repositories: Where to look for `packages`, comma-separated. (templated)
    :param total_executor_cores: Cores of all executors together, on a standalone cluster. (templated)
    :param executor_cores: Cores per executor. (templated)
    :param executor_memory: Memory per executor, such as 2g. (templated)
    :param driver_memory: Memory of the driver, such as 2g. (templated)
    :param num_executors: Number of executors. (templated)
    :param status_poll_interval: Seconds between two looks at a job in cluster mode. (templated)
    :param spark_binary: Another spark-submit than the installed pyspark's. (templated)
    :param yarn_queue: The YARN queue. (templated)
    :param deploy_mode: client or cluster; default: the connection's. (templated)
    :param name: The Spark application's name; default: the DAG, the task and the period. (templated)
    """

    template_fields = (
        *(f for f in SparkSubmitOperator.template_fields if f not in ("application", "application_args")),
        *_INTEGERS,
        *_TEXTS,
        *_MEMORIES,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"conf": "json", "env_vars": "json"}

    def __init__(
        self,
        *,
        conn_id: str = "spark_default",
        archives: str | None = None,
        repositories: str | None = None,
        total_executor_cores: int | str | None = None,
        executor_cores: int | str | None = None,
        executor_memory: str | None = None,
        driver_memory: str | None = None,
        num_executors: int | str | None = None,
        status_poll_interval: int | str = 10,
        spark_binary: str | None = None,
        yarn_queue: str | None = None,
        deploy_mode: str | None = None,
        name: str = "",
        multiple_outputs: bool = True,
        **kwargs: Any,
    ) -> None:
        own = {"application", "application_args", "java_class"} & kwargs.keys()
        if own:
            raise TypeError(f"{type(self).__name__} runs the packaged job and takes no {', '.join(sorted(own))}.")
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        self.conn_id = conn_id
        self.archives = archives
        self.repositories = repositories
        self.total_executor_cores = total_executor_cores
        self.executor_cores = executor_cores
        self.executor_memory = executor_memory
        self.driver_memory = driver_memory
        self.num_executors = num_executors
        self.status_poll_interval = status_poll_interval
        self.spark_binary = spark_binary
        self.yarn_queue = yarn_queue
        self.deploy_mode = deploy_mode
        self.name = name

    def _do_render_template_fields(self, parent: Any, *args: Any, **kwargs: Any) -> None:
        """Render the templates of a task, mapped or not, and have Airflow hide the secrets among the results, which it shows."""
        super()._do_render_template_fields(parent, *args, **kwargs)
        if parent is not self:  # a part of an argument
            return
        values = [getattr(self, name) for name in self.template_fields]
        parts = [part for value in values for part in (value if isinstance(value, list | tuple) else [value])]
        refused = [part for part in parts if isinstance(part, str) and holds_credentials(part)]
        mask_secrets(self.conf, self.env_vars, self.post_submit_commands, refused)
        conf = self.conf if isinstance(self.conf, dict) else {}
        for name in ("conf", "env_vars"):
            if isinstance(argument := getattr(self, name), dict):
                setattr(self, name, argument | split_secrets(argument, conf)[1])  # as texts: Airflow hides no numbers

    def check_spark_arguments(self, *, rendered: bool) -> None:
        """Raise SpecError for an argument of spark-submit of another type, or with a password that it would show.

        Args:
            rendered: The templates are rendered; otherwise arguments with templates are left out.
        """
        for name, (kind, expected) in _TYPES.items():
            value = getattr(self, name)
            if value is None or not (rendered or is_constant(value)):
                continue
            if not isinstance(value, kind):
                raise SpecError(f"{name}: expected {expected}, received what is of the type {type(value).__name__}.")
            if name in _URIS and holds_credentials(value):
                raise SpecError(
                    f"{name}: expected URIs without user and password, or signature, for they are stored and shown; received one "
                    "with them. Set Spark properties in conf in its place, which keeps secrets in a file of their own: those of "
                    "the file system, such as spark.hadoop.fs.s3a.access.key, or spark.jars.repositories."
                )
        if isinstance(self.conf, dict) and (rendered or is_constant(self.conf.get(REDACTION))):
            read_redaction(self.conf)

    def cast_resources(self) -> None:
        """Set the provider's attributes to the rendered resources, in the types that its hook expects; an empty text is None.

        Raises:
            SpecError: A resource is not of its type, or a URI has a password.
        """
        self.check_spark_arguments(rendered=True)
        for check, names in ((integer(1), _INTEGERS), (text, _TEXTS), (memory, _MEMORIES)):
            for name in names:
                value = getattr(self, name)
                is_set = value is not None and str(value).strip() not in ("", "None")
                setattr(self, f"_{name}", Field(check, None, "").cast(name, value) if is_set else None)
        self._status_poll_interval = self._status_poll_interval or 10
