"""Applications on YARN and Kubernetes: their status and their end, over the REST API, with the provider's credentials."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import requests

from airflow_provider_distkeras.contract.errors import DistKerasError
from airflow_provider_distkeras.hooks.spark_environment import SparkEnvironmentError

if TYPE_CHECKING:
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
    from requests.auth import AuthBase

#: Seconds for one look at an application.
LOOK_S = 10.0
#: Seconds for one step of killing one.
STEP_S = 2.0
#: Seconds between SIGTERM and SIGKILL on Kubernetes.
_POD_GRACE_S = 1
_DRIVER_CONTAINER = "spark-kubernetes-driver"


class ClusterError(DistKerasError, RuntimeError):
    """A cluster that does not answer, or refuses."""


class ApplicationState(StrEnum):
    """The state of an application."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    GONE = "gone"  # the cluster has forgotten it


@dataclass(frozen=True)
class ApplicationStatus:
    """An application's state: as one of ours, as the cluster names it, and its diagnostics."""

    outcome: ApplicationState
    state: str
    diagnostics: str = ""

    def __str__(self) -> str:
        return f"{self.state}. {self.diagnostics}".strip() if self.diagnostics else f"{self.state}."


class SparkApplication(Protocol):
    """A submitted application."""

    id: str
    #: The shell command that shows its log.
    log_command: str

    def look(self, within_s: float = LOOK_S) -> ApplicationStatus:
        """Return its status; raise ClusterError if the cluster does not answer in time."""

    def kill(self, within_s: float = STEP_S) -> None:
        """Ask the cluster to end it; raise ClusterError if the cluster does not answer in time, or refuses."""


class YarnApplication:
    """An application on YARN, through the ResourceManager's REST API."""

    _RUNNING = frozenset({"NEW", "NEW_SAVING", "SUBMITTED", "ACCEPTED", "RUNNING"})

    def __init__(self, base_url: str, auth: AuthBase | None, application_id: str) -> None:
        self.id = application_id
        self.log_command = f"yarn logs -applicationId {application_id}"
        self._url = f"{base_url}/ws/v1/cluster/apps/{application_id}"
        self._auth = auth

    def look(self, within_s: float = LOOK_S) -> ApplicationStatus:
        """Return its status; raise ClusterError if the ResourceManager does not answer in time."""
        answer = self._request("GET", self._url, within_s, 200, 404)
        if answer.status_code == 404:
            return ApplicationStatus(ApplicationState.GONE, "unknown to YARN")
        try:
            app = answer.json()["app"]
            state, final, why = app["state"], app["finalStatus"], app.get("diagnostics") or ""
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterError(f"{self._url} answered what no ResourceManager does: {answer.text[:200]}") from error
        if final == "SUCCEEDED":
            return ApplicationStatus(ApplicationState.SUCCEEDED, final)
        if state in self._RUNNING:
            return ApplicationStatus(ApplicationState.RUNNING, state, why)
        return ApplicationStatus(ApplicationState.FAILED, final if final != "UNDEFINED" else state, why.strip())

    def kill(self, within_s: float = STEP_S) -> None:
        """Ask the ResourceManager to kill it; raise ClusterError if it does not answer in time, or refuses."""
        self._request("PUT", f"{self._url}/state", within_s, 200, 202, json={"state": "KILLED"})

    def _request(self, method: str, url: str, within_s: float, *expected: int, **more: Any) -> requests.Response:
        half = within_s / 2  # to connect, and to be answered
        try:
            answer = requests.request(method, url, auth=self._auth, timeout=(half, half), **more)
        except requests.RequestException as error:
            raise ClusterError(f"YARN's ResourceManager does not answer {method} {url}: {error}") from error
        if answer.status_code in expected:
            return answer
        detail = f"HTTP {answer.status_code} {answer.text[:200]}".strip()
        raise ClusterError(f"YARN's ResourceManager refuses {method} {url}: {detail}")


class KubernetesDriver:
    """The pod of a driver on Kubernetes, which owns the pods of its executors."""

    def __init__(self, client: Any, external_id: str) -> None:
        self.id = external_id
        self._namespace, _, self._pod = external_id.partition(":")
        self.log_command = f"kubectl logs --namespace {self._namespace} {self._pod}"
        self._client = client

    def look(self, within_s: float = LOOK_S) -> ApplicationStatus:
        """Return the status of the pod; raise ClusterError if Kubernetes does not answer in time."""
        with self._cluster_errors("read"):
            pod = self._client.read_namespaced_pod(self._pod, self._namespace, _request_timeout=within_s / 2)
            phase = pod.status.phase or "Pending"
            if phase == "Succeeded":
                return ApplicationStatus(ApplicationState.SUCCEEDED, phase)
            outcome = ApplicationState.FAILED if phase == "Failed" else ApplicationState.RUNNING
            return ApplicationStatus(outcome, phase, _diagnostics(pod.status))
        return ApplicationStatus(ApplicationState.GONE, "deleted")

    def kill(self, within_s: float = STEP_S) -> None:
        """Delete the pod; raise ClusterError if Kubernetes does not answer in time, or refuses."""
        with self._cluster_errors("delete"):
            self._client.delete_namespaced_pod(
                self._pod, self._namespace, grace_period_seconds=_POD_GRACE_S, _request_timeout=within_s / 2
            )

    @contextlib.contextmanager
    def _cluster_errors(self, verb: str) -> Iterator[None]:
        """Raise ClusterError in place of the client's errors; a missing pod is no error."""
        from kubernetes.client.rest import ApiException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ApiException as error:
            if error.status != 404:
                detail = f"HTTP {error.status} {error.reason}"
                raise ClusterError(f"Kubernetes refuses to {verb} the driver's pod {self.id}: {detail}") from error
        except HTTPError as error:
            raise ClusterError(f"Kubernetes does not answer to {verb} the driver's pod {self.id}: {error}") from error


def _diagnostics(status: Any) -> str:
    """Return why a pod does not run: its own reason and message, then those of its driver's container."""
    containers = sorted(status.container_statuses or [], key=lambda each: each.name != _DRIVER_CONTAINER)
    ended = containers[0].state.terminated if containers and containers[0].state else None
    parts = [status.reason, status.message]
    if ended is not None:
        parts += [ended.reason, f"exit code {ended.exit_code}", ended.message]
    return ", ".join(part for part in parts if part)


def application(hook: SparkSubmitHook, external_id: str) -> SparkApplication:
    """Return the application of an id on the cluster of the hook's connection, with a REST client of its own."""
    if hook._is_kubernetes:
        client = kube_client().get_kube_client()
        # Several tries within one step would be longer than the step may take.
        client.api_client.rest_client.pool_manager.connection_pool_kw["retries"] = 0
        return KubernetesDriver(client, external_id)
    return YarnApplication(hook._get_yarn_rm_base_url(), hook._resolved_yarn_rm_auth, external_id)


def submitted_id(hook: SparkSubmitHook) -> str | None:
    """Return the id of the submitted application; None until spark-submit has printed it."""
    pod = hook._kubernetes_driver_pod
    return f"{hook._connection['namespace']}:{pod}" if pod else hook._yarn_application_id


def kube_client() -> Any:
    """Return Airflow's module of Kubernetes clients; raise SparkEnvironmentError if it is not installed."""
    try:
        from airflow.providers.cncf.kubernetes import kube_client as module
    except ImportError as error:
        raise SparkEnvironmentError(
            "A Spark master k8s:// needs Airflow's Kubernetes provider: pip install airflow-provider-distkeras[kubernetes]."
        ) from error
    return module


def failure_message(application: SparkApplication, status: ApplicationStatus) -> str:
    """Return the message about an application that has ended without a result."""
    return f"The application {application.id} ended without a result: {status} Its log: {application.log_command}"
