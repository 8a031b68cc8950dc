"""Tasks in Kubernetes' cluster mode, with its API on the loopback and a stub in place of spark-submit."""

import json
import os
import signal
import sys
import threading
from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowFailException

from tests.fakes.kubernetes_api import POD, kubernetes_api

from .test_execution import confs

pytestmark = pytest.mark.airflow


@pytest.fixture
def kubernetes(stub, monkeypatch, tmp_path):
    """The API that the connection `kubernetes` leads to."""
    with kubernetes_api(tmp_path / "kube.json") as api:
        monkeypatch.setenv("AIRFLOW__KUBERNETES_EXECUTOR__IN_CLUSTER", "False")
        monkeypatch.setenv("AIRFLOW__KUBERNETES_EXECUTOR__CONFIG_FILE", str(tmp_path / "kube.json"))
        extra = {"deploy-mode": "cluster", "namespace": "jobs"}
        connection = {"conn_type": "spark", "host": "k8s://https://cluster:6443", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES", json.dumps(connection))
        monkeypatch.setenv("STUB_SUBMITTED", f"INFO LoggingPodStatusWatcherImpl: pod name: {POD}")
        yield api


@pytest.fixture
def prepare_there(prepare):
    """Makes a preprocess task on Kubernetes."""
    return lambda **more: prepare(**{"conn_id": "kubernetes", "status_poll_interval": 1} | more)


def test_result_is_that_of_the_manifest(kubernetes, stub, prepare_there, run):
    kubernetes.phases = ["Pending", "Running", "Succeeded"]

    done = run(prepare_there)

    assert done.state == "success"
    assert done.xcoms("prepare")["rows"] == 12
    (call,) = stub.calls()
    assert confs(call["argv"])["spark.kubernetes.submission.waitAppCompletion"] == "false"
    assert kubernetes.authorizations == {"Bearer token-of-ada"}
    assert kubernetes.deletions == []  # the log stays


def test_pod_that_is_gone_has_succeeded_if_it_has_committed(kubernetes, prepare_there, run):
    kubernetes.phases = ["Running", "deleted"]

    assert run(prepare_there).state == "success"


def test_failure_has_the_reason_that_kubernetes_reports_and_is_retried(kubernetes, stub, prepare_there, run):
    stub.mode("nothing")
    kubernetes.phases, kubernetes.terminated = ["Failed"], {"exitCode": 137, "reason": "OOMKilled"}

    done = run(lambda: prepare_there(retries=1))

    assert done.message == (
        f"The application jobs:{POD} ended without a result: Failed. OOMKilled, exit code 137 "
        f"Its log: kubectl logs --namespace jobs {POD}"
    )
    assert len(stub.calls()) == 2


def test_execution_timeout_deletes_the_pod(kubernetes, stub, prepare_there, run):
    stub.mode("nothing")
    kubernetes.phases = ["Running"]

    def time_is_up():
        kubernetes.looked_at.wait()
        os.kill(os.getpid(), signal.SIGALRM)  # as Airflow does then

    striker = threading.Thread(target=time_is_up, daemon=True)
    striker.start()
    done = run(lambda: prepare_there(execution_timeout=timedelta(hours=1)))
    striker.join()

    (path,) = kubernetes.deletions
    assert done.state == "failed"
    assert path.startswith(f"/api/v1/namespaces/jobs/pods/{POD}?gracePeriodSeconds=1")


def test_settings_that_cluster_mode_lacks_are_named_before_spark_starts(stub, prepare_there, run, monkeypatch):
    connection = {"conn_type": "spark", "host": "k8s://https://cluster:6443", "extra": {"deploy-mode": "cluster"}}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES", json.dumps(connection))

    done = run(lambda: prepare_there(retries=2))

    assert "set 'namespace' in the extra of the connection 'kubernetes'" in done.message
    assert isinstance(done.errors[-1], AirflowFailException)
    assert stub.calls() == []


def test_provider_that_is_not_installed_is_named(stub, prepare_there, run, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES", json.dumps({"conn_type": "spark", "host": "k8s://https://cluster:6443"}))
    monkeypatch.setitem(sys.modules, "airflow.providers.cncf.kubernetes", None)

    done = run(lambda: prepare_there(retries=2))

    assert "pip install airflow-provider-distkeras[kubernetes]" in done.message
    assert isinstance(done.errors[-1], AirflowFailException)
