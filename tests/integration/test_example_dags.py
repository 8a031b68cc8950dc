"""The example DAGs for real: Airflow, Spark, Keras, on a small file."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import committed
from airflow_provider_distkeras.contract.artifacts.champions import Champions
from airflow_provider_distkeras.contract.files.storage import LocalStorage, local_path

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
    """Runs `airflow dags test`, as a user would; returns its output."""

    def run(dag_id, date, conf, *options):
        env = {
            **os.environ,
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "example_dags"),
            "AIRFLOW__DISTKERAS__ARTIFACT_ROOT": str(tmp_path / "artifacts"),
            "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[2]"}),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "KERAS_BACKEND": "jax",  # it starts and compiles twice as fast as the default
        }
        command = [sys.executable, "-m", "airflow", "dags", "test", dag_id, date, "--conf", json.dumps(conf), *options]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout

    return run


@pytest.fixture
def conf(tmp_path):
    """Rows, and the Params that describe them."""
    write_rows(tmp_path / "train" / "1.csv", range(200))
    write_rows(tmp_path / "train" / "2.csv", range(200, 400))
    write_rows(tmp_path / "new" / "held-out.csv", range(400, 460))
    return {
        "input_path": f"{tmp_path}/train/*.csv",
        "label_column": "y",
        "excluded_columns": ["id"],
        "categorical_columns": ["kind"],
    }


@pytest.fixture
def result(tmp_path):
    """The committed result of a task at a month."""

    def read(dag_id, *task, month="03"):
        period = f"file://{tmp_path}/artifacts/{'/'.join([dag_id, *task])}/period=2026-{month}-01T000000Z"
        return committed(LocalStorage(), period).result

    return read


@pytest.fixture
def champions(tmp_path):
    return Champions(LocalStorage(), f"file://{tmp_path}/artifacts", "bikes")


def test_csv_to_scores(dags_test, conf, result, tmp_path):
    conf |= {
        "new_path": f"{tmp_path}/new/*.csv",
        "layer_dims": [None, 8, 1],
        "learning_rates": [0.03],
        "dropout_rates": [0.0, 0.9],
        "num_folds": 2,
        "batch_size": 16,
    }

    output = dags_test("csv_to_scores", "2026-03-01", conf)

    dataset, model, scores = (result("csv_to_scores", task) for task in ("prepare", "train", "score"))
    assert dataset["rows"] == model["rows"] == 400
    assert model["best_params"]["dropout_rate"] == 0.0
    assert scores["rows"] == 60
    assert scores["metrics"]["r2"] > 0.9
    for path in (model["model_path"], model["report_path"], scores["predictions_path"]):
        assert local_path(path).exists()
    assert output.count("distkeras: progress 100 % | done") == 3
    assert "distkeras: progress 0 % | search: 0 of 4 fits" in output
    for noise in ("NativeCodeLoader", "log4j", "SparkContext", "port.cc", "incubator"):
        assert noise not in output


def test_a_champion_of_monthly_retraining_scores_until_a_better_one_comes(dags_test, conf, result, champions, tmp_path):
    conf["held_out_path"] = f"{tmp_path}/new/*.csv"
    dags_test("monthly_retraining", "2026-03-01", conf)
    dags_test("monthly_retraining", "2026-04-01", conf)
    dags_test("score_on_new_model", "2026-04-01", {"new_path": f"{tmp_path}/new/*.csv"})

    march, april = (result("monthly_retraining", "promote", month=month) for month in ("03", "04"))
    assert (march["promoted"], march["rows"]) == (True, 60)
    assert april["metrics"]["champion"] == march["metrics"]["challenger"]
    present = champions.present()
    assert [c.period for c in champions.history()] == ["2026-03-01T000000Z", "2026-04-01T000000Z"][: 1 + april["promoted"]]
    assert result("score_on_new_model", "score", month="04")["model_path"] == present.model_path == april["champion_path"]


def test_a_model_is_promoted_once_a_human_has_approved(dags_test, conf, result, champions, tmp_path):
    """Who runs the test does not wait: the approval is marked as given."""
    conf |= {"held_out_path": f"{tmp_path}/new/*.csv", "num_epoch": 5}
    dags_test("approval", "2026-03-01", conf, "--mark-success-pattern", "approve")

    model, scores, promoted = (result("approval", task) for task in ("challenger.train", "challenger.score", "promote"))
    assert scores["model_path"] == promoted["champion_path"] == champions.present().model_path == model["model_path"]
    assert scores["metrics"]["r2"] == pytest.approx(promoted["metrics"]["challenger"]["r2"])


def test_tuning_many_segments(dags_test, conf, result, tmp_path):
    del conf["input_path"]
    conf |= {"segments": [f"{tmp_path}/train/{number}.csv" for number in (1, 2)], "num_trials": 2, "num_epoch": 5}
    dags_test("tuning_many_segments", "2026-03-01", conf)

    for segment in ("0", "1"):
        model = result("tuning_many_segments", "train", segment)
        assert model["rows"] == 200
        assert {"learning_rate", "dropout_rate"} <= {*model["best_params"]}


def test_wide_and_deep(dags_test, result, tmp_path):
    random = np.random.default_rng(0)
    taste, fame = random.normal(size=60), random.normal(size=20)
    for name, rows in (("train/1", 2000), ("new/1", 200)):
        path = tmp_path / f"{name}.csv"
        path.parent.mkdir()
        users, articles, hours = (random.integers(0, most, rows) for most in (60, 20, 24))
        ratings = taste[users] + fame[articles] + np.sin(hours / 4)
        lines = zip([f"u{n}" for n in users], [f"a{n}" for n in articles], hours, range(rows), ratings, strict=True)
        path.write_text("\n".join(["user,article,hour,day,rating", *[",".join(map(str, line)) for line in lines]]))
    conf = {"input_path": f"{tmp_path}/train/*.csv", "new_path": f"{tmp_path}/new/*.csv"}
    dags_test("wide_and_deep", "2026-03-01", conf)

    dataset, model, scores = (result("wide_and_deep", f"ratings.{task}") for task in ("prepare", "train", "score"))
    assert dataset["feature_columns"] == ["user", "article", "hour"]
    assert model["metrics"]["r2"]["mean"] > 0.9  # of the last days
    assert scores["metrics"]["r2"] > 0.9
