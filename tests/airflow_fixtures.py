"""A machine with a stub in place of Spark: no Java, no JVM, real Airflow."""

import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.fakes.resource_manager import APPLICATION, resource_manager

STUB = Path(__file__).parent / "fakes" / "spark_submit.py"
MODULES = "java.base@{version}\njdk.incubator.vector@{version}\n"
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)


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


def install_stub(folder: Path) -> tuple[Path, dict[str, str]]:
    """An installed pyspark whose spark-submit is the stub: its home, and the variables that go with it."""
    home = folder / "site" / "pyspark"
    write_script(home / "bin" / "spark-submit", f'#!/bin/sh\nexec "{sys.executable}" "{STUB}" "$@"\n')
    (home / "__init__.py").touch()
    return home, {
        "STUB_CALLS": str(folder / "calls.jsonl"),
        "JAVA_HOME": str(make_java(folder / "java", "17.0.9")),
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[2]"}),
    }


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """The stub in place of Spark: `mode` says what it does, `calls` tells how it was called."""
    home, variables = install_stub(tmp_path)
    monkeypatch.syspath_prepend(str(home.parent))
    for name in [name for name in sys.modules if name == "pyspark"]:
        monkeypatch.delitem(sys.modules, name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", os.defpath)
    calls = Path(variables["STUB_CALLS"])
    return SimpleNamespace(
        home=home,
        mode=lambda mode, of="": monkeypatch.setenv("STUB_MODE", f"{mode} {of}".strip()),
        metrics=lambda **metrics: monkeypatch.setenv("STUB_METRICS", json.dumps(metrics)),
        lines=lambda *lines: monkeypatch.setenv("STUB_LINES", json.dumps(lines)),
        copy_package=lambda to: monkeypatch.setenv("STUB_COPY_PACKAGE", str(to)),
        calls=lambda: [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else [],
    )


@pytest.fixture
def csv(tmp_path):
    """A CSV file with a label."""
    path = tmp_path / "in" / "day.csv"
    path.parent.mkdir()
    path.write_text("temp,cnt\n0.5,12\n0.7,30\n")
    return path


@pytest.fixture
def root(tmp_path):
    """Where artifacts go."""
    return tmp_path / "out"


@pytest.fixture
def prepare(csv, root):
    """Makes a preprocess task on the CSV file."""
    from airflow_provider_distkeras.operators import DistKerasPreprocessOperator

    return lambda **more: DistKerasPreprocessOperator(
        **{
            "task_id": "prepare",
            "input_path": str(csv),
            "columns_renamed": {"cnt": "label"},
            "artifact_root": str(root),
        }
        | more
    )


@pytest.fixture
def yarn(stub, monkeypatch):
    """The ResourceManager that the connection `yarn` names."""
    with resource_manager() as manager:
        extra = {"deploy-mode": "cluster", "yarn_resourcemanager_webapp_address": manager.url}
        monkeypatch.setenv("AIRFLOW_CONN_YARN", json.dumps({"conn_type": "spark", "host": "yarn", "extra": extra}))
        monkeypatch.setenv("STUB_SUBMITTED", f"INFO YarnClientImpl: Submitted application {APPLICATION}")
        yield manager


@pytest.fixture
def prepare_on_yarn(prepare):
    """Makes a preprocess task on YARN."""
    return lambda **more: prepare(**{"conn_id": "yarn", "status_poll_interval": 1} | more)


@pytest.fixture
def keep_sigterm():
    """Airflow's tasks set a handler of SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def run(airflow_db):
    """Run the tasks that `make` makes, for real, in a DAG of their own."""
    from airflow.sdk import DAG

    def run_tasks(make, *, logical_date=MARCH, params=None, **test):
        errors = []

        def keep(context):
            errors.append(context["exception"])

        callbacks = {"on_failure_callback": keep, "on_retry_callback": keep, "retry_delay": timedelta(0)}
        with DAG("dag", schedule=None, params=params, default_args=callbacks) as dag:
            make()
        _register(dag)
        return Run(dag, dag.test(logical_date=logical_date, **test), errors)

    return run_tasks


@pytest.fixture(scope="session")
def client(airflow_db):
    """Asks Airflow's own API server, as nobody."""
    from airflow.api_fastapi.app import create_app
    from fastapi.testclient import TestClient

    return TestClient(create_app(apps="core"))


@pytest.fixture
def log_in(client):
    """The headers of a user with a role of Airflow's simple auth manager."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    def headers(role):
        token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="ada", role=role))
        return {"Authorization": f"Bearer {token}"}

    return headers


def _register(dag):
    """Write a DAG that no file defines into the database, as the DAG processor would."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session

    DagBundlesManager().sync_bundles_to_db()
    with create_session() as session:
        lazy = LazyDeserializedDAG.from_dag(dag)
        update_dag_parsing_results_in_db("dags-folder", None, [lazy], {}, None, set(), session=session)


class Run:
    """A finished DAG run."""

    def __init__(self, dag, dag_run, errors):
        self.dag = dag
        self.dag_run = dag_run
        self.state = str(dag_run.state)
        self.errors = errors

    @property
    def message(self):
        """What the user reads: the message of the error that failed the task."""
        return str(self.errors[-1])

    def states(self):
        """The state of each task."""
        return {ti.task_id: str(ti.state) for ti in self.dag_run.get_task_instances()}

    def clear_and_run(self, task_id, retries):
        """Clear a task, as the UI does, and run it again; its state.

        Its DAG says so many retries by now. Airflow looks that up in the database, where other tests have left a DAG of this name.
        """
        from airflow.models.taskinstance import clear_task_instances
        from airflow.sdk.definitions.dag import _run_task
        from airflow.utils.session import create_session

        with create_session() as session:
            ti = self.dag_run.get_task_instance(task_id, session=session)
            clear_task_instances([ti], session)
            ti.max_tries = ti.try_number + retries
        ti = self.dag_run.get_task_instance(task_id)
        _run_task(ti=ti, task=self.dag.task_dict[task_id], run_triggerer=True)
        return str(self.dag_run.get_task_instance(task_id).state)

    def asset_events(self):
        """The extra of each asset event, by the asset's name."""
        return {event.asset.name: event.extra for event in self.raw_asset_events()}

    def raw_asset_events(self):
        """The events as Airflow keeps them."""
        from airflow.models.asset import AssetEvent
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == self.dag_run.run_id)).all()
            for event in events:
                assert event.asset is not None  # loaded while there is a session
            return events

    def xcoms(self, task_id):
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        with create_session() as session:
            query = XComModel.get_many(run_id=self.dag_run.run_id, task_ids=task_id, dag_ids=self.dag_run.dag_id)
            return {row.key: XComModel.deserialize_value(row) for row in session.scalars(query)}
