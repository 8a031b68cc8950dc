"""Benchmarks run to their end on quick sizes, in one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS
from benchmarks.lib.report import RESULTS

from .runner import benchmarks_of

pytestmark = pytest.mark.spark

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run_benchmark():
    """Runs a benchmark; returns None, or the traceback of its failure."""
    with benchmarks_of("jax") as run:
        yield run


#: Each starts jobs, which takes minutes at any size; tests of jobs run the same code.
SLOW = {"interruption-jax", "categories"}
#: Benchmarks of one module differ in the backend only: one of each is enough.
QUICK = sorted(name for name, (_, backend) in BENCHMARKS.items() if backend == "jax" and name not in SLOW)


@pytest.mark.parametrize("name", QUICK)
def test_a_benchmark_runs(run_benchmark, name):
    assert run_benchmark(name, BENCHMARKS[name][0]) is None
    assert (RESULTS / "quick" / f"{name}.json").exists()


def test_the_comparison_of_trainers_runs(tmp_path):
    rows = [f"{n},{n % 7},{n % 5},{n % 7 - n % 5}" for n in range(500)]
    (tmp_path / "rows.csv").write_text("\n".join(["id,a,b,label", *rows]))
    options = f"--csv {tmp_path}/rows.csv --label label --exclude id --trainers ADAG --optimizers adam --workers 2"
    command = [sys.executable, "-m", "benchmarks.faithfulness", *options.split()]
    environment = {**os.environ, "BENCHMARKS_QUICK": "1", "KERAS_BACKEND": "jax"}

    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600, check=False)

    assert run.returncode == 0, run.stderr[-3000:]
    assert "| ADAG | " in run.stdout
