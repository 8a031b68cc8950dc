"""Every benchmark runs to its end on quick sizes; the benchmarks of one backend share a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS
from benchmarks.lib.report import RESULTS

pytestmark = pytest.mark.spark

REPOSITORY = Path(__file__).parents[2]

#: Runs the benchmarks that are named on its input, and prints a line for each that failed or succeeded.
RUNNER = """
import importlib, sys, traceback
for line in sys.stdin:
    name, module = line.split()
    try:
        importlib.import_module("benchmarks." + module).main(name)
        print("@succeeded", flush=True)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        print("@failed", flush=True)
"""


@pytest.fixture(scope="module")
def runners():
    """A function that returns the process of a backend, started when it is first needed."""
    processes = {}

    def runner(backend):
        if backend not in processes:
            environment = {**os.environ, "BENCHMARKS_QUICK": "1", "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
            processes[backend] = subprocess.Popen(
                [sys.executable, "-c", RUNNER], cwd=REPOSITORY, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return processes[backend]

    yield runner
    for process in processes.values():
        process.communicate()


#: One of the two interruptions is enough: each starts four jobs, and they differ only in the backend of these.
QUICK = sorted({*BENCHMARKS} - {"interruption-tensorflow"}, key=lambda name: (BENCHMARKS[name][1], name))


@pytest.mark.parametrize("name", QUICK)
def test_a_benchmark_runs(runners, name):
    module, backend = BENCHMARKS[name]
    process = runners(backend)
    process.stdin.write(f"{name} {module}\n")
    process.stdin.flush()
    output = []
    for line in process.stdout:
        if line.startswith("@"):
            assert line == "@succeeded\n", "".join(output)[-3000:]
            break
        output.append(line)
    else:
        raise AssertionError("".join(output)[-3000:])

    assert (RESULTS / "quick" / f"{name}.json").exists()


def test_the_comparison_of_trainers_runs(tmp_path):
    rows = [f"{n},{n % 7},{n % 5},{n % 7 - n % 5}" for n in range(500)]
    (tmp_path / "rows.csv").write_text("\n".join(["id,a,b,label", *rows]))
    command = [sys.executable, "-m", "benchmarks.faithfulness", str(tmp_path / "rows.csv"), "label", "id", "ADAG"]
    environment = {**os.environ, "BENCHMARKS_QUICK": "1", "KERAS_BACKEND": "jax"}

    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600, check=False)

    assert run.returncode == 0, run.stderr[-3000:]
    assert "| ADAG | " in run.stdout
