"""Needless lines in the log of a job in client mode: prevented by settings, or dropped where no setting does.

A line that could be an error always stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_LOG4J2 = Path(__file__).with_name("log4j2.properties")
#: TensorFlow's level: 1 leaves out its INFO lines.
_TENSORFLOW = "TF_CPP_MIN_LOG_LEVEL"
_JAVA = "SPARK_SUBMIT_OPTS"

#: Lines that no setting prevents.
_NEEDLESS = (
    re.compile(r"WARNING: Using incubator modules: jdk\.incubator\.vector$"),
    re.compile(r"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR$"),
    re.compile(r"I0000 \S+ +\d+ port\.cc:\d+\] oneDNN custom operations are on\."),
    re.compile(r"I0000 \S+ +\d+ cpu_feature_guard\.cc:\d+\] This TensorFlow binary is optimized"),
    re.compile(
        r"To enable the following instructions: .*, in other operations, rebuild TensorFlow with the appropriate compiler"
    ),
)
#: A line of a native library, which every Python process loads anew.
_NATIVE = re.compile(r"[IWE]0000 \S+ +\d+ (\w+\.cc:\d+\] .*)")
#: On a machine without CUDA, TensorFlow logs that, and then that CUDA's missing library could not be started.
_NO_CUDA = "Could not find cuda drivers on your machine, GPU will not be used."
_NO_LIBRARY = re.compile(r"cuda_platform\.cc:\d+\] failed call to cuInit: .*\(303\)$")


def quiet(environ: Mapping[str, str], spark_home: Path | None) -> dict[str, str]:
    """Return variables that keep needless lines out of the log; settings in `environ` take precedence.

    Args:
        environ: The variables that spark-submit would be started with.
        spark_home: The SPARK_HOME of the spark-submit to run; None for one that the user named.
    """
    settings = {_TENSORFLOW: environ.get(_TENSORFLOW, "1")}
    options = environ.get(_JAVA, "")
    if "log4j" not in options and not _has_log4j2(environ, spark_home):
        settings[_JAVA] = f"-Dlog4j2.configurationFile={_LOG4J2.as_uri()} {options}".strip()
    return settings


def _has_log4j2(environ: Mapping[str, str], spark_home: Path | None) -> bool:
    folder = environ.get("SPARK_CONF_DIR") or (spark_home and spark_home / "conf")
    return bool(folder) and any(Path(folder).glob("log4j2*"))  # type: ignore[arg-type]  # not empty


class LogFilter:
    """A filter of needless lines: those that no setting prevents, and repeated lines of native libraries."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def drops(self, line: str) -> bool:
        """Return whether a line is needless."""
        line = line.strip()
        if any(needless.match(line) for needless in _NEEDLESS):
            return True
        match = _NATIVE.match(line)
        if match is None:
            return False
        if _NO_LIBRARY.match(match[1]) and any(_NO_CUDA in seen for seen in self._seen):
            return True
        is_repeated = match[1] in self._seen
        self._seen.add(match[1])
        return is_repeated
