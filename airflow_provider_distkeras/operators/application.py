"""The Spark application of a job: its submission, the wait for it here or in the triggerer, and its end."""

from __future__ import annotations

import functools
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowException, conf

from airflow_provider_distkeras.contract.errors import DistKerasError, JobError
from airflow_provider_distkeras.hooks.errors import job_error, record_failure
from airflow_provider_distkeras.hooks.job_log import JobLog
from airflow_provider_distkeras.hooks.lease import LeaseKeeper, lease_seconds
from airflow_provider_distkeras.hooks.spark_application import ApplicationState, ClusterError, failure_message
from airflow_provider_distkeras.hooks.spark_submit import DistKerasSubmitHook, spark_connection
from airflow_provider_distkeras.links.spark import HistoryServerLink, PushedLink, SparkUILink, history_server
from airflow_provider_distkeras.operators.job_run import JobRun, has_committed
from airflow_provider_distkeras.operators.resources import SparkResourcesOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_distkeras.contract.artifacts.attempt import Attempt

#: How much later than the trigger Airflow itself gives up a deferred task, as when there is no triggerer.
_TRIGGER_GRACE = timedelta(minutes=1)


class SparkApplicationOperator(SparkResourcesOperator):
    """Run the application of one job: submit it, find an earlier try's again, wait for it, and kill it.

    In cluster mode, applications are always tracked through the cluster's REST API.

    :param deferrable: Wait in the triggerer, which holds no worker; in cluster mode only. Default: the Airflow option
        [operators] default_deferrable.
    """

    operator_extra_links: tuple[PushedLink, ...] = (SparkUILink(), HistoryServerLink())

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.pushed_links: dict[str, str] = {}
        self._run: JobRun | None = None
        self._killed = False
        self._started_at = time.time()

    def _submit_hook(self, job_log: JobLog) -> DistKerasSubmitHook:
        """Return the hook, after a check of where the job is to run."""
        connection = spark_connection(self._conn_id)
        job_log.history_server = history_server(connection)
        hook = DistKerasSubmitHook.for_operator(self, job_log)
        hook.check_target()
        if self.deferrable and not hook.in_cluster:
            self.log.info("deferrable has no effect in client mode: the task itself holds the Spark driver.")
        return hook

    def _submit(self, run: JobRun, hook: DistKerasSubmitHook, spark_conf: dict[str, Any]) -> None:
        """Submit the job, or find an earlier try's again, and wait until it has a result."""
        self.external_id_key = run.external_id_key
        lease = self._lease(run, run.attempt)
        hook.prepare(run.request, lease, run.store_attempt, name=self.name or run.name, conf=spark_conf)
        try:
            super().execute(run.context)
        except ClusterError:
            raise  # the job may be running
        except Exception as error:
            if run.claimed is None:
                raise
            if not has_committed(run.claimed):
                cause = self._cause(run.claimed, hook, error)
                if not hook.in_cluster:  # where the application may be running, whatever has failed here
                    record_failure(run.claimed, cause)
                if cause is error:
                    raise
                raise cause from None  # the hook's exception only repeats the output, which is in the log
            self.log.warning("The job failed after it had committed, so its result counts: %s", error)
        run.restore_attempt()

    @staticmethod
    def _cause(attempt: Attempt, hook: DistKerasSubmitHook, error: Exception) -> Exception:
        """Return why a job has ended without a result: what it wrote or logged, else what killed it, else the hook's error."""
        if isinstance(error, DistKerasError):
            return error
        cause = job_error(attempt, hook.logged_failure)
        if hook.killed_by is not None and (cause is None or type(cause) is JobError):  # what broke by that comes second
            return JobError(f"The Spark job was killed ({hook.killed_by}) before it committed; the previous result is kept.")
        return cause or error

    def get_job_status(self, external_id: Any, context: Context) -> str:
        """Return the state of the job that an earlier try has submitted; one that has ended succeeded if it has committed."""
        run, hook = self._submitted()
        attempt, run.external_id = run.restore_attempt(), str(external_id)  # on_kill needs both from now on
        if hook.application(run.external_id).look().outcome is ApplicationState.RUNNING:
            return ApplicationState.RUNNING
        run.external_id = None
        return ApplicationState.SUCCEEDED if has_committed(attempt) else ApplicationState.FAILED

    def is_job_active(self, status: str) -> bool:
        """Return whether a state of `get_job_status` is that of a job to wait for."""
        return status == ApplicationState.RUNNING

    def is_job_succeeded(self, status: str) -> bool:
        """Return whether a state of `get_job_status` is that of a job with a result."""
        return status == ApplicationState.SUCCEEDED

    def poll_until_complete(self, external_id: Any, context: Context) -> None:
        """Wait for a job, here or in the triggerer; raise AirflowException if it ends without a result."""
        run, hook = self._submitted()
        attempt, run.external_id = run.restore_attempt(), str(external_id)
        try:
            if self.deferrable and (self.keytab or self._yarn_rm_auth):
                self.log.info(
                    "The task waits itself: a trigger logs in with its connection alone, not by keytab or yarn_rm_auth."
                )
            elif self.deferrable:
                self._defer(run, attempt)
            status = hook.wait(run.external_id, self._lease(run, attempt))
        finally:
            hook.finish()
        if status.outcome is not ApplicationState.SUCCEEDED and not has_committed(attempt):
            message = failure_message(hook.application(run.external_id), status)
            record_failure(attempt, JobError(message))
            raise AirflowException(message)

    def _submitted(self) -> tuple[JobRun, DistKerasSubmitHook]:
        assert self._run is not None
        assert isinstance(self._hook, DistKerasSubmitHook)
        return self._run, self._hook

    def _defer(self, run: JobRun, attempt: Attempt) -> NoReturn:
        from airflow_provider_distkeras.triggers.spark_application import SparkApplicationTrigger

        assert self._conn_id is not None
        assert run.external_id is not None
        remaining = None
        if self.execution_timeout is not None:
            remaining = self.execution_timeout - timedelta(seconds=time.time() - self._started_at)
        trigger = SparkApplicationTrigger(
            conn_id=self._conn_id,
            application_id=run.external_id,
            attempt=attempt.to_dict(),
            lease_s=self._lease_seconds(run),
            look_s=self._status_poll_interval,
            expires_at=None if remaining is None else time.time() + remaining.total_seconds(),
        )
        timeout = None if remaining is None else remaining + _TRIGGER_GRACE
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)

    def _lease(self, run: JobRun, attempt: Attempt) -> LeaseKeeper:
        return LeaseKeeper(attempt, self._lease_seconds(run), self.log)

    def _lease_seconds(self, run: JobRun) -> float:
        look_s, durable = self._status_poll_interval, self.durable and run.context.get("task_state_store") is not None
        return lease_seconds(self, run.context["ti"], look_s=look_s, deferred=self.deferrable, durable=durable)

    def on_kill(self) -> None:
        """End the job within the five seconds that Airflow grants."""
        self._killed = True
        if self._run is not None and isinstance(self._hook, DistKerasSubmitHook):
            self._hook.kill(self._run.external_id, self._run.claimed)
            if self._run.claimed is not None:
                record_failure(self._run.claimed, JobError("The task was killed, and its job with it."))

    def _job_log(self, context: Context) -> JobLog:
        return JobLog(self.log, context.get("task_state_store"), functools.partial(self._push_link, context))

    def _push_link(self, context: Context, link: type[PushedLink], url: str) -> None:
        """Show a link from now on."""
        self.pushed_links[link.KEY] = url
        context["ti"].xcom_push(key=link.KEY, value=url)
