"""Run the benchmarks, each in a process of its own: python -m benchmarks [--quick] [name ...]."""

from __future__ import annotations

import os
import subprocess
import sys

#: The module and the backend of each benchmark; Keras allows one backend per process.
BENCHMARKS = {
    "narrow-tensorflow": ("narrow", "tensorflow"),
    "narrow-jax": ("narrow", "jax"),
    "wide-tensorflow": ("wide", "tensorflow"),
    "wide-jax": ("wide", "jax"),
    "wire": ("wire", "jax"),
    "shards": ("shards", "jax"),
    "siege": ("siege", "jax"),
    "siege-pages": ("siege_pages", "jax"),
    "memory-tensorflow": ("memory", "tensorflow"),
    "memory-jax": ("memory", "jax"),
    "loading": ("loading", "jax"),
    "preprocessing": ("preprocessing", "jax"),
    "categories": ("categories", "jax"),
    "scoring-tensorflow": ("scoring", "tensorflow"),
    "scoring-jax": ("scoring", "jax"),
    "search-tensorflow": ("search", "tensorflow"),
    "search-jax": ("search", "jax"),
    "operators": ("operators", "jax"),
    "interruption-tensorflow": ("interruption", "tensorflow"),
    "interruption-jax": ("interruption", "jax"),
}


def main(arguments: list[str]) -> int:
    """Run the named benchmarks, or all, and print one table of those that succeeded."""
    if "--quick" in arguments:
        os.environ["BENCHMARKS_QUICK"] = "1"
    from benchmarks.lib import report

    selected = [argument for argument in arguments if argument != "--quick"]
    available = {*BENCHMARKS, *(module for module, _ in BENCHMARKS.values())}
    unknown = sorted(set(selected) - available)
    if unknown:
        print(f"No benchmark {unknown[0]!r}. There are: {', '.join(sorted(available))}.", file=sys.stderr)
        return 2
    names = [name for name, (module, _) in BENCHMARKS.items() if not selected or name in selected or module in selected]
    failed = [name for name in names if not _run(name)]
    print("\n" + report.table([name for name in names if name not in failed]))
    if failed:
        print(f"\nFailed: {', '.join(failed)}.", file=sys.stderr)
    return len(failed)


def _run(name: str) -> bool:
    """Run a benchmark and return whether it succeeded."""
    print(f"==> {name} (load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors)", flush=True)
    module, backend = BENCHMARKS[name]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return not subprocess.run([sys.executable, "-m", f"benchmarks.{module}", name], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
