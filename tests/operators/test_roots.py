"""Artifacts that a task may load: those below its own artifact root, and below the roots that Airflow's options name."""

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_distkeras.operators import (
    DistKerasPreprocessOperator,
    DistKerasPromoteOperator,
    DistKerasScoreOperator,
    DistKerasTrainOperator,
)

from .test_execution import NETWORK

pytestmark = pytest.mark.airflow


@pytest.fixture
def elsewhere(stub, run, prepare, tmp_path):
    """What a preprocess task and a train task of another artifact root returned, by argument."""

    def pipeline():
        dataset = prepare(artifact_root=str(tmp_path / "theirs")).output["dataset_path"]
        DistKerasTrainOperator(
            task_id="train", dataset_path=dataset, hyperparameters=NETWORK, artifact_root=str(tmp_path / "theirs")
        )

    done = run(pipeline)
    dataset, model = done.xcoms("prepare"), done.xcoms("train")
    return {
        "dataset_path": dataset["dataset_path"],
        "compare_with": dataset["manifest_path"],
        "model_path": model["model_path"],
    }


def load_elsewhere(operator, argument, elsewhere, csv, root, **fields):
    rows = {} if operator is DistKerasTrainOperator else {"input_path": str(csv)}
    return lambda: operator(
        task_id="load", artifact_root=str(root), **{argument: elsewhere[argument]}, **rows, **fields
    )  # fmt: skip


LOADS = [
    (DistKerasTrainOperator, "dataset_path", {"hyperparameters": NETWORK}),
    (DistKerasPreprocessOperator, "compare_with", {"columns_renamed": {"cnt": "label"}}),
    (DistKerasScoreOperator, "model_path", {}),
    (DistKerasPromoteOperator, "model_path", {"champion": "bikes"}),
]


@pytest.mark.parametrize(("operator", "argument", "fields"), LOADS)
def test_what_lies_below_another_root_is_loaded_only_by_an_option(
    stub, run, elsewhere, csv, root, tmp_path, monkeypatch, operator, argument, fields
):
    load = load_elsewhere(operator, argument, elsewhere, csv, root, **fields)
    submitted = len(stub.calls())

    refused = run(load)
    assert f"{argument}: expected what a " in refused.message
    assert f"it is below neither this task's artifact root, file://{root}, nor one that the Airflow options" in refused.message
    assert isinstance(refused.errors[-1], AirflowFailException)
    assert len(stub.calls()) == submitted

    monkeypatch.setenv("AIRFLOW__DISTKERAS__READABLE_ROOTS", str(tmp_path / "theirs"))
    assert run(load).state == "success"
