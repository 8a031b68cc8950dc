"""What spark-submit needs on this machine: the installed pyspark, a suitable Java, and the task's Python.

Nothing here imports pyspark. `python -m airflow_provider_distkeras.hooks.spark_environment` prints the JAVA_HOME that the
operators use, or fails with what is missing.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from airflow_provider_distkeras.contract.errors import DistKerasError

JAVA_VERSIONS = (17, 21)
#: Spark 4 starts its JVM with this module, which the JREs packaged for pip lack.
JAVA_MODULE = "jdk.incubator.vector"

_USUAL_PLACES = (
    ("/usr/lib/jvm", "*"),
    ("/usr/lib64/jvm", "*"),
    ("/usr/java", "*"),
    ("/opt/java", "*"),
    ("/opt/homebrew/opt", "openjdk@*"),
    ("/usr/local/opt", "openjdk@*"),
    ("/Library/Java/JavaVirtualMachines", "*/Contents/Home"),
)


class SparkEnvironmentError(DistKerasError, RuntimeError):
    """This machine lacks something that spark-submit needs."""


def find_spark_home() -> Path:
    """Return the folder of the installed pyspark, which holds bin/spark-submit.

    Raises:
        SparkEnvironmentError: pyspark has no spark-submit, or pyspark and pyspark-client are of different releases.
    """
    spec = importlib.util.find_spec("pyspark")
    home = Path(spec.origin).parent if spec and spec.origin else None
    versions = {name: _installed(name) for name in ("pyspark", "pyspark-client")}
    release = versions["pyspark"] or versions["pyspark-client"] or "4.2.0"
    if home is None or not (home / "bin" / "spark-submit").is_file():
        raise SparkEnvironmentError(
            f"There is no spark-submit in the Python of this task ({sys.executable}): install it there, "
            f"such as {sys.executable} -m pip install pyspark=={release} pyspark-client=={release}."
        )
    if versions["pyspark-client"] and versions["pyspark"] != versions["pyspark-client"]:
        raise SparkEnvironmentError(
            f"pyspark {versions['pyspark']} and pyspark-client {versions['pyspark-client']} are installed into the same folder "
            f"and overwrite each other's files: install one release of both, such as {sys.executable} -m pip install "
            f"--force-reinstall --no-deps pyspark=={release} pyspark-client=={release}."
        )
    return home


def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def find_java_home(environ: Mapping[str, str] | None = None) -> Path:
    """Return the home of a Java that Spark can use: JAVA_HOME, the one on PATH, or one of the usual folders.

    Args:
        environ: Environment variables; default: this process's.

    Raises:
        SparkEnvironmentError: No such Java is installed. The message lists the Javas that do not fit.
    """
    unfit: list[str] = []
    for home in _java_homes(os.environ if environ is None else environ):
        version = java_version(home)
        if version in JAVA_VERSIONS:
            return home
        if version is not None:
            unfit.append(f"{home} ({abs(version)}{f', without {JAVA_MODULE}' if version < 0 else ''})")
    versions = " or ".join(map(str, JAVA_VERSIONS))
    rejected = f" Found, but of no use to Spark: {', '.join(unfit)}." if unfit else ""
    folders = ", ".join(folder for folder, _ in _USUAL_PLACES)
    raise SparkEnvironmentError(
        f"Spark needs Java {versions}.{rejected} Install Java {versions} with the module {JAVA_MODULE}, or set JAVA_HOME to it. "
        f"Searched: JAVA_HOME, PATH, {folders} and ~/.sdkman."
    )


def _java_homes(environ: Mapping[str, str]) -> list[Path]:
    homes = [Path(environ["JAVA_HOME"])] if environ.get("JAVA_HOME") else []
    on_path = shutil.which("java", path=environ.get("PATH"))
    if on_path:
        homes.append(Path(on_path).resolve().parent.parent)
    places = [*_USUAL_PLACES, (os.path.join(environ.get("HOME", ""), ".sdkman/candidates/java"), "*")]
    for folder, pattern in places:
        homes.extend(sorted(Path(folder).glob(pattern)))
    real = {home.resolve(): home for home in reversed(homes) if (home / "bin" / "java").is_file()}
    return sorted(real.values(), key=homes.index)


@functools.cache
def java_version(home: Path) -> int | None:
    """Return the major version of a Java, negative if it lacks the module that Spark needs; None if it does not run."""
    try:
        modules = subprocess.run(
            [home / "bin" / "java", "--list-modules"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"^java\.base@(\d+)", modules, re.MULTILINE)
    if match is None:
        return None
    return int(match[1]) if re.search(rf"^{re.escape(JAVA_MODULE)}@", modules, re.MULTILINE) else -int(match[1])


def submit_environment(env_vars: Mapping[str, str], spark_home: Path | None, *, force_python: bool) -> dict[str, str]:
    """Return the environment variables for spark-submit; those in `env_vars` take precedence.

    Args:
        env_vars: The operator's.
        spark_home: SPARK_HOME of the spark-submit to run; None for a spark-submit that the user named.
        force_python: Run driver and executors on this Python, which only makes sense if the driver runs on this machine.

    Raises:
        SparkEnvironmentError: No suitable Java is installed.
    """
    environ = {"JAVA_HOME": str(find_java_home({**os.environ, **env_vars}))}
    if spark_home is not None:
        environ["SPARK_HOME"] = str(spark_home)
    if force_python:
        python = env_vars.get("PYSPARK_PYTHON", sys.executable)
        environ |= {"PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": python}
    return {**environ, **env_vars}


if __name__ == "__main__":
    try:
        print(find_java_home())
    except SparkEnvironmentError as missing:
        sys.exit(str(missing))
