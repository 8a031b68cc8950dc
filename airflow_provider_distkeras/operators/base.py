"""What the operators share: spec -> spark-submit -> manifest -> XCom."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowNotFoundException,
    AirflowTaskTimeout,
    Asset,
    BaseHook,
    conf,
)

import airflow_provider_distkeras
from airflow_provider_distkeras.contract import params
from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.artifacts.request import SUBMITTERS, Request, is_answer
from airflow_provider_distkeras.contract.errors import ArtifactError, DistKerasError, JobError, SpecError
from airflow_provider_distkeras.contract.fields import Field, choice, integer, memory, text
from airflow_provider_distkeras.contract.files.storage import as_uri
from airflow_provider_distkeras.contract.period import period_key
from airflow_provider_distkeras.contract.specs import Spec
from airflow_provider_distkeras.hooks import log_filter, process, spark_application, spark_submit
from airflow_provider_distkeras.hooks.errors import airflow_errors, written_error
from airflow_provider_distkeras.hooks.job_log import JobLog
from airflow_provider_distkeras.hooks.storage import storage_for
from airflow_provider_distkeras.lineage.mixin import LineageMixin
from airflow_provider_distkeras.links.spark import HistoryServerLink, PushedLink, SparkUILink, history_server
from airflow_provider_distkeras.operators.reuse import committed_result
from airflow_provider_distkeras.operators.tracking import TrackingOperator

if TYPE_CHECKING:
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
    from airflow.providers.common.compat.sdk import BaseOperatorLink, Context
    from airflow.sdk.definitions.xcom_arg import PlainXComArg

_INTEGERS = ("total_executor_cores", "executor_cores", "num_executors", "status_poll_interval")
_TEXTS = ("conn_id", "archives", "repositories", "spark_binary", "yarn_queue", "deploy_mode")
_MEMORIES = ("executor_memory", "driver_memory")


class DistKerasBaseOperator(LineageMixin, TrackingOperator):
    """Run one job of this package on Spark and return what its manifest says.

    Beside the arguments below, those of SparkSubmitOperator are taken, less `application`, `application_args` and `java_class`,
    which are this package's own. In cluster mode, jobs are always tracked through the cluster's REST API.

    :param artifact_root: Where artifacts are written: a path or URI that Airflow and Spark can both reach. Default: the Airflow
        option [distkeras] artifact_root; for a local Spark master, else, {AIRFLOW_HOME}/distkeras. (templated)
    :param if_exists: If the period has a committed result: "overwrite" it with a new attempt, "reuse" it if it answers the same
        request on the same inputs, or "fail". (templated)
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
    :param deferrable: Wait in the triggerer, which holds no worker; in cluster mode only. Default: the Airflow option
        [operators] default_deferrable.
    """

    #: What the job is told; each of its fields is an argument of the operator.
    spec_class: ClassVar[type[Spec]]
    #: The fields of the spec that hold paths.
    path_fields: ClassVar[tuple[str, ...]] = ()

    template_fields = (
        *(f for f in TrackingOperator.template_fields if f not in ("application", "application_args")),
        *_INTEGERS,
        *_TEXTS,
        *_MEMORIES,
        "artifact_root",
        "if_exists",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"conf": "json", "env_vars": "json"}
    _job_output: JobLog
    operator_extra_links: tuple[BaseOperatorLink, ...] = (SparkUILink(), HistoryServerLink())

    if TYPE_CHECKING:
        # Airflow declares less than it returns; with this, a type checker takes `task.output["model_path"]`.
        output: PlainXComArg

    def __init__(
        self,
        *,
        artifact_root: str | None = None,
        if_exists: str = "overwrite",
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
        self.artifact_root = artifact_root
        self.if_exists = if_exists
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
        self.pushed_links: dict[str, str] = {}

    def execute(self, context: Context) -> dict[str, Any]:  # type: ignore[override]  # the provider's returns nothing
        """Run the job, or reuse its committed result; return the manifest's result, whatever way it came about."""
        self.pushed_links, self._attempt, self._external_id, self._started_at = {}, None, None, time.time()
        self.show_links(context)
        with self._follow(context).told(), airflow_errors():
            if_exists = choice("value", params.IF_EXISTS)("if_exists", self.if_exists)
            self._cast_resources()
            target = self._target()
            root = self._resolve_root(target["master"])
            spec = self._build_spec(self.resolve(context, root))
            inputs = self.check_inputs(spec)
            request = Request(spec, self._name_attempt(context, spec, root), inputs)
            result = self.existing_result(request, if_exists)
            if result is None:
                attempt = self._run(context, request, target)
                result = self._read_result(spec, attempt)
            return self.conclude(context, request, result)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on where the trigger has left off, knowing no more than its event; return what `execute` would have."""
        with self._follow(context).told(), airflow_errors():
            self.pushed_links, self._attempt = self._shown_links(context), Attempt(**event["attempt"])
            if event["outcome"] == "timeout":
                raise AirflowTaskTimeout(event["message"])
            if event["outcome"] == "unreachable":
                raise spark_application.ClusterError(event["message"])
            if event["outcome"] != "succeeded" and not self.has_committed(self._attempt):
                raise written_error(self._attempt) or AirflowException(event["message"])
            request = Request.read(storage_for(self._attempt.path), self._attempt)
            self.resume(context, request)
            return self.conclude(context, request, self._read_result(request.spec, self._attempt))

    def _shown_links(self, context: Context) -> dict[str, str]:
        """What was pushed before the task was deferred; Airflow would overwrite it with nothing."""
        ti, keys = context["ti"], [link.xcom_key for link in self.operator_extra_links]
        index = -1 if ti.map_index is None else ti.map_index
        shown = {key: ti.xcom_pull(task_ids=ti.task_id, key=key, map_indexes=index) for key in keys}
        return {key: url for key, url in shown.items() if url}

    def resume(self, context: Context, request: Request) -> None:
        """Find again what `resolve` had found, in a new process."""

    def conclude(self, context: Context, request: Request, result: dict[str, Any]) -> dict[str, Any]:
        """What is to be done about a result, whatever way it came about; the task returns it."""
        self.publish(context, request, result)
        return result

    def _follow(self, context: Context) -> JobLog:
        """What the task shows of its job from now on."""
        self._job_output = JobLog(self.log, context.get("task_state_store"), functools.partial(self.push_link, context))
        return self._job_output

    def show_links(self, context: Context) -> None:
        """Show what leads somewhere from the beginning of the task."""

    def resolve(self, context: Context, root: str) -> dict[str, Any]:
        """Fields of the spec that no argument says, but what is there when the task runs, such as a champion below the root."""
        return {}

    def check_inputs(self, spec: Spec) -> dict[str, str]:
        """Check what the job will read, as far as Airflow can see it; a fingerprint per input file."""
        raise NotImplementedError

    def _build_spec(self, resolved: dict[str, Any]) -> Spec:
        """The spec, of what was resolved and the rendered arguments; those that are None take the spec's default."""
        said = {f.name: resolved[f.name] if f.name in resolved else getattr(self, f.name) for f in fields(self.spec_class)}
        for name in self._required_paths():
            if isinstance(said[name], str) and said[name].strip() in ("", "None"):
                raise SpecError(f"{name}: expected a path, received {said[name]!r}: its template found nothing, such as no XCom.")
        return self.spec_class.build(**{name: value for name, value in said.items() if value is not None})

    def _required_paths(self) -> list[str]:
        return [f.name for f in fields(self.spec_class) if f.name in self.path_fields and f.default_factory is MISSING]

    def _cast_resources(self) -> None:
        """Give the provider's hook the rendered resources, in the types it expects; an empty text means none."""
        for check, names in ((integer(1), _INTEGERS), (text, _TEXTS), (memory, _MEMORIES)):
            for name in names:
                value = getattr(self, name)
                given = value is not None and str(value).strip() not in ("", "None")
                setattr(self, f"_{name}", Field(check, None, "").cast(name, value) if given else None)
        self._status_poll_interval = self._status_poll_interval or 10

    def _target(self) -> dict[str, Any]:
        """Where the job will run, as the provider's hook resolves it; never its silent fallback to YARN."""
        if self._conn_id is None:
            raise SpecError("conn_id: expected the id of a Spark connection, received nothing.")
        try:
            connection = BaseHook.get_connection(self._conn_id)
        except AirflowNotFoundException as error:
            raise SpecError(
                f"The Spark connection {self._conn_id!r} does not exist. Create it in the UI (Admin, Connections) or with: "
                f"airflow connections add {self._conn_id} --conn-type spark --conn-host 'local[*]' "
                "(or spark://host:7077, yarn, k8s://https://host:port)."
            ) from error
        if connection.conn_type != "spark":
            raise SpecError(f"The connection {self._conn_id!r} is of type {connection.conn_type!r}; expected a Spark connection.")
        if "k8s" in f"{connection.host}":
            spark_application.kube_client()  # the provider's hook cannot be made without it
        self._job_output.history_server = history_server(connection)
        hook = super()._get_hook()
        self.track(hook)
        target: dict[str, Any] = hook._connection
        if target["deploy_mode"] == "cluster" and str(target["master"]).startswith("local"):
            raise SpecError(f"deploy_mode: the master {target['master']!r} runs jobs in client mode only; leave deploy_mode out.")
        return target

    def period(self, context: Context) -> str:
        """The run's period of data."""
        dag_run = context["dag_run"]
        return period_key(getattr(dag_run, "partition_key", None), context.get("logical_date"), dag_run.run_after)

    def _name_attempt(self, context: Context, spec: Spec, root: str) -> Attempt:
        """A new attempt of this task at the run's data period. It is claimed when its request is written."""
        ti, period = context["ti"], self.period(context)
        # Clearing a task raises these, a retry does not: so a job that is tracked across retries is found again by them, but a
        # cleared task really runs again. max_tries alone stays as it was if the DAG has fewer retries by then.
        cleared = f"g{ti.max_tries}c{getattr(context['dag_run'], 'clear_number', None) or 0}"
        self.external_id_key = f"spark_job_id:{cleared}:{spec.sha256[:8]}"
        self.name = self.name or f"{ti.dag_id}.{ti.task_id} {period}"
        return Attempt.claim(
            root, ti.dag_id, ti.task_id, -1 if ti.map_index is None else ti.map_index, period,
            claimed_at=datetime.now(UTC), generation=ti.max_tries, try_number=ti.try_number, spec_sha256=spec.sha256,
        )  # fmt: skip

    def _resolve_root(self, master: str) -> str:
        root = self.artifact_root or conf.get("distkeras", "artifact_root", fallback="")
        if not root and master.startswith("local"):
            root = os.path.join(os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow")), "distkeras")
        if not root:
            raise SpecError(
                f"No artifact_root: the Spark master is {master!r}, so say where its machines and Airflow both can read and "
                "write: set artifact_root, or the Airflow option [distkeras] artifact_root, such as s3a://my-bucket/distkeras."
            )
        return as_uri(root)

    def existing_result(self, request: Request, if_exists: str) -> dict[str, Any] | None:
        """The period's committed result, where it is to be reused."""
        return committed_result(request, if_exists, self.log, reads_files="input_path" in self.path_fields)

    def _run(self, context: Context, request: Request, target: dict[str, Any]) -> Attempt:
        """Submit the job and wait for it; the attempt that it wrote into."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(spark_submit.variables(self._prepare_environment(target)))
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="distkeras-")))
            own = str(spark_submit.zip_package(directory))
            self.py_files = f"{own},{self.py_files}" if self.py_files else own
            package = Path(airflow_provider_distkeras.__file__).parent
            self.application = str(package / "jobs" / f"{request.spec.kind}.py")
            self.application_args = ["--spec", request.attempt.spec_path]
            self.tell_spark_of_lineage(context, directory)
            self._hook = self._watched_hook(context, request)
            try:
                super().execute(context)
            except DistKerasError:
                raise
            except Exception:
                self._raise_cause(context)
                raise
            finally:
                process.end_group(self._hook._submit_sp)
        return self.attempt_of_job(context)

    def _prepare_environment(self, target: dict[str, Any]) -> dict[str, str]:
        """Find what spark-submit needs; a spark-submit that the user named brings its own SPARK_HOME."""
        home = None
        if self._spark_binary is None and target["spark_binary"] == "spark-submit":
            home = spark_submit.find_spark_home()
            self._spark_binary = str(home / "bin" / "spark-submit")
        said = {key: str(value) for key, value in (self.env_vars or {}).items()}
        in_client = target["deploy_mode"] != "cluster"
        found = spark_submit.submit_environment(said, home, force_python=in_client)
        if not in_client:
            return found
        return {**found, **log_filter.quiet({**os.environ, **found}, home), SUBMITTERS: process.submitters()}

    def _watched_hook(self, context: Context, request: Request) -> SparkSubmitHook:
        """The provider's hook; it claims the attempt as it submits, in a process group of its own, and its output is watched."""
        hook = super()._get_hook()
        submit, read_log = hook.submit, hook._process_spark_submit_log
        in_cluster = hook._connection["deploy_mode"] == "cluster"

        @functools.wraps(submit)
        def claim_and_submit(application: str = "", **kwargs: Any) -> str | None:
            if self._killed:
                raise AirflowException("The task was killed before its job was submitted.")
            storage_for(request.attempt.path).write_bytes(request.attempt.spec_path, request.to_json().encode())
            self.remember_attempt(context, request.attempt)
            if in_cluster:
                self.lease(context, request.attempt).grant()
            try:
                return submit(application, start_new_session=True, **kwargs)
            except (FileNotFoundError, PermissionError) as error:
                raise SpecError(
                    f"spark_binary: expected a program to run, received {error.filename!r}: {error.strerror}."
                ) from error

        def read_watched(itr: Iterator[str]) -> None:
            read_log(self._job_output.read(itr, hook))

        hook.submit = claim_and_submit  # type: ignore[method-assign]
        hook._process_spark_submit_log = read_watched  # type: ignore[method-assign]
        return hook

    def _raise_cause(self, context: Context) -> None:
        """Raise the cause that the job wrote down, or that it was killed, if either is so."""
        error: DistKerasError | None = None
        with contextlib.suppress(ArtifactError):  # nothing was submitted
            error = written_error(self.attempt_of_job(context))
        killed = process.killed_by(self._hook._submit_sp if self._hook else None)
        if error is None and killed is not None:
            error = JobError(f"The Spark job was killed ({killed}) before it committed; the previous result is kept.")
        if error is not None:
            raise error from None  # the hook's own only repeats the output, which stands above

    def _read_result(self, spec: Spec, attempt: Attempt) -> dict[str, Any]:
        """What the job committed. An exit code of 0 without a manifest is a failure."""
        storage = storage_for(attempt.path)
        manifest = Manifest.read(storage, attempt.manifest_path)
        if not is_answer(storage, attempt, manifest, spec):
            raise ArtifactError(f"The manifest at {attempt.manifest_path} answers another request than this task's.")
        return {**manifest.result, "manifest_path": attempt.manifest_path}

    def publish(self, context: Context, request: Request, result: dict[str, Any]) -> None:
        """Tell the assets that this task updates where the result lies."""
        self._published = (request, result)
        self.log.info("Result: %s", json.dumps(result, default=str))
        uri, period = result[request.spec.main_artifact], request.attempt.period
        about = {"uri": uri, "kind": request.spec.kind, "period": period, "spec_sha256": request.spec.sha256}
        about.update(self.event_details(request.spec))
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra = {**result, **about}

    def event_details(self, spec: Spec) -> dict[str, Any]:
        """What an asset is told beside the result, of what was asked for."""
        return {}

    def push_link(self, context: Context, link: type[PushedLink], url: str) -> None:
        """Show a link from now on."""
        self.pushed_links[link.KEY] = url
        context["ti"].xcom_push(key=link.KEY, value=url)
