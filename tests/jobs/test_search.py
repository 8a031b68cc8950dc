"""Searches of a train job: their results, and what they resume from an attempt that was cut off."""

import json
import shutil
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import ArtifactError, SpecError, TrainingError
from airflow_provider_distkeras.contract.specs import PreprocessSpec, TrainSpec
from airflow_provider_distkeras.ml.estimator.fold import TEST
from airflow_provider_distkeras.ml.tuning.journal import Journal
from airflow_provider_distkeras.ml.tuning.search import make_splitter
from tests.fixtures.jobs import claim

pytestmark = pytest.mark.spark

TRAINING = {
    "trainer": "SingleTrainer",
    "trainer_params": {"batch_size": 16, "num_epoch": 8},
    "hyperparameters": {"layer_dims": [None, 8, 1], "optimizer": "adam"},
    "num_folds": 2,
}


@pytest.fixture
def dataset(run_job, bikes):
    """A prepared dataset's path."""

    def prepare(input_path=None, **fields):
        usual = {"columns_renamed": {"cnt": "label"}, "excluded_columns": ["busy"], "categorical_columns": ["season"]}
        usual |= {"missing": {"hum": "mean"}, "scaling": "standard"}
        return run_job(PreprocessSpec.build(input_path=input_path or bikes(), **{**usual, **fields})).result["dataset_path"]

    return prepare


def trials_of(manifest):
    return {
        path.name: json.loads(path.read_bytes()) for path in Path(manifest.result["model_path"][7:]).parent.glob("trials/*.json")
    }


def test_a_random_search_by_halving_has_all_metrics_and_a_test(run_job, dataset):
    spec = TrainSpec.build(
        dataset_path=dataset(excluded_columns=["busy", "id"]),
        search="random",
        num_trials=4,
        halving_factor=2,
        param_distributions={"learning_rate": {"loguniform": [0.001, 0.3]}},
        metrics=["rmse", "mae"],
        test_share=0.2,
        parallelism=1,  # whom halving promotes depends on who ends first
        **{**TRAINING, "trainer_params": {"batch_size": 16, "num_epoch": 8}},
    )
    done = run_job(spec)
    metrics = done.result["metrics"]
    assert list(metrics) == ["r2", "rmse", "mae"]
    assert metrics["r2"]["mean"] > 0.5
    assert metrics["r2"]["test"] == pytest.approx(metrics["r2"]["mean"], abs=0.2)
    trials = done.details.trials
    assert done.details.training["label_transform"]["kinds"] == ["standardize"]  # as the manifest says of the features
    assert [trial["params"]["num_epoch"] for trial in trials].count(2) == 4
    assert done.result["best_params"]["num_epoch"] == 8
    assert set(done.result["best_params"]) == {"batch_size", "num_epoch", "layer_dims", "optimizer", "learning_rate"}
    assert all(len(trial["metrics"]["rmse"]["folds"]) == 2 for trial in trials)
    assert len(trials_of(done)) == 2 * len(trials)


@pytest.mark.parametrize("refit", [True, False])
def test_one_fold_measures_trials_on_the_rows_set_aside(run_job, dataset, refit):
    spec = TrainSpec.build(
        dataset_path=dataset(excluded_columns=["busy", "id"]),
        param_grid={"learning_rate": [0.003, 0.03]},
        **{**TRAINING, "num_folds": 1, "test_share": 0.25, "refit": refit},
    )
    done = run_job(spec)
    statistics = done.result["metrics"]["r2"]
    assert statistics["mean"] == max(trial["metrics"]["r2"]["mean"] for trial in done.details.trials)
    assert statistics["std"] == 0
    assert "test" not in statistics  # the rows chose the trial
    assert done.details.training["rows"] == (240 if refit else pytest.approx(180, abs=15))
    page = Path(done.result["report_path"][7:]).read_text()
    assert "r2, on rows set aside" in page
    again = run_job(spec)  # its fits are measured anew, and give the same
    assert again.result["metrics"] == done.result["metrics"]


def test_one_fold_and_validation_rows_measure_on_them(run_job, dataset, bikes):
    path = bikes(columns=("season", "temp", "hum", "cnt", "held_out"))
    prepared = dataset(path, validation_col="held_out", excluded_columns=[])
    done = run_job(TrainSpec.build(dataset_path=prepared, **{**TRAINING, "num_folds": 1}))
    assert done.result["metrics"]["r2"]["mean"] is not None
    assert "r2, on validation rows" in Path(done.result["report_path"][7:]).read_text()


def test_nothing_set_aside_trains_one_trial_measures_nothing_and_refuses_to_choose(run_job, dataset, caplog):
    fields = {"dataset_path": dataset(excluded_columns=["busy", "id"]), **TRAINING, "num_folds": 1}
    done = run_job(TrainSpec.build(**fields, tensorboard=True))
    assert done.result["metrics"] == {"r2": {"mean": None, "std": None}}
    assert done.details.training["rows"] == 240
    assert "nothing is measured" in caplog.text
    assert "not measured" in Path(done.result["report_path"][7:]).read_text()
    with pytest.raises(SpecError, match="num_folds: no rows are set aside, by which 2 trials could be compared"):
        run_job(TrainSpec.build(**fields, param_grid={"learning_rate": [0.003, 0.03]}))


def test_a_metric_that_spark_lacks_decides_between_fits_of_several_workers(run_job, dataset):
    spec = TrainSpec.build(
        dataset_path=dataset(excluded_columns=["busy", "id"]),
        param_grid={"learning_rate": [1e-6, 0.03]},
        metric="mape",
        metrics=["r2"],
        **{**TRAINING, "trainer": "ADAG", "trainer_params": {"batch_size": 8, "num_epoch": 8, "num_workers": 2}},
    )

    done = run_job(spec)

    assert done.result["best_params"]["learning_rate"] == 0.03
    assert list(done.result["metrics"]) == ["mape", "r2"]
    slow, fast = (trial["metrics"]["mape"]["mean"] for trial in done.details.trials)
    assert fast < slow


def test_a_search_that_was_cut_off_is_resumed(run_job, dataset, tmp_path):
    spec = TrainSpec.build(
        dataset_path=dataset(excluded_columns=["busy", "id"]), param_grid={"learning_rate": [0.01, 0.1]}, **TRAINING
    )
    first = run_job(spec)
    done = trials_of(first)
    place = Path(first.result["model_path"][7:]).parent
    (place / "_MANIFEST.json").unlink()  # as if it had been killed
    (place.parent / "CURRENT").unlink()
    lost = sorted(done)[0]
    (place / "trials" / lost).unlink()
    again = run_job(spec)
    taken = trials_of(again)
    assert taken.keys() == done.keys()
    assert {name for name in done if taken[name] != done[name]} == {lost}  # how long it took, differs
    assert again.result["best_params"] == first.result["best_params"]
    assert [trial["metrics"] for trial in again.details.trials] == [trial["metrics"] for trial in first.details.trials]
    third = trials_of(run_job(spec))  # after a result, all is done anew
    assert all(third[name] != taken[name] for name in taken)


def test_a_search_whose_root_vanishes_ends_at_its_next_fit_and_makes_nothing_anew(run_job, dataset, tmp_path, monkeypatch):
    spec = TrainSpec.build(
        dataset_path=dataset(excluded_columns=["busy", "id"]), param_grid={"learning_rate": [0.01, 0.1]}, **TRAINING
    )
    root, record = tmp_path / "out" / "dag" / "train", Journal.record

    def vanish(journal, *arguments):
        shutil.rmtree(root, ignore_errors=True)
        record(journal, *arguments)

    monkeypatch.setattr(Journal, "record", vanish)
    with pytest.raises(ArtifactError, match=f"there is no file://{root} any more"):
        run_job(spec)
    assert not root.exists()


def test_a_trial_that_diverges_is_recorded_with_its_cause_and_a_limit_ends_the_search(run_job, dataset, tmp_path):
    fields = {"dataset_path": dataset(excluded_columns=["busy", "id"]), "param_grid": {"learning_rate": [0.1, 1e30]}, **TRAINING}
    done = run_job(TrainSpec.build(**fields))
    good, bad = done.details.trials
    assert good["error"] is None
    assert "Training diverged" in bad["error"]
    assert bad["metrics"] == {}
    spec = TrainSpec.build(**fields, max_failed_trials=0)
    attempt = claim(tmp_path / "out", spec)
    with pytest.raises(TrainingError, match="1 trials failed, max_failed_trials allows 0"):
        run_job(spec, attempt)
    assert not Path(attempt.manifest_path[7:]).exists()


@pytest.mark.parametrize(("column", "role"), [("season", "group"), ("id", "time")])
def test_folds_by_group_and_by_time(spark, dataset, column, role):
    path = dataset(
        **{f"{role}_col": column}, excluded_columns=["busy"], categorical_columns=[] if role == "group" else ["season"]
    )
    data = spark.read.parquet(path)
    assert role in data.columns
    splitter = make_splitter(TrainSpec.build(dataset_path=path, **TRAINING), data.columns)
    parts = (
        splitter.assign(data)
        .groupBy("__distkeras_part")
        .agg(F.min(role), F.max(role), F.countDistinct(role), F.count(F.lit(1)))
        .orderBy("__distkeras_part")
        .collect()
    )
    if role == "group":
        assert [(low, high) for _, low, high, *_ in parts] in (
            [("summer", "summer"), ("winter", "winter")],
            [("winter", "winter"), ("summer", "summer")],
        )
    else:
        assert [(low, high) for _, low, high, *_ in parts] == [(0.0, 79.0), (80.0, 159.0), (160.0, 239.0)]
    assert TEST not in [part for part, *_ in parts]
