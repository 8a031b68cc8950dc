"""The grid search of a train job."""

import pytest
from pyspark.ml.feature import VectorAssembler

from airflow_provider_distkeras.contract.errors import DivergenceError
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.ml.search import search

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def data(spark):
    frame = spark.range(60).selectExpr("double(id % 7) AS x", "double(id % 7) * 2 AS label")
    return VectorAssembler(inputCols=["x"], outputCol="features").transform(frame).cache()


def run(data, rates, metric="r2"):
    spec = TrainSpec.build(
        dataset_path="unused",
        trainer_params={"num_epoch": 5},
        hyperparameters={"layer_dims": [None, 4, 1]},
        param_grid={"learning_rate": rates},
        metric=metric,
        num_folds=2,
    )
    return search(data, spec)


@pytest.mark.parametrize("metric", ["r2", "rmse", "var"])
def test_a_cell_that_diverges_never_wins(data, metric):
    found = run(data, [1e30, 0.01], metric)
    assert found.best_params["learning_rate"] == 0.01
    assert found.cells[0].mean(metric) is None
    assert "diverged" in found.cells[0].to_dict()["error"]


def test_when_all_cells_diverge_the_error_says_what_to_change(data):
    with pytest.raises(DivergenceError, match="Lower learning_rate"):
        run(data, [1e30, 1e31])
