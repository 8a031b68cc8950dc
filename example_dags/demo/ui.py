"""`make ui`: the demo's Airflow with its web interface."""

from __future__ import annotations

import os
import sys

import home


def main() -> None:
    """Start Airflow; it runs until it is interrupted."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    airflow_home = home.HOME / "airflow"
    airflow_home.mkdir(parents=True, exist_ok=True)
    print(f"==> http://127.0.0.1:{port}/dags/{home.DAG_ID}")
    print(f"    user admin, password in {airflow_home.relative_to(home.CHECKOUT)}/simple_auth_manager_passwords.json.generated")
    print("    (it appears there within some seconds; Ctrl-C ends Airflow)", flush=True)
    os.execve(sys.executable, [*home.AIRFLOW, "standalone"], home.environment(port))


if __name__ == "__main__":
    main()
