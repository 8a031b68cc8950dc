"""What becomes of a submitted job in cluster mode: it is looked at, waited for, found again and killed over REST.

In client mode there is nothing to track: the driver is a child of the task.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.common.compat.sdk import AirflowException, conf

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.errors import ArtifactError, SpecError
from airflow_provider_distkeras.hooks import process, spark_application, termination
from airflow_provider_distkeras.hooks.lease import TASK_S, LeaseKeeper, lease_seconds
from airflow_provider_distkeras.hooks.monitor import ApplicationMonitor
from airflow_provider_distkeras.hooks.spark_application import ApplicationState, ApplicationStatus
from airflow_provider_distkeras.hooks.spark_submit import SparkEnvironmentError
from airflow_provider_distkeras.hooks.storage import storage_for

if TYPE_CHECKING:
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
    from airflow.providers.common.compat.sdk import Context

#: Spark options that make spark-submit wait for what the operator waits for itself.
_WAITING = ("spark.yarn.submit.waitAppCompletion", "spark.kubernetes.submission.waitAppCompletion")
#: How much later than the trigger Airflow itself gives up a deferred task, as when there is no triggerer.
_LATE = timedelta(minutes=1)


class TrackingOperator(SparkSubmitOperator):
    """SparkSubmitOperator whose jobs in cluster mode write into an attempt, hold a lease and may be waited for by a trigger."""

    def __init__(
        self, *, deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self._attempt: Attempt | None = None
        self._external_id: str | None = None
        self._killed = False
        self._started_at = time.time()

    def track(self, hook: SparkSubmitHook) -> None:
        """Track what will be submitted over REST, whatever the provider's own arguments say, or tell what that lacks."""
        master, in_cluster = hook._connection["master"], hook._connection["deploy_mode"] == "cluster"
        if not in_cluster:
            if self.deferrable:
                self.log.info("deferrable has no effect in client mode: the task itself holds the Spark driver.")
            return
        if master.startswith("spark://"):
            raise SpecError("deploy_mode: Spark's standalone clusters run Python only in client mode; expected 'client'.")
        said = self.conf or {}
        waiting = [key for key in _WAITING if str(said.get(key, "")).strip().lower() == "true"]
        if waiting:
            raise SpecError(
                f"conf: expected no {waiting[0]}=true, as the operator itself waits for the application. Leave it out."
            )
        if hook._is_yarn:
            self._yarn_track_via_rm_api = True
            _require_resource_manager(hook, self._conn_id)
            # What failed is tried again by Airflow, as a new attempt; YARN would run it again as the same one.
            self.conf = {"spark.yarn.maxAppAttempts": "1", **said}
        if hook._is_kubernetes:
            self._track_driver_via_k8s_api = True
            if not hook._connection["namespace"]:
                raise SpecError(
                    f"The namespace of the Spark driver's pod is not said: set 'namespace' in the extra of the connection "
                    f"{self._conn_id!r}, or spark.kubernetes.namespace in conf."
                )

    @property
    def _attempt_key(self) -> str:
        return f"distkeras_attempt:{self.external_id_key}"

    def remember_attempt(self, context: Context, attempt: Attempt) -> None:
        """Note the attempt beside the job's id, for a retry that finds the job still running, or done, instead of submitting."""
        self._attempt = attempt
        store = context.get("task_state_store")
        if store is not None:
            store.set(self._attempt_key, attempt.to_dict())

    def attempt_of_job(self, context: Context) -> Attempt:
        """The attempt that the job writes into: this try's, or the one noted by the try that submitted it."""
        if self._attempt is not None:
            return self._attempt
        store = context.get("task_state_store")
        noted = store.get(self._attempt_key) if store is not None else None
        if not isinstance(noted, dict):
            raise ArtifactError("The job was found again, but not the attempt it writes into. Clear the task to run it anew.")
        return Attempt(str(noted["period_path"]), str(noted["name"]))

    @staticmethod
    def has_committed(attempt: Attempt) -> bool:
        """Whether an attempt has a result."""
        return storage_for(attempt.path).exists(attempt.manifest_path)

    def get_job_status(self, external_id: Any, context: Context) -> str:
        """How far the job is that an earlier try has submitted. One that is over has succeeded if it has committed."""
        assert self._hook is not None
        self._attempt, self._external_id = self.attempt_of_job(context), str(external_id)  # a kill has to reach it already
        status = spark_application.application(self._hook, self._external_id).look()
        if status.outcome is ApplicationState.RUNNING:
            return ApplicationState.RUNNING
        self._external_id = None
        return ApplicationState.SUCCEEDED if self.has_committed(self._attempt) else ApplicationState.FAILED

    def is_job_active(self, status: str) -> bool:
        """Whether a status of `get_job_status` is that of a job to wait for."""
        return status == ApplicationState.RUNNING

    def is_job_succeeded(self, status: str) -> bool:
        """Whether a status of `get_job_status` is that of a job with a result."""
        return status == ApplicationState.SUCCEEDED

    def poll_until_complete(self, external_id: Any, context: Context) -> None:
        """Wait for a job, here or in the triggerer. Raises AirflowException if it ends without a result."""
        assert self._hook is not None
        attempt = self._attempt = self.attempt_of_job(context)
        self._external_id = str(external_id)
        try:
            if self._may_defer():
                self._defer(context, attempt, self._external_id)
            target = spark_application.application(self._hook, self._external_id)
            status = self._wait(ApplicationMonitor(target, self.lease(context, attempt), self.log))
        finally:
            self._hook._run_post_submit_commands()
        if status.outcome is not ApplicationState.SUCCEEDED and not self.has_committed(attempt):
            raise AirflowException(spark_application.failure(target, status))

    def _wait(self, monitor: ApplicationMonitor) -> ApplicationStatus:
        while not self._killed:
            status = monitor.look()
            if status is not None:
                return status
            time.sleep(self._status_poll_interval)
        raise AirflowException("The task was killed, and its job with it.")

    def _may_defer(self) -> bool:
        if self.deferrable and (self.keytab or self._yarn_rm_auth):
            self.log.info("The task waits itself: a trigger logs in with its connection alone, not by keytab or yarn_rm_auth.")
            return False
        return self.deferrable

    def _defer(self, context: Context, attempt: Attempt, external_id: str) -> NoReturn:
        from airflow_provider_distkeras.triggers.spark_application import SparkApplicationTrigger

        assert self._conn_id is not None
        timeout, left = self.execution_timeout, None
        if timeout is not None:
            left = timeout - timedelta(seconds=time.time() - self._started_at)
        trigger = SparkApplicationTrigger(
            conn_id=self._conn_id,
            application_id=external_id,
            attempt=attempt.to_dict(),
            lease_s=self._lease_seconds(context),
            look_s=self._status_poll_interval,
            expires_at=None if left is None else time.time() + left.total_seconds(),
        )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=None if left is None else left + _LATE)

    def lease(self, context: Context, attempt: Attempt) -> LeaseKeeper:
        """What writes the lease of an attempt's job."""
        return LeaseKeeper(attempt, self._lease_seconds(context), self.log)

    def _lease_seconds(self, context: Context) -> float:
        look_s, durable = self._status_poll_interval, self.durable and context.get("task_state_store") is not None
        return lease_seconds(self, context["ti"], look_s=look_s, deferred=self.deferrable, durable=durable)

    def on_kill(self) -> None:
        """End the job within the five seconds that Airflow grants: spark-submit with all its children, or what a cluster runs."""
        self._killed = True
        hook = self._hook
        if hook is None:
            return
        if hook._connection["deploy_mode"] == "cluster":
            self._kill_application(hook)
        else:
            process.end_group(hook._submit_sp)
        hook._run_post_submit_commands()

    def _kill_application(self, hook: SparkSubmitHook) -> None:
        # Its upload first, which may be about to submit; nothing in it needs time to end.
        process.end_group(hook._submit_sp, grace_s=0)
        external_id = self._external_id or spark_application.submitted_id(hook)
        if external_id is not None and self._attempt is not None:
            log = termination.LaterLog(self.log)
            termination.end(spark_application.application(hook, external_id), LeaseKeeper(self._attempt, TASK_S, log), log)
            log.tell()


def _require_resource_manager(hook: SparkSubmitHook, conn_id: str | None) -> None:
    try:
        hook._get_yarn_rm_base_url()
    except ValueError as error:
        raise SpecError(
            "In YARN's cluster mode the job is watched, found again and killed through YARN's ResourceManager: set its "
            f"address, such as http://rm.example.com:8088, in the extra of the connection {conn_id!r}, as "
            "yarn_resourcemanager_webapp_address."
        ) from error
    try:
        _ = hook._resolved_yarn_rm_auth
    except RuntimeError as error:
        raise SparkEnvironmentError(str(error)) from error
