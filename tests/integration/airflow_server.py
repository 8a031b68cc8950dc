"""A real Airflow of its own, as a user would run it: API server, scheduler and DAG processor, on loopback and on SQLite."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).parents[2]
COMPONENTS = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
AIRFLOW = [sys.executable, "-m", "airflow"]
SQL_ALCHEMY_CONN = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
#: Who may do what, a stranger nothing; the password of each is made up anew.
ROLES = {"admin": "ADMIN", "viewer": "VIEWER", "stranger": ""}


#: The seconds that a wait for Airflow may take: it runs a dozen processes, and something else may keep the machine busy.
DEADLINE = 900
#: The seconds that one answer of Airflow's API may take.
ANSWER = 300
#: How often a request is sent, at most.
RETRIES = 4


def until(condition, what, seconds=DEADLINE):
    """Return what `condition` returns, once it is true. After `seconds`, raise AssertionError with `what`, a text or a function."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what() if callable(what) else what}: not within {seconds} s")
        time.sleep(0.25)
    return result


class AirflowServer:
    """A client of a running Airflow, over HTTP."""

    def __init__(self, home, port):
        self.home = home
        self.url = f"http://127.0.0.1:{port}"
        self.passwords = {user: secrets.token_urlsafe(12) for user in ROLES}
        self.jwt_secret = secrets.token_hex(32)
        self._http = httpx.Client(base_url=self.url, timeout=ANSWER, trust_env=False)
        self._tokens = {}
        self.components = None

    def environment(self, dags, **more):
        """Return the environment of its processes."""
        sqlite = (
            {} if SQL_ALCHEMY_CONN in more else {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS": "sqlite_connection.CONNECT_ARGS"}
        )
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "SPARK_", "PYSPARK_"))}
        return inherited | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": self.url.rsplit(":", 1)[1],
            "AIRFLOW__API_AUTH__JWT_SECRET": self.jwt_secret,
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in ROLES.items()),
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",  # only the runs that a test starts
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "SPARK_LOCAL_IP": "127.0.0.1",
        } | sqlite | more  # fmt: skip

    def get(self, path, user=None, **query):
        """Return the answer to a user, whatever its status; without a user, the one to an anonymous request."""
        return self._http.get(path, params=query or None, headers=self._headers(user))

    def api(self, method, path, body=None, user="admin"):
        """Return the answer of Airflow's REST API.

        A write is sent again where SQLite refused it: the API server notes who writes on its event loop, and a task's write that
        waits for this loop meanwhile holds the lock.
        """
        for _ in range(RETRIES):
            answer = self._http.request(method, f"/api/v2/{path}", json=body, headers=self._headers(user))
            if answer.status_code != httpx.codes.INTERNAL_SERVER_ERROR:
                break
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def states(self, dag_id, run_id="~"):
        """Return the states of tasks, by run and task."""
        listed = self.api("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")["task_instances"]
        return {(ti["dag_run_id"], ti["task_id"]): ti["state"] for ti in listed}

    def runs(self, dag_id):
        """Return the runs of a DAG, the earliest logical date first."""
        return self.api("GET", f"dags/{dag_id}/dagRuns?order_by=logical_date&limit=100")["dag_runs"]

    def is_up(self):
        """Return whether all components are healthy."""
        with contextlib.suppress(httpx.TransportError):
            health = self._http.get("/api/v2/monitor/health").json()
            return all(health[name]["status"] == "healthy" for name in ("metadatabase", "scheduler", "dag_processor"))
        return False

    def has_parsed(self, *dag_ids):
        """Return whether the DAGs are parsed."""
        return set(dag_ids) <= {dag["dag_id"] for dag in self.api("GET", "dags?limit=100")["dags"]}

    def _headers(self, user):
        return {} if user is None else {"Authorization": f"Bearer {self._token(user)}"}

    def _token(self, user):
        if user not in self._tokens:
            answer = self._http.post("/auth/token", json={"username": user, "password": self.passwords[user]})
            self._tokens[user] = answer.json()["access_token"]
        return self._tokens[user]


class Components:
    """The processes of an Airflow, each in a process group of its own; they write to `home`/{component}.log."""

    def __init__(self, home, environment):
        self._home, self._environment = home, environment
        self._processes = {}
        self._killed = []

    def start(self, name):
        """Start a component."""
        with (self._home / f"{name}.log").open("a") as log:
            self._processes[name] = subprocess.Popen(
                [*AIRFLOW, *COMPONENTS[name]], env=self._environment, cwd=self._home, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def kill(self, name):
        """Kill a component, and not what it has started."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()
        self._killed.append(process)

    def all_alive(self):
        """Return True; raise AssertionError with the log of a component that has ended."""
        for name, process in self._processes.items():
            assert process.poll() is None, (self._home / f"{name}.log").read_text()[-3000:]
        return True

    def end(self):
        """End all components with all that they have started, within five seconds."""
        processes, deadline = [*self._processes.values(), *self._killed], time.monotonic() + 5
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def running(home, dags, *, triggerer=False, **environment):
    """An Airflow that runs until the end of the block; its `components` can be killed and started again."""
    (home / "config").mkdir(parents=True)  # Airflow imports from there
    (home / "config" / "sqlite_connection.py").symlink_to(Path(__file__).with_name("sqlite_connection.py"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = AirflowServer(home, port)
    (home / "passwords.json").write_text(json.dumps(server.passwords))
    env = server.environment(dags, **environment)
    subprocess.run([*AIRFLOW, "db", "migrate"], env=env, cwd=home, check=True, capture_output=True)
    server.components = Components(home, env)
    try:
        for name in COMPONENTS:
            if triggerer or name != "triggerer":
                server.components.start(name)
        until(lambda: server.components.all_alive() and server.is_up(), "Airflow is up")
        yield server
    finally:
        server.components.end()
