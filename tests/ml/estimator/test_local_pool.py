"""Fits that share the rows that their machine stores, on real Spark."""

import gc
import math
import os
import shutil
from pathlib import Path

import pytest

from airflow_provider_distkeras.ml import DistKeras
from airflow_provider_distkeras.ml.estimator.fit import FitPlan
from airflow_provider_distkeras.ml.estimator.fold import PART, Fold
from airflow_provider_distkeras.ml.estimator.local_pool import FitRequest, LocalFitPool
from airflow_provider_distkeras.ml.estimator.network_cache import NetworkCache
from airflow_provider_distkeras.ml.estimator.row_cache import FoldSlice
from airflow_provider_distkeras.ml.network.metrics import Measurement
from airflow_provider_distkeras.spark.environment import worker_environment
from airflow_provider_distkeras.training.task import local_folder

pytestmark = pytest.mark.spark


def rows_and_plan(spark):
    data = spark.range(90).selectExpr("array(float(id % 7)) AS features", "double(id % 7) AS label", f"int(id % 3) AS {PART}")
    estimator = DistKeras("SingleTrainer", {"batch_size": 16, "num_epoch": 1}, layer_dims=[None, 1])
    return data, FitPlan.of(estimator, data)


def workers(spark, backend):
    """The Python worker of each slot: its process, and how many objects its garbage collector leaves alone."""

    def describe(rows):
        list(rows)
        return [(os.getpid(), gc.get_freeze_count())]

    context = spark.sparkContext
    with worker_environment(context, backend):
        processes = context.range(context.defaultParallelism, numSlices=context.defaultParallelism).mapPartitions(describe)
        processes.setName("workers")
    return dict(processes.collect())


def test_the_process_of_a_task_runs_the_next_task_too(spark):
    data, plan = rows_and_plan(spark)
    with LocalFitPool(data) as pool:
        pool.run([FitRequest(plan, FoldSlice(Fold((0, 1), 2)))])
        after_one = workers(spark, plan.backend)
        pool.run([FitRequest(plan, FoldSlice(Fold((1, 2), 0)))])
    after_two = workers(spark, plan.backend)

    assert set(after_one) & set(after_two)
    assert max(after_two.values()) > 100_000  # Spark collects garbage after every task, over all that is not left alone


def test_fits_that_differ_in_their_schedule_share_a_compiled_network_and_have_rates_of_their_own(spark):
    data, plan = rows_and_plan(spark)
    schedules = ["cosine", {"name": "PiecewiseConstantDecay", "boundaries": [1], "values": [0.1, 0.2]}]
    networks = NetworkCache()
    plans = [FitPlan.of(plan.params.copy({plan.params.lr_schedule: value}), data, networks) for value in schedules]
    with LocalFitPool(data) as pool:
        fits = pool.run([FitRequest(one, FoldSlice(Fold((0, 1), 2))) for one in plans])
    assert plans[0].network is plans[1].network
    rates = [fit.summary.history["learning_rate"] for fit in fits]
    assert rates == [[pytest.approx(0.005 * (1 + math.cos(math.pi * 3 / 4)))], [pytest.approx(0.2)]]


def test_a_machine_without_the_rows_reads_them_for_all_fits_of_its_task(spark, monkeypatch):
    data, plan = rows_and_plan(spark)

    def lose(_):
        for rows in Path(local_folder()).glob("distkeras-rows-*"):
            shutil.rmtree(rows)

    with LocalFitPool(data) as pool:
        assert pool.summarize(plan, with_moments=False).rows == {0: 30, 1: 30, 2: 30}
        spark.sparkContext.parallelize([0], 1).foreach(lose)
        stores_rows = []
        submit = pool._submit
        monkeypatch.setattr(pool, "_submit", lambda *args: stores_rows.append(len(args) > 2) or submit(*args))
        rmse = Measurement("regression", ("rmse",), classifies=False)
        fits = pool.run([FitRequest(plan, FoldSlice(fold), rmse) for fold in (Fold((0, 1), 2), Fold((1, 2), 0))])
    assert stores_rows == [False, True]
    assert [fit.summary.rows for fit in fits] == [60, 60]
    assert all(fit.metrics["rmse"] >= 0 for fit in fits)
