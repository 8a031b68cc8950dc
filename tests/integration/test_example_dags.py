"""The example DAG for real: Airflow, Spark, Keras, on a small file."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_distkeras.contract.paths import committed
from airflow_provider_distkeras.contract.storage import LocalStorage, local_path

pytestmark = [pytest.mark.spark, pytest.mark.airflow]

REPOSITORY = Path(__file__).parents[2]


def write_rows(path, numbers):
    """y = 3 x + 10 on warm days, 3 x on cold ones; now and then x is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "x", "kind", "y"])
        for n in numbers:
            x, kind = n % 20, "warm" if n % 3 else "cold"
            writer.writerow([n, "" if n % 50 == 49 else x, kind, 3 * x + (10 if kind == "warm" else 0)])


@pytest.fixture
def dags_test(airflow_db, tmp_path):
    """Runs `airflow dags test csv_to_scores`, as a user would."""

    def run(date, conf):
        env = {
            **os.environ,
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "example_dags"),
            "AIRFLOW__DISTKERAS__ARTIFACT_ROOT": str(tmp_path / "artifacts"),
            "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[2]"}),
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        command = [sys.executable, "-m", "airflow", "dags", "test", "csv_to_scores", date, "--conf", json.dumps(conf)]
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def test_csv_to_scores(dags_test, tmp_path):
    write_rows(tmp_path / "train" / "1.csv", range(200))
    write_rows(tmp_path / "train" / "2.csv", range(200, 400))
    write_rows(tmp_path / "new" / "held-out.csv", range(400, 460))
    conf = {
        "input_path": f"{tmp_path}/train/*.csv",
        "new_path": f"{tmp_path}/new/*.csv",
        "label_column": "y",
        "excluded_columns": ["id"],
        "categorical_columns": ["kind"],
        "layer_dims": [None, 8, 1],
        "learning_rates": [0.2],
        "dropout_rates": [0.0, 0.9],
        "num_folds": 2,
        "batch_size": 16,
    }

    done = dags_test("2026-03-01", conf)

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    period = f"file://{tmp_path}/artifacts/csv_to_scores/{{}}/period=2026-03-01T000000Z"
    dataset, model, scores = (committed(LocalStorage(), period.format(task)).result for task in ("prepare", "train", "score"))
    assert dataset["rows"] == model["rows"] == 400
    assert model["best_params"]["dropout_rate"] == 0.0
    assert scores["rows"] == 60
    assert scores["metrics"]["r2"] > 0.9
    for path in (model["model_path"], model["report_path"], scores["predictions_path"]):
        assert local_path(path).exists()
    assert "distkeras: " in done.stdout
