"""Train tasks that begin with an earlier model, with a stub in place of Spark."""

import pytest

from airflow_provider_distkeras.contract.artifacts.artifact_ref import ArtifactRef
from airflow_provider_distkeras.contract.artifacts.request import Request
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.operators import DistKerasPromoteOperator, DistKerasTrainOperator
from tests.fixtures.dag_run import APRIL

pytestmark = pytest.mark.airflow


@pytest.fixture
def retrain(prepare, csv, root):
    """Makes tasks that prepare, train from a model, and promote."""

    def pipeline(initial_model, **fields):
        trained = DistKerasTrainOperator(
            task_id="train", dataset_path=prepare(**fields).output["dataset_path"], hyperparameters={"layer_dims": [None, 8, 1]},
            initial_model=initial_model, artifact_root=str(root),
        )  # fmt: skip
        DistKerasPromoteOperator(
            task_id="promote", champion="bikes", model_path=trained.output["model_path"], input_path=str(csv),
            artifact_root=str(root),
        )  # fmt: skip
        return trained

    return pipeline


def spec_of(done, path):
    """The spec of the job that wrote an artifact of a run."""
    return Request.read(LocalStorage(), ArtifactRef.parse(path).attempt).spec


def initial_model(done):
    """The initial model that the train task of a run has asked its job for."""
    return spec_of(done, done.xcoms("train")["model_path"]).initial_model


def test_a_champion_is_trained_on_once_there_is_one(stub, run, retrain):
    first = run(lambda: retrain("bikes"))
    second = run(lambda: retrain("bikes"), logical_date=APRIL)

    assert (first.state, second.state) == ("success", "success")
    assert initial_model(first) is None
    assert initial_model(second) == first.xcoms("train")["model_path"]


def test_files_are_prepared_as_a_champions_were_once_there_is_one(stub, run, retrain):
    first = run(lambda: retrain("bikes", like="bikes", scaling="minmax"))
    second = run(lambda: retrain("bikes", like="bikes", scaling="minmax"), logical_date=APRIL)

    anew, like = (spec_of(done, done.xcoms("prepare")["dataset_path"]) for done in (first, second))
    assert (first.state, second.state) == ("success", "success")
    assert (anew.like, anew.scaling) == (None, "minmax")
    assert (like.like, like.scaling) == (first.xcoms("train")["model_path"], None)


def test_options_that_fit_a_preparation_are_refused_beside_the_path_of_a_model(stub, run, retrain, prepare):
    model = run(lambda: retrain("bikes")).xcoms("train")["model_path"]
    done = run(lambda: prepare(like=model))

    assert "columns_renamed: with like, files are prepared as those before" in done.message


@pytest.mark.parametrize(("initial_model", "inputs"), [("bikes", ["/data"]), ("/models/1", ["/data", "/models/1"])])
def test_the_name_of_a_champion_is_no_dataset_that_the_task_reads(initial_model, inputs):
    task = DistKerasTrainOperator(
        task_id="train", dataset_path="/data", hyperparameters={"layer_dims": [None, 8, 1]}, initial_model=initial_model
    )

    assert [dataset.name for dataset in task.get_openlineage_facets_on_start().inputs] == inputs


def test_a_path_that_is_no_model_of_a_train_task_is_refused_before_anything_runs(stub, run, retrain, tmp_path):
    done = run(lambda: retrain(str(tmp_path)))

    assert done.states()["train"] == "failed"
    assert f"initial_model: expected what a train task returned, received 'file://{tmp_path}'" in done.message
