"""What spark-submit needs on this machine: the installed pyspark, a Java that fits it, and the right Python.

Nothing here imports pyspark, and nothing depends on the user's PATH. `python -m airflow_provider_distkeras.hooks.spark_submit`
prints the JAVA_HOME that would be used, or says what to install.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import airflow_provider_distkeras
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
    """The folder of the installed pyspark, which holds bin/spark-submit.

    Raises:
        SparkEnvironmentError: there is none, or pyspark and pyspark-client are of different releases.
    """
    spec = importlib.util.find_spec("pyspark")
    home = Path(spec.origin).parent if spec and spec.origin else None
    versions = {name: _installed(name) for name in ("pyspark", "pyspark-client")}
    wanted = versions["pyspark"] or versions["pyspark-client"] or "4.2.0"
    if home is None or not (home / "bin" / "spark-submit").is_file():
        raise SparkEnvironmentError(
            f"There is no spark-submit in the Python of this task ({sys.executable}): install it there, "
            f"such as {sys.executable} -m pip install pyspark=={wanted} pyspark-client=={wanted}."
        )
    if versions["pyspark-client"] and versions["pyspark"] != versions["pyspark-client"]:
        raise SparkEnvironmentError(
            f"pyspark {versions['pyspark']} and pyspark-client {versions['pyspark-client']} are installed into the same folder "
            f"and overwrite each other's files: install one release of both, such as {sys.executable} -m pip install "
            f"--force-reinstall --no-deps pyspark=={wanted} pyspark-client=={wanted}."
        )
    return home


def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def find_java_home(environ: Mapping[str, str] | None = None) -> Path:
    """The home of a Java that Spark can use: JAVA_HOME, then the one on PATH, then the usual places.

    Raises:
        SparkEnvironmentError: there is none; the message says what to install on this system.
    """
    unfit: list[str] = []
    for home in _java_homes(os.environ if environ is None else environ):
        version = java_version(home)
        if version in JAVA_VERSIONS:
            return home
        if version is not None:
            unfit.append(f"{home} ({abs(version)}{f', without {JAVA_MODULE}' if version < 0 else ''})")
    found = f" Found, but of no use to Spark: {', '.join(unfit)}." if unfit else ""
    raise SparkEnvironmentError(f"Spark needs Java {' or '.join(map(str, JAVA_VERSIONS))}.{found} {java_advice()}")


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
    """The major version of a Java; negative if it lacks the module that Spark needs, None if it does not run."""
    try:
        listed = subprocess.run(
            [home / "bin" / "java", "--list-modules"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"^java\.base@(\d+)", listed, re.MULTILINE)
    if match is None:
        return None
    return int(match[1]) if re.search(rf"^{re.escape(JAVA_MODULE)}@", listed, re.MULTILINE) else -int(match[1])


def java_advice(system: str | None = None, os_release: Mapping[str, str] | None = None) -> str:
    """What to do on this system to get a Java that fits."""
    after = "Then run this again, or set JAVA_HOME if it is in an unusual place."
    if (system or platform.system()) == "Darwin":
        return f"Install it with: brew install openjdk@17. {after}"
    release = _os_release() if os_release is None else os_release
    family = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    version = release.get("VERSION_ID", "").split(".")[0]
    if release.get("ID") == "debian" and version.isdigit() and int(version) >= 13:
        return f"Install it with: sudo apt-get install -y openjdk-21-jre-headless. {after}"
    for names, command in (
        ({"debian", "ubuntu"}, "sudo apt-get install -y openjdk-17-jre-headless"),
        ({"fedora", "rhel", "centos"}, "sudo dnf install -y java-21-openjdk-headless"),
        ({"suse", "opensuse"}, "sudo zypper install -y java-21-openjdk-headless"),
        ({"arch"}, "sudo pacman -S jre21-openjdk-headless"),
        ({"alpine"}, "sudo apk add openjdk17-jre-headless"),
    ):
        if names & family:
            return f"Install it with: {command}. {after}"
    return f"Install one, such as Eclipse Temurin 21 (https://adoptium.net), and set JAVA_HOME to its folder. {after}"


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def submit_environment(env_vars: Mapping[str, str], spark_home: Path | None, *, force_python: bool) -> dict[str, str]:
    """The variables that spark-submit is started with; what the user says in `env_vars` wins.

    Args:
        env_vars: the operator's.
        spark_home: of the spark-submit to run; None leaves it to a spark-submit that the user named.
        force_python: run driver and executors on this Python; not where the driver runs on another machine.
    """
    given = dict(env_vars)
    found = {"JAVA_HOME": str(find_java_home({**os.environ, **given}))}
    if spark_home is not None:
        found["SPARK_HOME"] = str(spark_home)
    if force_python:
        python = given.get("PYSPARK_PYTHON", sys.executable)
        found |= {"PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": python}
    return found | given


@contextlib.contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while: every process the hook starts (submit, status, kill) inherits them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def zip_package(directory: Path) -> Path:
    """Zip the installed package, so that executors run the very code that this operator belongs to."""
    package = Path(airflow_provider_distkeras.__file__).parent
    archive = directory / f"{package.name}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for file in sorted(package.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                target.write(file, file.relative_to(package.parent))
    return archive


if __name__ == "__main__":
    try:
        print(find_java_home())
    except SparkEnvironmentError as missing:
        sys.exit(str(missing))
