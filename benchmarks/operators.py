"""What the operators cost: in a DAG file next to Airflow's own operator, in a task next to the bare spark-submit of its job."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.lib import report

IMPORTS = report.sized(7, quick=1)
RUNS = report.sized(3, quick=1)
ROWS = 1_000

#: Runs an import, and prints its seconds and the memory of the process after it.
_IMPORT = """
import resource, sys, time
started = time.perf_counter()
from airflow.sdk import DAG
{line}
megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
print(time.perf_counter() - started, megabytes)
"""
_THEIRS = "from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator"
_OURS = "; ".join(
    f"from airflow_provider_distkeras.operators import {name}"
    for name in ("DistKerasPreprocessOperator", "DistKerasTrainOperator", "DistKerasScoreOperator", "DistKerasPromoteOperator")
)


def main(name: str) -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "AIRFLOW_HOME": folder,
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[2]"}),
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        report.write(name, [*_imports(), _run(Path(folder))])


def _imports() -> list[report.Figure]:
    """Fresh interpreters, in turns; the first pair only fills the caches."""
    pairs = [(_import(_THEIRS), _import(f"{_THEIRS}; {_OURS}")) for _ in range(1 + IMPORTS)][1:]
    seconds, megabytes = (statistics.median(ours[i] - theirs[i] for theirs, ours in pairs) for i in (0, 1))
    took, held = (statistics.median(theirs[i] for theirs, _ in pairs) for i in (0, 1))
    return [
        report.Figure("importing the operators", seconds, "s more", f"{took:.2f} s: SparkSubmitOperator", 0.15, at_most=True),
        report.Figure("the same", megabytes, "MB more", f"{held:.0f} MB", 20.0, at_most=True),
    ]


def _import(line: str) -> tuple[float, float]:
    done = subprocess.run([sys.executable, "-c", _IMPORT.format(line=line)], capture_output=True, text=True, check=True)
    seconds, megabytes = done.stdout.split()
    return float(seconds), float(megabytes)


def _run(folder: Path) -> report.Figure:
    """A preprocess job on a small file, by its operator and by spark-submit alone, in turns."""
    from airflow_provider_distkeras.hooks import spark_environment
    from airflow_provider_distkeras.operators import DistKerasPreprocessOperator

    rows = "\n".join(f"{n % 7},{n % 5},{n % 35}" for n in range(ROWS))
    (folder / "rows.csv").write_text(f"a,b,label\n{rows}\n")

    def operator() -> None:
        spark_environment.java_version.cache_clear()  # each task is a process of its own
        task = DistKerasPreprocessOperator(task_id="prepare", input_path=f"{folder}/rows.csv", artifact_root=f"{folder}/operator")
        task.execute(_context())

    pairs = [(report.seconds(lambda: _submit(folder)), report.seconds(operator)) for _ in range(RUNS)]
    more = statistics.median(ours - bare for bare, ours in pairs)
    bare = statistics.median(bare for bare, _ in pairs)
    return report.Figure("a preprocess task", more, "s more", f"{bare:.1f} s: spark-submit of the same job", 1.5, at_most=True)


def _context() -> Any:
    """Return the part of a task's context that the operator reads."""
    ti = SimpleNamespace(
        dag_id="benchmark",
        task_id="prepare",
        run_id="benchmark",
        map_index=-1,
        try_number=1,
        max_tries=0,
        xcom_push=lambda **_: None,
    )
    now = datetime.now(UTC)
    return {"ti": ti, "dag_run": SimpleNamespace(partition_key=None, run_after=now), "logical_date": now}


def _submit(folder: Path) -> None:
    """The same job by spark-submit, its package zipped and its request written beforehand."""
    import airflow_provider_distkeras
    from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
    from airflow_provider_distkeras.contract.artifacts.request import Request
    from airflow_provider_distkeras.contract.files.storage import LocalStorage
    from airflow_provider_distkeras.contract.specs import PreprocessSpec
    from airflow_provider_distkeras.hooks import spark_environment
    from airflow_provider_distkeras.hooks.package_archive import zip_package

    spec = PreprocessSpec.build(input_path=f"file://{folder}/rows.csv")
    attempt = Attempt.claim(
        f"file://{folder}/bare", "benchmark", "prepare", -1, "2026-03",
        claimed_at=datetime.now(UTC), generation=0, try_number=1, spec_sha256=spec.sha256,
    )  # fmt: skip
    LocalStorage().write_bytes(attempt.spec_path, Request(spec, attempt).to_json().encode())
    home = spark_environment.find_spark_home()
    archive = folder / "airflow_provider_distkeras.zip"
    if not archive.exists():
        zip_package(folder)
    job = Path(airflow_provider_distkeras.__file__).parent / "jobs" / "preprocess.py"
    command = [
        str(home / "bin" / "spark-submit"), "--master", "local[2]", "--conf", "spark.log.level=WARN",
        "--py-files", str(archive), str(job), "--spec", attempt.spec_path,
    ]  # fmt: skip
    environ = {**os.environ, **spark_environment.submit_environment({}, home, force_python=True)}
    subprocess.run(command, env=environ, check=True, capture_output=True)


if __name__ == "__main__":
    main(sys.argv[1])
