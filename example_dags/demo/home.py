"""The demo's own Airflow, wholly inside the checkout: the user's own settings are neither read nor touched."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
HOME = CHECKOUT / ".demo"
DATA = HOME / "data"
DAG_ID = "csv_to_scores"
AIRFLOW = [sys.executable, "-m", "airflow"]


def tune_spark() -> None:
    """Make Spark quick for jobs of seconds on a small machine, where starting the JVM is the longest part.

    A light compiler and collector; and the classes that the first job loaded, in an archive for those that follow.
    """
    classes = HOME / "spark-classes.jsa"
    options = [
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        f'"-XX:{"SharedArchiveFile" if classes.exists() else "ArchiveClassesAtExit"}={classes}"',
        "-Xlog:disable",
        "-Dspark.sql.shuffle.partitions=2",
        "-Dspark.ui.showConsoleProgress=false",
    ]
    HOME.mkdir(exist_ok=True)
    (HOME / "java-options").write_text("\n".join(options))


def environment(port: int = 8080) -> dict[str, str]:
    """The variables of every process of the demo. `airflow standalone` starts others by their name, so PATH leads to ours."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "SPARK_", "PYSPARK_"))}
    return inherited | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "AIRFLOW_HOME": str(HOME / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "example_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__DISTKERAS__ARTIFACT_ROOT": str(HOME / "artifacts"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[*]"}),
        "DISTKERAS_DEMO_DATA": str(DATA),
        "KERAS_HOME": str(HOME / "keras"),
        "MPLCONFIGDIR": str(HOME / "matplotlib"),
        "SPARK_SUBMIT_OPTS": f'"@{HOME / "java-options"}"',
        "SPARK_LOCAL_DIRS": str(HOME / "spark"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",  # else macOS ends the forked task processes
    }
