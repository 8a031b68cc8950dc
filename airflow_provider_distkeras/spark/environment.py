"""The environment of the Python workers that Spark starts: Keras backend and threads."""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.params.choices import BACKENDS
from airflow_provider_distkeras.spark import cluster

if TYPE_CHECKING:
    from pyspark import SparkContext

#: The packages whose versions are recorded with every result.
RECORDED_PACKAGES = ("keras", *BACKENDS, "numpy", "pyarrow")

#: Set in the Python workers of an application that encrypts its local disk.
_OFF_DISK = "DISTKERAS_ROWS_OFF_DISK"

_lock = threading.Lock()


def default_backend() -> str:
    """Return the default backend: the environment's KERAS_BACKEND, else tensorflow."""
    return os.environ.get("KERAS_BACKEND") or "tensorflow"


def installed_versions(names: Sequence[str]) -> dict[str, str]:
    """Return the version of each of these packages that is installed."""
    versions = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def task_cores() -> int:
    """Return how many threads this Python worker may use: its task's cores."""
    return int(os.environ.get("OMP_NUM_THREADS") or 1)


def keeps_rows_off_disk() -> bool:
    """Return whether this Python worker must write no rows to the local disk, because Spark encrypts what it writes there."""
    return os.environ.get(_OFF_DISK) == "true"


def pin_device(resources: Mapping[str, Any]) -> None:
    """Make this Python worker see only the GPU that Spark assigned to its task, if any; call it before a backend is imported."""
    if "gpu" in resources:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(resources["gpu"].addresses)
        os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"


def keep_loaded() -> None:
    """Exclude what a Python worker has loaded, such as its backend, from garbage collection. Runs on executors.

    Spark collects garbage after every task. With TensorFlow loaded, that takes 0.2 s, as long as a small network trains.
    """
    from pyspark import TaskContext

    if TaskContext.get() is not None and not gc.get_freeze_count():
        gc.freeze()


def variables(backend: str, cores: int) -> dict[str, str]:
    """Return the environment variables by which a Python worker of a backend uses no more than its task's cores.

    XLA would start a thread per core of the machine, and pass every small operation from one to another.
    """
    values = {
        "KERAS_BACKEND": backend,
        "OMP_NUM_THREADS": str(cores),
        "TF_NUM_INTRAOP_THREADS": str(cores),
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
    }
    if backend == "jax":
        values["PJRT_NPROC"] = str(cores)
        if cores == 1:
            values["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen=false {os.environ.get('XLA_FLAGS', '')}".strip()
    return values


@contextmanager
def worker_environment(context: SparkContext, backend: str) -> Iterator[None]:
    """Run the functions that are made in this context in Python workers of a backend, with as many threads as a task has cores.

    Spark keeps separate Python workers for separate environments, so one never imports two backends.
    """
    added = variables(backend, int(cluster.setting(context, "spark.task.cpus", "1")))
    added[_OFF_DISK] = cluster.setting(context, "spark.io.encryption.enabled", "false")
    with _lock:
        before = dict(context.environment)
        context.environment.update(added)
        try:
            yield
        finally:
            context.environment.clear()
            context.environment.update(before)
