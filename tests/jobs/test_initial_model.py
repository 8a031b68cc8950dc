"""Train jobs that begin with the model of an earlier one."""

import csv

import numpy as np
import pytest

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.specs import PreprocessSpec, TrainSpec

pytestmark = pytest.mark.spark


@pytest.fixture
def dataset(run_job, tmp_path):
    """Prepares 200 rows of a shop and a number; returns the manifest's result."""

    def prepare(seed, shops="abc", **fields):
        random, path = np.random.default_rng(seed), tmp_path / f"{seed}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["shop", "x", "label"])
            for number in range(200):
                shop, x = shops[number % len(shops)], round(random.normal(), 6)
                writer.writerow([shop, x, 100 + 10 * x + 5 * (shop == "b")])
        return run_job(
            PreprocessSpec.build(**{"input_path": str(path), "scaling": "standard", "categorical_columns": ["shop"], **fields})
        ).result

    return prepare


def train_spec(dataset, **fields):
    return TrainSpec.build(
        dataset_path=dataset["dataset_path"],
        trainer="SingleTrainer",
        trainer_params={"batch_size": 16, "num_epoch": fields.pop("num_epoch", 1)},
        hyperparameters={"layer_dims": [None, 8, 1], "optimizer": "adam", "learning_rate": fields.pop("rate", 1e-6)},
        **{"num_folds": 2, **fields},
    )


def test_retraining_begins_with_the_earlier_model_and_says_so(run_job, dataset, caplog):
    earlier = run_job(train_spec(dataset(1), num_epoch=15, rate=0.02)).result["model_path"]
    rows = dataset(2)
    again, anew = run_job(train_spec(rows, initial_model=earlier)), run_job(train_spec(rows))
    assert anew.result["metrics"]["r2"]["mean"] < 0.5
    assert again.result["metrics"]["r2"]["mean"] > 0.9
    assert again.details.training["started_from"] == f"2 of 2 layers from {earlier}"
    assert b"2 of 2 layers from" in LocalStorage().read_bytes(again.result["report_path"])
    assert "initial_model may have been trained on rows that this search measures on" in caplog.text


def test_features_that_mean_something_else_are_refused_by_their_columns(run_job, dataset):
    earlier = run_job(train_spec(dataset(1), num_folds=1)).result["model_path"]
    for fields, difference in (
        ({"shops": "abd"}, r"'shop' \(new: d; gone: c\)"),
        ({"categorical_encoding": {"shop": "index"}, "categorical_columns": []}, r"'shop' \(new: index; gone: category\)"),
        ({"excluded_columns": ["shop"], "categorical_columns": []}, r"'shop' \(gone\)"),
    ):
        with pytest.raises(DataError, match=f"initial_model: the dataset's columns are not those of {earlier}: {difference}"):
            run_job(train_spec(dataset(2, **fields), initial_model=earlier))
