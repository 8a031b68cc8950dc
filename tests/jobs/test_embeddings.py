"""Categories from their numbers through folds and a grid to the scores of new rows, by jobs."""

import csv

import numpy as np
import pytest

from airflow_provider_distkeras.contract.specs import PreprocessSpec, TrainSpec

pytestmark = pytest.mark.spark

EFFECTS = {f"s{number}": effect for number, effect in enumerate([-3, -2, -1, 0, 1, 2, 3, 4])}


@pytest.fixture
def sales(tmp_path):
    """400 rows of a shop and a number, and what follows from both."""
    random = np.random.default_rng(3)
    with (tmp_path / "sales.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["shop", "x", "label"])
        for _ in range(400):
            shop, x = random.choice(list(EFFECTS)), random.normal()
            writer.writerow([shop, round(x, 6), round(EFFECTS[shop] + x, 6)])
    return str(tmp_path / "sales.csv")


def test_shops_are_embedded_in_every_fold_and_in_new_files(run_job, scoring, spark, sales):
    fields = {"categorical_encoding": {"shop": "index"}, "scaling": "standard", "unseen_categories": "quarantine"}
    prepared = run_job(PreprocessSpec.build(input_path=sales, **fields))
    assert prepared.details.layout[0] == {"column": "shop", "kind": "index", "start": 0, "stop": 1, "fill": None, "size": 9}
    trained = run_job(
        TrainSpec.build(
            dataset_path=prepared.result["dataset_path"],
            trainer="SingleTrainer",
            trainer_params={"batch_size": 16, "num_epoch": 8},
            hyperparameters={"layer_dims": [None, 16, 1], "optimizer": "adam", "learning_rate": 0.02},
            param_grid={"embedding_dims": ["auto", {"shop": 2}]},
            num_folds=2,
        )
    )
    assert trained.result["metrics"]["r2"]["mean"] > 0.9  # the number of a shop as a feature would give some 0.3
    scored = scoring(trained.result["model_path"], "shop,x\ns7,1\ns0,0\nnew,0\n", max_quarantined=0.5)
    assert scored.details.quarantined == {"'shop' is a category that training did not see: new": 1}
    predictions = {row["shop"]: row["prediction"] for row in spark.read.parquet(scored.result["predictions_path"]).collect()}
    assert predictions["s7"] == pytest.approx(5, abs=0.7)
    assert predictions["s0"] == pytest.approx(-3, abs=0.7)
