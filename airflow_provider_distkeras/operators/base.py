"""The base of the operators: spec -> spark-submit -> manifest -> XCom."""

from __future__ import annotations

import json
import time
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, Asset

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt, point_current
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.artifacts.request import is_answer
from airflow_provider_distkeras.contract.errors import ArtifactError, JobError, SpecError
from airflow_provider_distkeras.contract.fields import choice
from airflow_provider_distkeras.contract.params.choices import IF_EXISTS
from airflow_provider_distkeras.contract.specs import Spec
from airflow_provider_distkeras.contract.specs.paths import uri
from airflow_provider_distkeras.hooks.errors import airflow_errors, job_error, record_failure
from airflow_provider_distkeras.hooks.spark_application import ClusterError
from airflow_provider_distkeras.hooks.storage import configured_root, made_home_root, storage_for
from airflow_provider_distkeras.lineage.mixin import LineageMixin
from airflow_provider_distkeras.links.spark import restore_links
from airflow_provider_distkeras.operators.application import SparkApplicationOperator
from airflow_provider_distkeras.operators.job_run import JobRun, has_committed
from airflow_provider_distkeras.operators.map_key import claim_segment, segment_of
from airflow_provider_distkeras.operators.reuse import committed_result
from airflow_provider_distkeras.operators.templates import is_constant

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.sdk.definitions.xcom_arg import PlainXComArg

_check_if_exists = choice("value", IF_EXISTS)


class DistKerasBaseOperator(LineageMixin, SparkApplicationOperator):
    """Run one job of this package on Spark and return the result in its manifest.

    An operator sets `spec_class` and overrides `check_inputs`, and where it needs to `resolve` and `conclude`. Beside the
    parameters below, it takes those of `SparkApplicationOperator` and `SparkResourcesOperator`.

    The last line of an operator's `__init__` is `self.check_constants()`, so that a wrong argument is an error of the DAG file.

    :param artifact_root: Where artifacts are written: a path or URI that Airflow and Spark can both reach. Default: the Airflow
        option [distkeras] artifact_root; for a local Spark master, else, {AIRFLOW_HOME}/distkeras. (templated)
    :param if_exists: If the period has a committed result: "overwrite" it with a new attempt, "reuse" it if it answers the same
        request on the same inputs, or "fail". (templated)
    :param map_key: A text that names the segment of the data that a mapped task is about, such as a city: its artifacts and
        its models are filed and shown by it, whatever the map index. Default: what `map_index_template` renders, else the map
        index. (templated)
    """

    #: The spec of the job; each of its fields is an argument of the operator, or is resolved.
    spec_class: ClassVar[type[Spec]]
    #: The fields of the spec that hold paths.
    path_fields: ClassVar[tuple[str, ...]] = ()

    template_fields = (*SparkApplicationOperator.template_fields, "artifact_root", "if_exists", "map_key")

    if TYPE_CHECKING:
        # Airflow declares less than it returns; with this, a type checker takes `task.output["model_path"]`.
        output: PlainXComArg

    def __init__(
        self,
        *,
        artifact_root: str | None = None,
        if_exists: str = "overwrite",
        map_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.artifact_root = artifact_root
        self.if_exists = if_exists
        self.map_key = map_key

    def check_constants(self) -> None:
        """Check the arguments that hold no template; the others, and that paths exist, are checked when the task runs.

        Raises:
            SpecError: An argument is wrong.
        """
        if is_constant(self.if_exists):
            _check_if_exists("if_exists", self.if_exists)
        self.check_spark_arguments(rendered=False)
        for name in ("artifact_root", *self.path_fields):
            value = getattr(self, name, None)
            for path in value if isinstance(value, list) else [value]:
                if isinstance(path, str) and path and is_constant(path):
                    uri(name, path)
        names = [f.name for f in fields(self.spec_class) if f.name not in self.path_fields and hasattr(self, f.name)]
        arguments = {name: value for name in names if (value := getattr(self, name)) is not None}
        constants = {name: value for name, value in arguments.items() if is_constant(value)}
        self.spec_class.cast(constants)
        required = self.spec_class.required()
        if len(constants) == len(arguments) and {*required} <= {*constants, *self.path_fields}:
            paths = {name: "/known/later" for name in self.path_fields if name in required or getattr(self, name) is not None}
            self.spec_class.build(**constants, **paths)

    def resolve(self, run: JobRun) -> dict[str, Any]:
        """Return the fields of the spec that no argument holds but the state of the root when the task runs, as a champion's."""
        return {}

    def check_inputs(self, run: JobRun) -> dict[str, str]:
        """Return a fingerprint per input file of `run.spec`; raise SpecError or DataError if the job cannot read its inputs.

        If the answer is at hand without a job, set `run.result`.
        """
        raise NotImplementedError

    def conclude(self, run: JobRun) -> dict[str, Any]:
        """Publish the result of a run, new or reused, to assets and lineage, and return it."""
        assert run.result is not None
        self._finished = (run.request, run.result)
        self.log.info("Result: %s", json.dumps(run.result, default=str))
        spec, period = run.spec, run.request.attempt.period
        segment = {"map_key": run.segment} if isinstance(run.segment, str) else {}
        uri = run.result[spec.main_artifact]
        details = {"uri": uri, "kind": spec.kind, "period": period, "spec_sha256": spec.sha256, **segment, **run.event_details}
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                run.context["outlet_events"][outlet].extra = {**run.result, **details}
        return run.result

    def execute(self, context: Context) -> dict[str, Any]:  # type: ignore[override]  # the provider's returns nothing
        """Run the job, or reuse its committed result; return the manifest's result."""
        self.pushed_links, self._started_at, self._finished = {}, time.time(), None
        run = self._run = JobRun(context)
        for link in self.operator_extra_links:
            url = link.initial_url(context["ti"])
            if url is not None:
                self._push_link(context, type(link), url)
        job_log = self._job_log(context)
        with job_log.report(), airflow_errors():
            if_exists = _check_if_exists("if_exists", self.if_exists)
            run.segment = claim_segment(self, self.map_key, context)
            self.cast_resources()
            hook = self._hook = self._submit_hook(job_log)
            if self._killed:  # the signal came before there was a hook
                hook.kill(None, None)
            run.root = self._resolve_root(hook.master)
            run.spec = self._build_spec(self.resolve(run))
            run.inputs, run.attempt = self.check_inputs(run), run.name_attempt()
            reads_files = "input_path" in self.path_fields
            run.result = committed_result(run.request, if_exists, self.log, reads_files=reads_files) or run.result
            if run.result is None:
                self._submit(run, hook, self.spark_properties(context))
                run.result = self._read_result(run)
            return self.conclude(run)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Return what `execute` would have, after the trigger's event, in a new process."""
        with self._job_log(context).report(), airflow_errors():
            self.pushed_links, attempt = restore_links(self.operator_extra_links, context["ti"]), Attempt(**event["attempt"])
            if event["outcome"] == "timeout":
                raise AirflowTaskTimeout(event["message"])
            if event["outcome"] == "unreachable":
                raise ClusterError(event["message"])
            if event["outcome"] != "succeeded" and not has_committed(attempt):
                cause = job_error(attempt) or JobError(event["message"])
                record_failure(attempt, cause)
                raise cause
            run = self._run = JobRun.of_attempt(context, attempt, segment_of(self, self.map_key, context))
            run.result = self._read_result(run)
            return self.conclude(run)

    def _read_result(self, run: JobRun) -> dict[str, Any]:
        """Return the committed result; an exit code of 0 without a manifest is a failure."""
        attempt = run.request.attempt
        storage = storage_for(attempt.path)
        try:
            manifest = Manifest.read(storage, attempt.manifest_path)
        except ArtifactError as error:
            record_failure(attempt, error)
            raise
        if not is_answer(storage, attempt, manifest, run.spec):
            raise ArtifactError(f"The manifest at {attempt.manifest_path} answers another request than this task's.")
        point_current(storage, attempt.period_path)  # the job may have been killed before it did
        return {**manifest.result, "manifest_path": attempt.manifest_path}

    def _build_spec(self, resolved: dict[str, Any]) -> Spec:
        """Return the spec of the resolved fields and the rendered arguments; those that are None take the spec's default."""
        values = {f.name: resolved[f.name] if f.name in resolved else getattr(self, f.name) for f in fields(self.spec_class)}
        for name in (f.name for f in fields(self.spec_class) if f.name in self.path_fields and f.default_factory is MISSING):
            if isinstance(values[name], str) and values[name].strip() in ("", "None"):
                raise SpecError(
                    f"{name}: expected a path, received {values[name]!r}: its template found nothing, such as no XCom."
                )
        return self.spec_class.build(**{name: value for name, value in values.items() if value is not None})

    def _resolve_root(self, master: str) -> str:
        root = self.artifact_root or configured_root()
        if not root and master.startswith("local"):
            root = made_home_root()
        if not root:
            raise SpecError(
                f"No artifact_root: the Spark master is {master!r}, so name a place that its machines and Airflow can read and "
                "write: set artifact_root, or the Airflow option [distkeras] artifact_root, such as s3a://my-bucket/distkeras."
            )
        return uri("artifact_root", root)
