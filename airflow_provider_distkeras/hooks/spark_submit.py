"""spark-submit for one attempt of a job: claim, submission, output, waiting and end."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException, BaseHook

from airflow_provider_distkeras.contract.artifacts.request import SUBMITTERS
from airflow_provider_distkeras.contract.errors import ArtifactError, SpecError
from airflow_provider_distkeras.contract.secrets import SECRET, holds_credentials
from airflow_provider_distkeras.hooks import log_filter, process, spark_application
from airflow_provider_distkeras.hooks.deferred_log import DeferredLog
from airflow_provider_distkeras.hooks.lease import TASK_S, LeaseKeeper
from airflow_provider_distkeras.hooks.monitor import ApplicationMonitor
from airflow_provider_distkeras.hooks.package_archive import job_file, submission_folder, zip_package
from airflow_provider_distkeras.hooks.spark_environment import SparkEnvironmentError, find_spark_home, submit_environment
from airflow_provider_distkeras.hooks.storage import storage_for
from airflow_provider_distkeras.hooks.termination import terminate

if TYPE_CHECKING:
    from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
    from airflow_provider_distkeras.contract.artifacts.failure import Failure
    from airflow_provider_distkeras.contract.artifacts.request import Request
    from airflow_provider_distkeras.hooks.job_log import JobLog
    from airflow_provider_distkeras.hooks.spark_application import ApplicationStatus, SparkApplication

#: Spark options that make spark-submit wait for what the operator itself waits for.
_WAITING = ("spark.yarn.submit.waitAppCompletion", "spark.kubernetes.submission.waitAppCompletion")


def spark_connection(conn_id: str | None) -> Connection:
    """Return a Spark connection; the provider's hook would fall back to YARN without a word.

    Raises:
        SpecError: The connection does not exist, is of another type, or its host holds a password.
        SparkEnvironmentError: The master is Kubernetes, and Airflow's Kubernetes provider is not installed.
    """
    if conn_id is None:
        raise SpecError("conn_id: expected the id of a Spark connection, received nothing.")
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise SpecError(
            f"The Spark connection {conn_id!r} does not exist. Create it in the UI (Admin, Connections) or with: "
            f"airflow connections add {conn_id} --conn-type spark --conn-host 'local[*]' "
            "(or spark://host:7077, yarn, k8s://https://host:port)."
        ) from error
    if connection.conn_type != "spark":
        raise SpecError(f"The connection {conn_id!r} is of type {connection.conn_type!r}; expected a Spark connection.")
    host = f"{connection.host}"
    if holds_credentials(host if "://" in host else f"spark://{host}"):
        raise SpecError(
            f"The connection {conn_id!r}: expected a host without user and password, for it stands among the arguments of "
            "spark-submit; received one with them. Set what Spark needs to log in as properties, such as "
            "spark.authenticate.secret in conf."
        )
    if "k8s" in host:
        spark_application.kube_client()
    return connection


class DistKerasSubmitHook(SparkSubmitHook):
    """SparkSubmitHook that claims an attempt as it submits, and whose jobs are watched, found again and killed.

    In client mode the driver is a child of the task. In cluster mode the application is tracked through the cluster's REST API.

    :param job_log: What the output of spark-submit is read by.
    """

    def __init__(self, *, job_log: JobLog, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._job_log = job_log
        self._finds_spark = kwargs.get("spark_binary") is None and self.spark_binary == "spark-submit"
        self._track_driver_via_k8s_api = self._is_kubernetes and self.in_cluster
        self._yarn_track_via_rm_api = self._is_yarn and self.in_cluster
        self._killed = False
        self._environment: dict[str, str] = {}

    @classmethod
    def for_operator(cls, operator: SparkSubmitOperator, job_log: JobLog) -> Self:
        """Return the hook for an operator's arguments, as the provider's operator makes its own."""
        public = (
            "conf", "files", "py_files", "driver_class_path", "jars", "packages", "exclude_packages", "keytab", "principal",
            "proxy_user", "name", "env_vars", "properties_file", "post_submit_commands",
        )  # fmt: skip
        private = (
            "conn_id", "archives", "repositories", "total_executor_cores", "executor_cores", "executor_memory", "driver_memory",
            "num_executors", "status_poll_interval", "verbose", "spark_binary", "yarn_queue", "deploy_mode", "use_krb5ccache",
            "yarn_rm_auth",
        )  # fmt: skip
        arguments = {name: getattr(operator, name) for name in public}
        arguments.update({name: getattr(operator, f"_{name}") for name in private})
        return cls(job_log=job_log, **arguments)

    @property
    def master(self) -> str:
        """The Spark master."""
        return str(self._connection["master"])

    @property
    def in_cluster(self) -> bool:
        """Whether the driver runs on the cluster."""
        return bool(self._connection["deploy_mode"] == "cluster")

    def check_target(self) -> None:
        """Raise SpecError or SparkEnvironmentError if jobs in cluster mode cannot be tracked on this master."""
        if not self.in_cluster:
            return
        if self.master.startswith("spark://"):
            raise SpecError("deploy_mode: Spark's standalone clusters run Python only in client mode; expected 'client'.")
        if self.master.startswith("local"):
            raise SpecError(f"deploy_mode: the master {self.master!r} runs jobs in client mode only; leave deploy_mode out.")
        waiting = [key for key in _WAITING if str(self._conf.get(key, "")).strip().lower() == "true"]
        if waiting:
            raise SpecError(
                f"conf: expected no {waiting[0]}=true, as the operator itself waits for the application. Leave it out."
            )
        if self._is_yarn:
            self._require_resource_manager()
        if self._is_kubernetes and not self._connection["namespace"]:
            raise SpecError(
                "The namespace of the Spark driver's pod is not set: set 'namespace' in the extra of the connection "
                f"{self._conn_id!r}, or spark.kubernetes.namespace in conf."
            )

    def _require_resource_manager(self) -> None:
        try:
            self._get_yarn_rm_base_url()
        except ValueError as error:
            raise SpecError(
                "In YARN's cluster mode the job is watched, found again and killed through YARN's ResourceManager: set its "
                f"address, such as http://rm.example.com:8088, in the extra of the connection {self._conn_id!r}, as "
                "yarn_resourcemanager_webapp_address."
            ) from error
        try:
            _ = self._resolved_yarn_rm_auth
        except RuntimeError as error:
            raise SparkEnvironmentError(str(error)) from error

    def prepare(
        self, request: Request, lease: LeaseKeeper, on_claim: Callable[[], None],
        *, name: str, conf: dict[str, Any],
    ) -> None:  # fmt: skip
        """Set what `submit` submits.

        Args:
            request: The spec and the attempt; written as the job is submitted, which claims the attempt.
            lease: The lease of the job; granted in cluster mode.
            on_claim: Called after the attempt is claimed and before spark-submit runs.
            name: The application's name.
            conf: Spark properties. The secret ones do not appear on the command line.
        """
        self._request, self._lease, self._on_claim = request, lease, on_claim
        self._name = name
        process.mask_secrets(conf, self._env_vars)
        self._conf, self._secret_conf = process.split_secrets(conf)
        if self._yarn_track_via_rm_api:
            # Airflow retries what failed, as a new attempt; YARN would run it again as the same one.
            self._conf.setdefault("spark.yarn.maxAppAttempts", "1")
        self._application_args = ["--spec", request.attempt.spec_path]

    def submit(self, application: str = "", **kwargs: Any) -> str | None:
        """Claim the attempt and run spark-submit in a process group of its own; return when it has ended.

        Raises:
            AirflowException: spark-submit failed, or the task was killed before.
            ArtifactError: The attempt cannot be claimed, as its folder cannot be written.
            SparkEnvironmentError: This machine lacks what spark-submit needs.
            SpecError: spark_binary names no program.
        """
        self._environment = self._find_environment()
        self._hide_secret_variables()
        with submission_folder() as folder:
            self._py_files = ",".join(filter(None, [str(zip_package(folder)), self._py_files]))
            defaults = self._read_defaults()
            if self._secret_conf:
                self._properties_file = str(self._write_properties(folder, defaults))
            self._claim()
            try:
                return super().submit(str(job_file(self._request.spec.kind)), start_new_session=True, **kwargs)
            except (FileNotFoundError, PermissionError) as error:
                raise SpecError(
                    f"spark_binary: expected a program to run, received {error.filename!r}: {error.strerror}."
                ) from error
            finally:
                process.end_group(self._submit_sp)

    def _claim(self) -> None:
        if self._killed:
            raise AirflowException("The task was killed before its job was submitted.")
        attempt = self._request.attempt
        try:
            storage_for(attempt.path).create_bytes(attempt.spec_path, self._request.to_json().encode())
        except FileExistsError as error:
            raise ArtifactError(f"Another run has claimed {attempt.path} at the same moment. Run the task again.") from error
        self._on_claim()
        if self.in_cluster:
            self._lease.grant()

    def _find_environment(self) -> dict[str, str]:
        """Return the variables for spark-submit; a spark-submit that the user named brings its own SPARK_HOME."""
        home = None
        if self._finds_spark:
            home = find_spark_home()
            self._connection["spark_binary"] = str(home / "bin" / "spark-submit")
        env_vars = {key: str(value) for key, value in (self._env_vars or {}).items()}
        environ = submit_environment(env_vars, home, force_python=not self.in_cluster)
        if self.in_cluster:
            return environ
        return {**environ, **log_filter.quiet({**os.environ, **environ}, home), SUBMITTERS: process.submitters()}

    def _hide_secret_variables(self) -> None:
        """Take the secret ones of `env_vars` out of what the provider puts on the command line: the driver's on a cluster."""
        prefix = "spark.yarn.appMasterEnv." if self._is_yarn else "spark.kubernetes.driverEnv."
        if self._is_yarn or self._is_kubernetes:
            self._env_vars, secrets = process.split_secrets(self._env_vars or {}, self._conf)
            self._secret_conf |= {f"{prefix}{name}": value for name, value in secrets.items()}

    def _read_defaults(self) -> str:
        """Return the properties that spark-submit reads from a file; raise SpecError if properties_file names none."""
        environ = {**os.environ, **self._environment}
        program = shutil.which(self._connection["spark_binary"], path=environ.get("PATH")) or ""
        home = environ.get("SPARK_HOME") or Path(program).absolute().parent.parent  # where spark-submit looks, too
        conf_dir = environ.get("SPARK_CONF_DIR") or os.path.join(home, "conf")
        file = Path(self._properties_file or os.path.join(conf_dir, "spark-defaults.conf"))
        return process.read_properties(file) if self._properties_file or file.is_file() else ""

    def _write_properties(self, directory: Path, defaults: str) -> Path:
        """Write a properties file of those that spark-submit would read anyway, and the secret ones."""
        hidden = self._secret_conf
        if not process.sets_redaction(defaults) and process.REDACTION not in self._conf:
            hidden = {process.REDACTION: SECRET, **hidden}  # Spark's own pattern lacks some
        file = directory / "spark.properties"
        file.touch(mode=0o600)
        lines = [process.property_line(name, value) for name, value in hidden.items()]
        file.write_text("\n".join([defaults, "", *lines, ""]), encoding="utf-8")  # an empty line ends one that goes on
        return file

    def _build_spark_submit_command(self, application: str) -> list[str]:
        command = super()._build_spark_submit_command(application)
        self._env = self._environment  # env_vars are among them
        return command

    def _process_spark_submit_log(self, itr: Iterator[Any]) -> None:
        super()._process_spark_submit_log(self._job_log.read(itr, self))

    @property
    def killed_by(self) -> str | None:
        """The name of the signal that killed spark-submit; None if none did."""
        return process.killed_by(self._submit_sp)

    @property
    def logged_failure(self) -> Failure | None:
        """The failure that the job could log only, not write beside its request; None if there was none."""
        return self._job_log.failure

    def application(self, external_id: str) -> SparkApplication:
        """Return the application of an id on the cluster."""
        return spark_application.application(self, external_id)

    def wait(self, external_id: str, lease: LeaseKeeper) -> ApplicationStatus:
        """Wait for an application on the cluster and renew the lease of its job; return its last status.

        Raises:
            AirflowException: The task was killed.
            ClusterError: The cluster has not answered for long.
        """
        monitor = ApplicationMonitor(self.application(external_id), lease, self.log)
        while not self._killed:
            status = monitor.look()
            if status is not None:
                return status
            time.sleep(self._status_poll_interval)
        raise AirflowException("The task was killed, and its job with it.")

    def finish(self) -> None:
        """Run the user's post-submit commands, once."""
        self._run_post_submit_commands()

    def kill(self, external_id: str | None, attempt: Attempt | None) -> None:
        """End the job within the five seconds that Airflow grants: spark-submit with its children, and the application.

        Args:
            external_id: The application's id on the cluster; None if it is not tracked yet.
            attempt: The attempt that the job writes into; None if none is claimed.
        """
        self._killed = True
        # In cluster mode, what runs here is an upload that may be about to submit; nothing in it needs time to end.
        process.end_group(self._submit_sp, grace_s=0 if self.in_cluster else None)
        if self.in_cluster:
            external_id = external_id or spark_application.submitted_id(self)
            if external_id is not None and attempt is not None:
                log = DeferredLog(self.log)
                terminate(self.application(external_id), LeaseKeeper(attempt, TASK_S, log), log)
                log.flush()
        self.finish()
