"""Turning down what a job in client mode tells without need: by settings, and what no setting reaches by leaving out its lines.

What could be an error is told, always.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_LOG4J2 = Path(__file__).with_name("log4j2.properties")
#: TensorFlow: its own remarks are left out, its warnings and errors are not.
_TENSORFLOW = "TF_CPP_MIN_LOG_LEVEL"
_JAVA = "SPARK_SUBMIT_OPTS"

#: Remarks that are always told, whatever the settings.
_NEEDLESS = (
    re.compile(r"WARNING: Using incubator modules: jdk\.incubator\.vector$"),
    re.compile(r"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR$"),
    re.compile(r"I0000 \S+ +\d+ port\.cc:\d+\] oneDNN custom operations are on\."),
    re.compile(r"I0000 \S+ +\d+ cpu_feature_guard\.cc:\d+\] This TensorFlow binary is optimized"),
    re.compile(
        r"To enable the following instructions: .*, in other operations, rebuild TensorFlow with the appropriate compiler"
    ),
)
#: What a native library tells, which every Python process loads anew.
_NATIVE = re.compile(r"[IWE]0000 \S+ +\d+ (\w+\.cc:\d+\] .*)")
#: On a machine without CUDA TensorFlow says so, and then that CUDA's library, which is not there, could not be started.
_NO_CUDA = "Could not find cuda drivers on your machine, GPU will not be used."
_NO_LIBRARY = re.compile(r"cuda_platform\.cc:\d+\] failed call to cuInit: .*\(303\)$")


def quiet(environ: Mapping[str, str], spark_home: Path | None) -> dict[str, str]:
    """The variables that have a Spark driver and its Python processes tell only what matters; what `environ` says wins.

    Args:
        environ: the variables that spark-submit would be started with.
        spark_home: of the spark-submit to run, if it is known.
    """
    said = {_TENSORFLOW: environ.get(_TENSORFLOW, "1")}
    options = environ.get(_JAVA, "")
    if "log4j" not in options and not _has_log4j2(environ, spark_home):
        said[_JAVA] = f"-Dlog4j2.configurationFile={_LOG4J2.as_uri()} {options}".strip()
    return said


def _has_log4j2(environ: Mapping[str, str], spark_home: Path | None) -> bool:
    folder = environ.get("SPARK_CONF_DIR") or (spark_home and spark_home / "conf")
    return bool(folder) and any(Path(folder).glob("log4j2*"))  # type: ignore[arg-type]  # not empty


class LogFilter:
    """Tells lines that nobody needs: remarks that no setting turns off, and what a native library has told already."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def has(self, line: str) -> bool:
        """Whether nobody needs this line."""
        line = line.strip()
        if any(needless.match(line) for needless in _NEEDLESS):
            return True
        said = _NATIVE.match(line)
        if said is None:
            return False
        if _NO_LIBRARY.match(said[1]) and any(_NO_CUDA in told for told in self._told):
            return True
        is_known = said[1] in self._told
        self._told.add(said[1])
        return is_known
