"""Runs the benchmarks, each in a process of its own: python -m benchmarks [name ...]."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks import report

#: Per benchmark, its module and the backend it runs on.
BENCHMARKS = {
    "narrow-tensorflow": ("narrow", "tensorflow"),
    "narrow-jax": ("narrow", "jax"),
    "wide-tensorflow": ("wide", "tensorflow"),
    "wide-jax": ("wide", "jax"),
}


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all, and print one table."""
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        print(f"No benchmark {unknown[0]!r}. There are: {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    for name in names or BENCHMARKS:
        print(f"==> {name}", flush=True)
        module, backend = BENCHMARKS[name]
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        ran = subprocess.run([sys.executable, "-m", f"benchmarks.{module}", name], env=environment, check=False)
        if ran.returncode:
            return ran.returncode
    print(report.table(names or list(BENCHMARKS)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
