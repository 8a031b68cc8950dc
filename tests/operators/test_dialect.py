"""The files of rows to score are looked at in the dialect that their model was trained in."""

import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import commit
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.specs import ScoreSpec, TrainSpec
from airflow_provider_distkeras.contract.specs.train import TrainDetails
from airflow_provider_distkeras.hooks.storage import require_artifact
from airflow_provider_distkeras.operators import DistKerasScoreOperator
from tests.fixtures.jobs import claim

SPEC = TrainSpec.build(dataset_path="/dataset", hyperparameters={"layer_dims": [None, 1]})


@pytest.fixture
def inspect(tmp_path):
    """Looks at a file for a model that was trained in a dialect; returns its columns."""

    def inspected(content, dialect, **fields):
        attempt, path = claim(tmp_path / "out", SPEC), tmp_path / "rows.csv"
        result = {"model_path": f"{attempt.path}/model", "report_path": "r", "best_params": {}, "metrics": {}, "rows": 1}
        commit(LocalStorage(), attempt, Manifest("train", SPEC.sha256, result, details=TrainDetails(dialect=dialect)))
        path.write_text(content)
        arguments = {"model_path": result["model_path"], "input_path": str(path), **fields}
        model = require_artifact(result["model_path"], TrainSpec, "model_path", f"file://{tmp_path}/out")
        return DistKerasScoreOperator(task_id="score", **arguments).inspect_rows(ScoreSpec.build(**arguments), model).columns

    return inspected


def test_the_dialect_is_the_models_unless_the_task_says_otherwise(inspect):
    assert inspect("a;b\n1;2\n", {"delimiter": ";"}) == ["a", "b"]
    assert inspect("1|2\n", {"delimiter": ";", "header": False}, delimiter="|") == ["0", "1"]
    assert inspect("a,b\n1,2\n", {}) == ["a", "b"]
    with pytest.raises(DataError, match="Set delimiter=','"):
        inspect("a,b\n1,2\n", {"delimiter": ";"})


def test_a_name_that_the_model_may_not_use_may_look_like_a_value(inspect):
    assert inspect("2020,x\n1,2\n", {}) == ["2020", "x"]
    assert inspect("2020,2021\n1,2\n", {}, header=True) == ["2020", "2021"]
    with pytest.raises(DataError, match="give it that of the training files"):
        inspect("2020,2021\n1,2\n", {})
