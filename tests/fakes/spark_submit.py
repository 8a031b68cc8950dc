"""Stands in for spark-submit: does what STUB_MODE asks for, through the contract, and records its calls."""

import json
import os
import shutil
import signal
import subprocess
import sys

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt, commit
from airflow_provider_distkeras.contract.artifacts.failure import Failure
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.artifacts.progress import JobFailed, JobStarted, Progress
from airflow_provider_distkeras.contract.artifacts.request import Request
from airflow_provider_distkeras.contract.errors import SupersededError
from airflow_provider_distkeras.contract.files.storage import LocalStorage

VALUES = {
    "rows": 12,
    "rejected_rows": 0,
    "quarantined_rows": 0,
    "feature_columns": ["temp"],
    "best_params": {"learning_rate": 0.01},
    "metrics": {"r2": {"mean": 0.9, "std": 0.01}},
}

#: The profile that a preprocess job writes.
PROFILE = {
    "temp": {"kind": "number", "count": 11, "missing": 1, "min": 0.5, "max": 0.7, "quantiles": {"0.5": 0.6}},
    "day": {
        "kind": "time",
        "count": 12,
        "missing": 0,
        "min": "2026-03-01",
        "max": "2026-03-02",
        "quantiles": {"0.5": "2026-03-01"},
    },
}
#: What each model measures, unless the test sets others.
METRICS = {"challenger": 0.9, "champion": 0.8}


def decide(spec):
    """Return the result of a promote job, by made-up metrics."""
    measured = json.loads(os.environ.get("STUB_METRICS", json.dumps(METRICS)))
    champion = measured["champion"] if spec.champion_path else None
    promoted, reason = spec.decide(measured["challenger"], champion, larger_is_better=True)
    metrics = {"challenger": {"r2": measured["challenger"]}} | ({} if champion is None else {"champion": {"r2": champion}})
    path = spec.model_path if promoted else spec.champion_path
    return {"champion_path": path, "promoted": promoted, "reason": reason, "metrics": metrics}


def main() -> int:
    with open(os.environ["STUB_CALLS"], "a") as calls:
        calls.write(json.dumps({"argv": sys.argv, "env": dict(os.environ)}) + "\n")
    if "STUB_COPY_PACKAGE" in os.environ:
        shutil.copy(sys.argv[sys.argv.index("--py-files") + 1].split(",")[0], os.environ["STUB_COPY_PACKAGE"])
    if "STUB_COPY_PROPERTIES" in os.environ:
        shutil.copy(sys.argv[sys.argv.index("--properties-file") + 1], os.environ["STUB_COPY_PROPERTIES"])
    storage = LocalStorage()
    request = Request.from_json(storage.read_bytes(sys.argv[sys.argv.index("--spec") + 1]))
    attempt = request.attempt
    in_cluster = "cluster" in sys.argv[:-1]
    if in_cluster:
        print(os.environ["STUB_SUBMITTED"], flush=True)
    mode, _, of = os.environ.get("STUB_MODE", "commit").partition(" ")
    if of not in ("", request.spec.kind):
        mode = "commit"
    if mode.startswith("commit"):
        kind = request.spec.kind
        if not in_cluster:  # where the driver's output is seen
            print(JobStarted(kind, "local-1772323200000", "http://127.0.0.1:4040").to_line(), flush=True)
        for line in json.loads(os.environ.get("STUB_LINES", "[]")):
            print(line, flush=True)
        result = {key: VALUES.get(key, f"{attempt.path}/{key.removesuffix('_path')}") for key in request.spec.result_fields}
        if kind == "promote":
            result |= decide(request.spec)
        if kind == "score":
            result["model_path"] = request.spec.model_path
        if kind == "train":
            storage.write_bytes(result["report_path"], b"<p>r2 0.9</p>")
        details = request.spec.details_class(**({"profile": PROFILE} if kind == "preprocess" else {}))
        manifest = Manifest(kind, request.spec.sha256, result, request.inputs, details)
        if mode == "commit":
            commit(storage, attempt, manifest)
        else:  # it ends between its manifest and CURRENT
            storage.write_bytes(attempt.manifest_path, manifest.to_json().encode())
            return os.kill(os.getpid(), signal.SIGKILL) if mode == "commit_killed" else int(not in_cluster)
    elif mode == "hang":
        child = subprocess.Popen(["sleep", "600"])
        with open(os.environ["STUB_CHILD"], "w") as file:  # a fifo: opening it waits for the test
            file.write(str(child.pid))
        signal.pause()
    elif mode in ("permanent", "passing"):
        print(Progress(40, "writing").to_line(), flush=True)
        kind = "DataError" if mode == "permanent" else "ArtifactError"
        cause = {"type": kind, "message": "The column 'temp' holds text.", "permanent": mode == "permanent"}
        storage.write_bytes(attempt.error_path, json.dumps(cause).encode())
        return 0 if in_cluster else 1
    elif mode == "overtaken":  # by another run about the same period
        storage.write_bytes(Attempt(attempt.period_path, f"9{attempt.name[1:]}").spec_path, b"{}")
        try:
            commit(storage, attempt, Manifest(request.spec.kind, request.spec.sha256, {}))
        except SupersededError as error:
            storage.write_bytes(attempt.error_path, Failure.of(error).to_json())
            return 1
    elif mode == "unwritable":  # its cause is only in its log
        print(JobFailed("DataError", "The column 'temp' holds text.", permanent=True).to_line(), flush=True)
        return 1
    elif mode == "refused":  # killed; what is left of the job has an error by it
        storage.write_bytes(attempt.error_path, Failure.of(ConnectionRefusedError("Connection refused")).to_json())
        os.kill(os.getpid(), signal.SIGKILL)
    elif mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif mode == "crash":
        print('Exception in thread "main" java.lang.OutOfMemoryError', flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
