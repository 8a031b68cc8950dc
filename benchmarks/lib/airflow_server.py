"""A real API server of Airflow's with the plugin's pages: of its own, on the loopback and on SQLite."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SECONDS = 300.0
_DAG = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("siege", schedule=None):
    EmptyOperator(task_id="train")
"""


@dataclass(frozen=True)
class ApiServer:
    """An API server that runs.

    Attributes:
        process: its process; it has no others.
        port: its port.
        token: of a user who may see everything.
    """

    process: subprocess.Popen[bytes]
    port: int
    token: str

    def memory(self) -> int:
        """Return the resident bytes of the process and of those that it has started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (self.process.pid, *children))
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def api_server(home: Path, xcoms: dict[str, Any]) -> Iterator[ApiServer]:
    """Run an API server that knows a DAG `siege` with one run, whose task `train` has returned these values."""
    import httpx

    password = secrets.token_urlsafe(12)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (home / "dags").mkdir()
    (home / "dags" / "siege.py").write_text(_DAG)
    (home / "passwords.json").write_text(json.dumps({"admin": password}))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}  # of another Airflow
    environment = inherited | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:ADMIN",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    airflow = [sys.executable, "-m", "airflow"]
    for command in (["db", "migrate"], ["dags", "reserialize"]):
        subprocess.run([*airflow, *command], env=environment, cwd=home, check=True, capture_output=True)
    process = subprocess.Popen(
        [*airflow, "api-server", "--apps", "core", "--host", "127.0.0.1", "--port", str(port)],
        env=environment, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            _wait(client, process)
            answer = client.post("/auth/token", json={"username": "admin", "password": password})
            token = answer.raise_for_status().json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            runs = "/api/v2/dags/siege/dagRuns"
            client.post(runs, json={"dag_run_id": "run", "logical_date": None}).raise_for_status()
            for key, value in xcoms.items():
                entry = {"key": key, "value": value}
                client.post(f"{runs}/run/taskInstances/train/xcomEntries", json=entry).raise_for_status()
        yield ApiServer(process, port, token)
    finally:
        process.terminate()
        process.wait()


def _wait(client: Any, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers. Raises RuntimeError if it ends before, or takes too long."""
    import httpx

    deadline = time.monotonic() + _SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            client.get("/api/v2/version").raise_for_status()
            return
        except httpx.TransportError:
            time.sleep(0.25)
    raise RuntimeError(f"Airflow's API server did not answer within {_SECONDS:g} s; exit code {process.poll()}.")
