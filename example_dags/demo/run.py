"""`make demo`: data, an Airflow of its own, the DAG for real, and what came out."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import home
import make_data

from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.files.storage import LocalStorage, local_path
from airflow_provider_distkeras.hooks.spark_environment import SparkEnvironmentError, find_java_home, find_spark_home

TASKS = ("prepare", "train", "score")
LOG = home.HOME / "demo.log"
_TASK = re.compile(r"\[DAG TEST\] starting task_id=(\w+)")
_LOGGED = re.compile(r"distkeras: (.*?)\s*(\[\S+\]( loc=\S+)?)?$")
_STAMP = re.compile(r"\d{4}-\d{2}-\d{2}T")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def main() -> int:
    """Run the demo; 0 if all went well."""
    arguments = _arguments()
    home.tune_spark()
    try:
        find_spark_home()
        find_java_home()
        prepared = _prepare_data(arguments)
    except (SparkEnvironmentError, make_data.DemoError) as error:
        print(error, file=sys.stderr)
        return 1
    environment = home.environment()
    os.environ.clear()
    os.environ.update(environment)
    started = time.monotonic()
    with LOG.open("w") as log:
        migrated = _migrate(log)
        if migrated:
            _step(f"Running the DAG {home.DAG_ID} for {arguments.date}")
            _run_dag(arguments.date, _conf(prepared), log, started)
    manifests = _manifests(arguments.date) if migrated else {}
    if len(manifests) < len(TASKS):
        return _report_failure()
    _summarise(prepared, manifests, time.monotonic() - started)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", default="", help="a CSV file of your own")
    parser.add_argument("--label", default="", help="its column to predict")
    parser.add_argument("--exclude", default="", help="columns to leave out, comma-separated")
    parser.add_argument("--categorical", default="", help="columns to one-hot encode, comma-separated")
    parser.add_argument("--date", default="2026-03-01", help="the day of data that the run is about")
    return parser.parse_args()


def _prepare_data(arguments: argparse.Namespace) -> make_data.Prepared:
    if not arguments.csv:
        ignored = [name.upper() for name in ("label", "exclude", "categorical") if getattr(arguments, name)]
        if ignored:
            raise make_data.DemoError(
                f"{ignored[0]}: name the file that it is about too, such as make demo CSV=path/to.csv LABEL=cnt."
            )
        _step("Generating three years of hourly bike rentals")
        prepared = make_data.generate(home.DATA)
    else:
        if not arguments.label:
            raise make_data.DemoError("LABEL: name the column to predict, such as make demo CSV=path/to.csv LABEL=cnt.")
        _step(f"Splitting {arguments.csv}")
        prepared = make_data.split_own(
            home.DATA, Path(arguments.csv).expanduser(), arguments.label, _names(arguments.exclude), _names(arguments.categorical)
        )
    for notice in prepared.notices:
        print(f"    {notice}")
    print(f"    {prepared.rows} rows to train on in {_short(prepared.train)}, a fifth held out in {_short(prepared.new)}")
    return prepared


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _conf(prepared: make_data.Prepared) -> dict[str, Any]:
    return {
        "input_path": f"{prepared.train}/*.csv",
        "new_path": f"{prepared.new}/*.csv",
        "label_column": prepared.label,
        "excluded_columns": prepared.excluded,
        "categorical_columns": prepared.categorical,
    }


def _migrate(log: IO[str]) -> bool:
    """Bring the demo's Airflow database to the installed version; a marker spares the seconds of checking it."""
    marker = home.HOME / "airflow" / f"migrated-{version('apache-airflow')}"
    if not marker.exists():
        _step("Preparing an Airflow of its own in .demo/airflow")
        if subprocess.run([*home.AIRFLOW, "db", "migrate"], stdout=log, stderr=log, check=False).returncode:
            return False
        marker.touch()
    return True


def _run_dag(date: str, conf: dict[str, Any], log: Any, started: float) -> None:
    """Run the DAG; show its progress and write all of its output to the log."""
    command = [*home.AIRFLOW, "dags", "test", home.DAG_ID, date, "--conf", json.dumps(conf)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    assert process.stdout is not None
    for raw in process.stdout:
        line = _COLOUR.sub("", raw.rstrip())
        log.write(line + "\n")
        log.flush()
        task, logged = _TASK.search(line), _LOGGED.search(line)
        if task:
            home.tune_spark()
            print(f"  [{time.monotonic() - started:5.1f} s] {task[1]}", flush=True)
        elif logged:
            shown = logged[1].replace(f"file://{home.CHECKOUT}/", "")
            print(f"  [{time.monotonic() - started:5.1f} s]   {shown}", flush=True)
    process.wait()


def _manifests(date: str) -> dict[str, Manifest]:
    """Return the manifests of the date's run, by task."""
    from airflow.models.dagrun import DagRun
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    day = datetime.fromisoformat(date).replace(tzinfo=UTC)
    with create_session() as session:
        query = select(DagRun).where(DagRun.dag_id == home.DAG_ID, DagRun.logical_date == day).order_by(DagRun.id.desc())
        run = session.scalars(query).first()
        if run is None:
            return {}
        rows: list[Any] = list(session.scalars(XComModel.get_many(run_id=run.run_id, key="manifest_path", dag_ids=home.DAG_ID)))
        paths = {row.task_id: XComModel.deserialize_value(row) for row in rows}
    return {task_id: Manifest.read(LocalStorage(), path) for task_id, path in paths.items()}


def _report_failure() -> int:
    lines = LOG.read_text(errors="replace").splitlines()
    causes = [number for number, line in enumerate(lines) if re.search(r"Airflow\w*Exception: ", line)]
    cause = lines[causes[-1] :] if causes else lines[-15:]
    end = next((number for number, line in enumerate(cause) if _STAMP.match(line)), len(cause))
    print("\nThe demo failed.", *cause[:end], f"The whole log: {_short(LOG)}", sep="\n", file=sys.stderr)
    return 1


def _summarise(prepared: make_data.Prepared, manifests: dict[str, Manifest], seconds: float) -> None:
    dataset, model, scores = (manifests[task].result for task in TASKS)
    folds = model["metrics"]["r2"]
    lines = {
        "rows in": f"{dataset['rows']} (of {prepared.rows}; {dataset['rejected_rows']} rejected)",
        "best parameters": ", ".join(f"{name}={value}" for name, value in sorted(model["best_params"].items())),
        "r2 over folds": f"{folds['mean']:.3f} +- {folds['std']:.3f}",
        "r2 on held-out rows": f"{scores['metrics']['r2']:.3f} ({scores['rows']} rows)",
        "model": _short(local_path(model["model_path"])),
        "report": _short(local_path(model["report_path"])),
        "scores": _short(local_path(scores["predictions_path"])),
    }
    _step(f"Done in {seconds:.0f} s")
    for name, value in lines.items():
        print(f"    {name:<20} {value}")
    print("\nSee the same DAG, its run and its report in the Airflow UI:  make ui")


def _short(path: Path) -> str:
    return str(path.relative_to(home.CHECKOUT)) if path.is_relative_to(home.CHECKOUT) else str(path)


def _step(text: str) -> None:
    print(f"==> {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
