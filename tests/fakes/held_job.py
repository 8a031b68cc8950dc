"""Stands in for spark-submit: its job runs until a YarnCluster releases it, and then commits through the contract.

In cluster mode it only submits the job, to the cluster; in client mode it is the job.
"""

import os
import sys
import urllib.parse
import urllib.request

from airflow_provider_distkeras.contract.artifacts.attempt import commit
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.artifacts.request import Request
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from tests.fakes.spark_submit import VALUES


def call(path, **query):
    """Return what the cluster answers."""
    with urllib.request.urlopen(f"{os.environ['HELD_CLUSTER']}/{path}?{urllib.parse.urlencode(query)}") as answer:
        return answer.read().decode().strip('"')


def run(spec_path):
    """Run the job of a spec."""
    call("held", pid=os.getpid(), spec=spec_path)
    storage = LocalStorage()
    request = Request.from_json(storage.read_bytes(spec_path))
    attempt, fields = request.attempt, request.spec.result_fields
    result = {key: VALUES.get(key, f"{attempt.path}/{key.removesuffix('_path')}") for key in fields}
    commit(
        storage, attempt, Manifest(request.spec.kind, request.spec.sha256, result, request.inputs, request.spec.details_class())
    )


def main():
    spec_path = sys.argv[sys.argv.index("--spec") + 1]
    if "cluster" in sys.argv[:-1]:
        print(f"INFO YarnClientImpl: Submitted application {call('submit', spec=spec_path)}", flush=True)
    else:
        run(spec_path)


if __name__ == "__main__":
    main()
