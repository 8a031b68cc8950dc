"""The trigger that waits for a Spark application on YARN or Kubernetes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.hooks import spark_application
from airflow_provider_distkeras.hooks.lease import LeaseKeeper
from airflow_provider_distkeras.hooks.monitor import ApplicationMonitor
from airflow_provider_distkeras.hooks.spark_application import ApplicationState, ApplicationStatus, ClusterError, SparkApplication
from airflow_provider_distkeras.hooks.termination import terminate


class SparkApplicationTrigger(BaseTrigger):
    """Fires when an application on YARN or Kubernetes has ended, or its time is up; renews the lease of its job until then.

    Its event holds the `attempt` that the job wrote into, the `outcome` ("succeeded", "failed", "unreachable" or "timeout"), and
    a `message`.

    :param conn_id: The Spark connection, which holds the cluster's address and credentials.
    :param application_id: The application's id: YARN's, or namespace:pod on Kubernetes.
    :param attempt: The attempt that its job writes into, as plain values.
    :param lease_s: Seconds that the job runs on while its lease is not renewed.
    :param look_s: Seconds between two looks.
    :param expires_at: When to kill the application, in seconds since the epoch; None for never.
    """

    def __init__(
        self,
        conn_id: str,
        application_id: str,
        attempt: dict[str, str],
        lease_s: float,
        look_s: float,
        expires_at: float | None = None,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.application_id = application_id
        self.attempt = attempt
        self.lease_s = lease_s
        self.look_s = look_s
        self.expires_at = expires_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, for another process to rebuild the trigger; they hold no secret."""
        names = ("conn_id", "application_id", "attempt", "lease_s", "look_s", "expires_at")
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the application has ended; calls that block run in threads."""
        application = await asyncio.to_thread(self._application)
        monitor = ApplicationMonitor(application, self._lease(), self.log)
        while True:
            try:
                status = await asyncio.to_thread(monitor.look)
            except ClusterError as error:
                yield self._event("unreachable", str(error))
                return
            if status is not None:
                yield self._ended(application, status)
                return
            if self.expires_at is not None and time.time() >= self.expires_at:
                await self.on_kill()
                yield self._event("timeout", f"The application {self.application_id} took longer than execution_timeout.")
                return
            await asyncio.sleep(self._pause())

    async def on_kill(self) -> None:
        """Kill the application, as a user has cleared its task or marked it."""
        await asyncio.to_thread(self._kill)

    def _pause(self) -> float:
        return self.look_s if self.expires_at is None else max(0.0, min(self.look_s, self.expires_at - time.time()))

    def _application(self) -> SparkApplication:
        hook = SparkSubmitHook(conn_id=self.conn_id, deploy_mode="cluster")
        return spark_application.application(hook, self.application_id)

    def _lease(self) -> LeaseKeeper:
        return LeaseKeeper(Attempt(**self.attempt), self.lease_s, self.log)

    def _kill(self) -> None:
        terminate(self._application(), self._lease(), self.log)

    def _ended(self, application: SparkApplication, status: ApplicationStatus) -> TriggerEvent:
        if status.outcome is ApplicationState.SUCCEEDED:
            return self._event("succeeded", "")
        return self._event("failed", spark_application.failure_message(application, status))

    def _event(self, outcome: str, message: str) -> TriggerEvent:
        return TriggerEvent({"attempt": self.attempt, "outcome": outcome, "message": message})
