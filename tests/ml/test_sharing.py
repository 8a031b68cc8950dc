"""Fits that share what their machine holds of the rows, on real Spark."""

import shutil
from pathlib import Path

import pytest

from airflow_provider_distkeras.ml import DistKeras
from airflow_provider_distkeras.ml.fitting import Fitting
from airflow_provider_distkeras.ml.folds import PART, Fold
from airflow_provider_distkeras.ml.shared_rows import Cut
from airflow_provider_distkeras.ml.sharing import Sharing, Wanted
from airflow_provider_distkeras.training.worker import local_folder

pytestmark = pytest.mark.spark


def test_a_machine_without_the_rows_reads_them_for_all_fits_of_its_task(spark, monkeypatch):
    data = spark.range(90).selectExpr("array(float(id % 7)) AS features", "double(id % 7) AS label", f"int(id % 3) AS {PART}")
    estimator = DistKeras("SingleTrainer", {"batch_size": 16, "num_epoch": 1}, layer_dims=[None, 1])
    fitting = Fitting.of(estimator, data)

    def lose(_):
        for rows in Path(local_folder()).glob("distkeras-rows-*"):
            shutil.rmtree(rows)

    with Sharing(data) as sharing:
        assert sharing.survey(fitting, describes=False).rows == {0: 30, 1: 30, 2: 30}
        spark.sparkContext.parallelize([0], 1).foreach(lose)
        fed = []
        submit = sharing._submit
        monkeypatch.setattr(sharing, "_submit", lambda *said: fed.append(len(said) > 3) or submit(*said))
        fits = sharing.run([Wanted(fitting, Cut(Fold((0, 1), 2))), Wanted(fitting, Cut(Fold((1, 2), 0)))], ("rmse",))
    assert fed == [False, True]
    assert [fit.summary.rows for fit in fits] == [60, 60]
    assert all(fit.measured["metrics"]["rmse"] >= 0 for fit in fits)
