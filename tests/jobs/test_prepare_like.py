"""Preprocess jobs that prepare files as those of an earlier model were."""

import csv

import numpy as np
import pyarrow.parquet as pq
import pytest

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.specs import PreprocessSpec, TrainSpec

pytestmark = pytest.mark.spark


@pytest.fixture
def files(tmp_path):
    """Writes 90 rows of a shop, a number and an amount; returns their path."""

    def write(name, shops, shift=0.0, delimiter=","):
        random, path = np.random.default_rng(len(shops)), tmp_path / f"{name}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(["shop", "x", "amount"])
            for number in range(90):
                x = round(random.normal() + shift, 6)
                writer.writerow([shops[number % len(shops)], x if number % 9 else "", 10 * x])
        return str(path)

    return write


@pytest.fixture
def trained(run_job, files):
    """A preprocess job's manifest, and the model that was trained on its dataset."""
    prepared = run_job(
        PreprocessSpec.build(
            input_path=files("first", "abc", delimiter=";"), delimiter=";", columns_renamed={"amount": "label"},
            categorical_columns=["shop"], missing={"x": "mean"}, scaling="standard",
        )
    )  # fmt: skip
    return prepared, run_job(train_spec(prepared)).result["model_path"]


def train_spec(prepared, **fields):
    return TrainSpec.build(
        dataset_path=prepared.result["dataset_path"], trainer="SingleTrainer", trainer_params={"num_epoch": 1, "batch_size": 16},
        hyperparameters={"layer_dims": [None, 4, 1]}, num_folds=2, **fields,
    )  # fmt: skip


def test_new_files_have_the_features_that_the_model_knows_and_may_train_it_further(run_job, files, trained):
    first, model = trained
    path = files("second", "abcd", shift=5.0, delimiter=";")
    again = run_job(PreprocessSpec.build(input_path=path, like=model))

    assert (again.result["feature_columns"], again.result["rows"]) == (["shop", "x"], 90)
    rows, x = pq.read_table(again.result["dataset_path"]).to_pydict(), first.details.profile["x"]
    with open(path) as file:
        shop, value, amount = [line.strip().split(";") for line in file][2]
    expected = [shop == "a", shop == "b", shop == "c", (float(value) - x["mean"]) / x["std"]]
    row = rows["features"][rows["label"].index(float(amount))]
    assert row[3] == pytest.approx(expected[3], rel=0.1)  # filled in with the mean, the deviation is a little less
    assert [value > 0 for value in row[:3]] == expected[:3]
    assert again.details.scaling == {"shop": "standard", "x": "standard"}
    assert run_job(train_spec(again, initial_model=model)).details.training["started_from"] == f"2 of 2 layers from {model}"


def test_files_that_lack_a_column_of_the_model_are_refused(run_job, tmp_path, trained):
    (tmp_path / "other.csv").write_text("shop;amount\na;1\nb;2\n")
    with pytest.raises(DataError, match="lacks the column 'x' that the pipeline was fitted with"):
        run_job(PreprocessSpec.build(input_path=str(tmp_path / "other.csv"), like=trained[1]))


def test_options_by_which_a_pipeline_is_fitted_are_refused_beside_like(run_job, files, trained):
    with pytest.raises(SpecError, match="scaling: with like, files are prepared as those before"):
        run_job(PreprocessSpec.build(input_path=files("third", "ab"), like=trained[1], scaling="minmax"))
