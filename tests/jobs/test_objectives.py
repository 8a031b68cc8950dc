"""Losses and metrics of one's own, in a module that travels with the job: from a search to the champion."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.specs import PreprocessSpec, PromoteSpec, TrainSpec

pytestmark = pytest.mark.spark

OWN = """
import numpy as np
from keras import ops
def asymmetric(y_true, y_pred, over=1.0):
    error = y_true - y_pred
    return ops.mean(ops.where(error > 0, error, -over * error), axis=-1)
def too_little(labels, outputs, weights):
    return float(np.average(np.maximum(labels - outputs, 0), weights=weights))
"""
TRAINING = {
    "trainer": "SingleTrainer",
    "trainer_params": {"batch_size": 16, "num_epoch": 6},
    "num_folds": 2,
    "metric": "jobobjectives:too_little",
    "metric_direction": "min",
}


@pytest.fixture
def own(module):
    module("jobobjectives", OWN)


@pytest.fixture
def rows(tmp_path):
    """200 rows of y = x with a wide spread; a weight of 0 for those that are spoilt."""
    random = np.random.default_rng(3)
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["x", "y", "w"])
        for number in range(200):
            x, spoilt = random.uniform(-1, 1), number % 4 == 0
            writer.writerow([round(x, 5), -1000 if spoilt else round(x + random.normal(0, 1), 5), 0 if spoilt else 1])
    return str(path)


def test_a_loss_and_a_metric_by_path_decide_a_search_and_a_promotion(run_job, rows, own, scoring, monkeypatch):
    prepared = run_job(PreprocessSpec.build(input_path=rows, label_col="y", weight_col="w")).result["dataset_path"]
    hyperparameters = {"layer_dims": [None, 1], "optimizer": "adam", "learning_rate": 0.05, "task": "regression"}
    high, low = ({"name": "jobobjectives:asymmetric", "over": over} for over in (0.1, 3.0))
    spec = TrainSpec.build(
        dataset_path=prepared,
        hyperparameters=hyperparameters,
        param_grid={"loss": [high, low]},
        metrics=["mae"],
        test_share=0.2,
        **TRAINING,
    )
    done = run_job(spec)
    assert done.result["best_params"]["loss"] == high  # it predicts more
    metrics = done.result["metrics"]
    assert metrics["mae"]["test"] < 10  # rows without weight, far away, do not count
    assert metrics["jobobjectives:too_little"]["test"] < metrics["mae"]["test"]
    assert '"over": 0.1' in Path(done.result["report_path"][7:]).read_text().replace("&#34;", '"')

    other = run_job(TrainSpec.build(dataset_path=prepared, hyperparameters={**hyperparameters, "loss": low}, **TRAINING))
    challenge = {"champion": "c", "period": "2026-03", "input_path": rows, "max_quarantined": 1.0}
    challenge |= {name: TRAINING[name] for name in ("metric", "metric_direction")}
    worse = PromoteSpec.build(model_path=other.result["model_path"], champion_path=done.result["model_path"], **challenge)
    result = run_job(worse).result
    assert not result["promoted"]
    assert result["metrics"]["challenger"]["jobobjectives:too_little"] > result["metrics"]["champion"]["jobobjectives:too_little"]

    monkeypatch.setitem(sys.modules, "jobobjectives", None)  # scoring needs neither
    assert scoring(done.result["model_path"], "x\n0.5\n-0.5\n").result["rows"] == 2


def test_a_metric_that_cannot_be_imported_ends_the_job_before_any_fit(run_job, rows, own):
    prepared = run_job(PreprocessSpec.build(input_path=rows, label_col="y", weight_col="w")).result["dataset_path"]
    spec = TrainSpec.build(
        dataset_path=prepared, hyperparameters={"layer_dims": [None, 1]}, **{**TRAINING, "metric": "jobobjectives:nothing"}
    )
    with pytest.raises(SpecError, match=r"metric: expected 'package\.module:name', received 'jobobjectives:nothing'"):
        run_job(spec)
