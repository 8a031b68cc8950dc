import dataclasses

import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.map_key import MapKey
from airflow_provider_distkeras.plugins.models import ModelRecord, by_task

PATH = "file:///out/dag/train/period=2026-03-01T000000Z/20260301T060000000000Z-g0-t1-1f0c9b2e/model"


def record(path=PATH, *, map_index=-1, **changes):
    xcoms = {"model_path": path, "report_path": "r", "metrics": {"r2": {"mean": 0.9}}} | changes
    return ModelRecord.from_xcoms("dag", "run", "train", map_index, {key: value for key, value in xcoms.items() if value})


def model(period, attempt, *, task_id="train", map_index=-1, run_id="run"):
    place = Attempt(f"file:///out/dag/{task_id}/period={period}", attempt)
    return ModelRecord("dag", run_id, task_id, map_index, f"{place.path}/model", {}, "file:///out", place)


def test_a_model_has_the_root_the_period_and_the_task_of_its_path():
    trained = record()

    assert (trained.root, trained.attempt.period, trained.task) == ("file:///out", "2026-03-01T000000Z", "train")
    assert trained.attempt.manifest_path == PATH.removesuffix("model") + "_MANIFEST.json"
    assert record(PATH.replace("/train/", "/train/2/"), map_index=2).task == "train [2]"


def test_a_model_with_a_map_key_is_called_by_it():
    key = {MapKey.XCOM: MapKey("são paulo", 2, 0).to_dict()}
    trained = record(PATH.replace("/train/", "/train/s_o_paulo-577abdbf/"), map_index=2, **key)

    assert (trained.root, trained.task) == ("file:///out", "train [são paulo]")
    assert record(PATH.replace("/train/", "/train/2/"), map_index=2, **key) is None
    assert record(PATH.replace("/train/", "/train/Oslo/"), map_index=2, **key) is None


def test_segments_are_joined_by_their_key_whatever_the_map_index():
    def trained(period, key, index):
        made = model(period, "20260301T060000000000Z-g0-t1-1f0c9b2e", map_index=index)
        return dataclasses.replace(made, map_key=key)

    models = [trained("1", "A", 0), trained("1", "C", 2), trained("2", "C", 0), trained("2", "A", 1), trained("0", "", 0)]
    assert [[each.task for each in segment] for segment in by_task(models)] == [
        ["train [0]"],
        ["train [A]"] * 2,
        ["train [C]"] * 2,
    ]


@pytest.mark.parametrize("lacking", ["model_path", "report_path", "metrics"])
def test_other_tasks_have_no_model(lacking):
    assert record(**{lacking: None}) is None


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "",
        "model",
        PATH.replace("/dag/", "/other/"),
        PATH.replace("/train/", "/other/"),
        PATH.replace("/train/", "/train/1/"),
        PATH.replace("/out/", "/out/../../etc/"),
        PATH.replace("20260301T060000000000Z-g0-t1-1f0c9b2e", ".."),
        PATH.replace("period=", "PERIOD="),
        PATH + "/../model",
        ["a"],
        7,
    ],
)
def test_a_path_that_is_not_of_the_tasks_own_model_does_not_count(path):
    assert record(path) is None


@pytest.mark.parametrize(
    ("metrics", "value"),
    [
        ({"r2": {"mean": 0.5}}, 0.5),
        ({"r2": {"mean": 1}}, 1.0),
        ({"r2": {"mean": None}}, None),
        ({"r2": {"mean": "high"}}, None),
        ({"r2": {"mean": float("nan")}}, None),
        ({"r2": {"mean": float("inf")}}, None),
        ({"r2": {"mean": 10**400}}, None),
        ({"r2": {}}, None),
        ({"r2": 0.5}, None),
        ({"rmse": {"mean": 0.5}}, None),
    ],
)
def test_a_measure_is_a_number_or_none(metrics, value):
    assert record(metrics=metrics).statistic("r2", "mean") == value


def test_of_a_period_the_newest_attempt_counts_and_periods_are_in_order():
    march, again, april = model("2026-03", "20260401"), model("2026-03", "20260402"), model("2026-04", "20260401")

    assert by_task([april, again, march]) == [[again, april]]


def test_the_run_that_made_a_model_is_shown_and_not_those_that_reused_it():
    first, second = model("2026-03", "20260401"), model("2026-03", "20260401", run_id="later")

    ((shown,),) = by_task([second, first])
    assert shown.run_id == "run"


def test_tasks_and_map_indexes_stay_apart():
    models = [model("2026-03", "a", task_id=task, map_index=number) for task, number in [("b", -1), ("a", 10), ("a", 2)]]

    assert [shown.task for (shown,) in by_task(models)] == ["a [2]", "a [10]", "b"]
