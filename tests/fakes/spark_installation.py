"""An installed Java and an installed pyspark, with a stub in place of spark-submit."""

import json
import sys
from pathlib import Path

STUB = Path(__file__).with_name("spark_submit.py")
MODULES = "java.base@{version}\njdk.incubator.vector@{version}\n"


def write_script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(body)
    path.chmod(0o755)
    return path


def make_java(home: Path, version: str, *, vector: bool = True) -> Path:
    """A Java home whose java lists its modules."""
    listed = MODULES.format(version=version) if vector else f"java.base@{version}\n"
    write_script(home / "bin" / "java", f"#!/bin/sh\nprintf '{listed}'\n")
    return home


def install_stub(folder: Path, stub: Path = STUB) -> tuple[Path, dict[str, str]]:
    """An installed pyspark whose spark-submit is the stub: its home, and the variables that go with it."""
    home = folder / "site" / "pyspark"
    write_script(home / "bin" / "spark-submit", f'#!/bin/sh\nexec "{sys.executable}" "{stub}" "$@"\n')
    (home / "__init__.py").touch()
    return home, {
        "STUB_CALLS": str(folder / "calls.jsonl"),
        "JAVA_HOME": str(make_java(folder / "java", "17.0.9")),
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[2]"}),
    }
