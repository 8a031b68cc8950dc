"""The environment of the Python workers that Spark starts for us: Keras backend and threads."""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.params import BACKENDS
from airflow_provider_distkeras.spark import cluster

if TYPE_CHECKING:
    from pyspark import SparkContext

#: The packages whose versions are recorded with every result.
RECORDED_PACKAGES = ("keras", *BACKENDS, "numpy", "pyarrow")

_lock = threading.Lock()


def default_backend() -> str:
    """The backend where none was asked for: the environment's KERAS_BACKEND, else tensorflow."""
    return os.environ.get("KERAS_BACKEND") or "tensorflow"


def installed_versions(names: Sequence[str]) -> dict[str, str]:
    """The versions of those of these packages that are installed."""
    found = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def task_cores() -> int:
    """The threads that this Python worker may use: its task's cores."""
    return int(os.environ.get("OMP_NUM_THREADS") or 1)


def pin_device(resources: Mapping[str, Any]) -> None:
    """Have this Python worker see only the GPU that Spark assigned to its task, if any. Before a backend is imported."""
    if "gpu" in resources:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(resources["gpu"].addresses)
        os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"


def keep_loaded() -> None:
    """Take what a Python worker has loaded, its backend above all, out of the garbage collector's sight; once, for it stays.

    Spark collects garbage after every task. Over all that TensorFlow brings, that takes 0.2 s, as long as a small network trains.
    """
    from pyspark import TaskContext

    if TaskContext.get() is not None and not gc.get_freeze_count():
        gc.freeze()


def variables(backend: str, cores: int) -> dict[str, str]:
    """What a Python worker of a backend is told so that it uses no more than its task's cores.

    XLA would keep a thread per core of the machine, and hand every small operation from one to another.
    """
    said = {
        "KERAS_BACKEND": backend,
        "OMP_NUM_THREADS": str(cores),
        "TF_NUM_INTRAOP_THREADS": str(cores),
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
    }
    if backend == "jax":
        said["PJRT_NPROC"] = str(cores)
        if cores == 1:
            said["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen=false {os.environ.get('XLA_FLAGS', '')}".strip()
    return said


@contextmanager
def worker_environment(context: SparkContext, backend: str) -> Iterator[None]:
    """Have the functions made inside run in Python workers of this backend, with as many threads as a task has cores.

    Spark keeps separate Python workers for separate environments, so one never imports two backends.
    """
    wanted = variables(backend, int(cluster.setting(context, "spark.task.cpus", "1")))
    with _lock:
        before = dict(context.environment)
        context.environment.update(wanted)
        try:
            yield
        finally:
            context.environment.clear()
            context.environment.update(before)
