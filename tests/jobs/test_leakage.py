"""Statistics over all rows leak what is held out into training; the train job's folds use their own. On real Spark."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.ml import PipelineModel

from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.contract.specs.preprocess import PreprocessDetails

pytestmark = pytest.mark.spark

LAYOUT = [{"column": "x", "kind": "number", "start": 0, "stop": 1, "fill": "mean"}]
TRAINING = {
    "trainer": "SingleTrainer",
    "trainer_params": {"batch_size": 8, "num_epoch": 30},
    "hyperparameters": {"layer_dims": [None, 1], "learning_rate": 0.02},
    "num_folds": 2,
}


@pytest.fixture
def dataset(spark, tmp_path):
    """Writes a dataset as a preprocess job would; returns its path."""

    def write(columns, details):
        (tmp_path / "dataset").mkdir()
        pq.write_table(pa.table(columns), tmp_path / "dataset" / "part-0.parquet")
        PipelineModel([]).write().save(f"file://{tmp_path}/pipeline")
        result = {
            "dataset_path": f"file://{tmp_path}/dataset",
            "pipeline_path": f"file://{tmp_path}/pipeline",
            "rows": len(columns["label"]),
            "rejected_rows": 0,
            "feature_columns": ["x"],
        }
        manifest = Manifest("preprocess", "0", result, details=PreprocessDetails(**details))
        LocalStorage().write_bytes(f"{tmp_path}/{Manifest.FILE_NAME}", manifest.to_json().encode())
        return result["dataset_path"]

    return write


def leaking():
    """The label is the value of x. In fold 1, 40 rows about 0. In fold 0, 900 rows about 5, and 900 without x, whose label is 5.

    The mean of all values, 4.8, is almost the label of those, though fold 0 alone has: the mean of fold 1 is 0.
    """
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(0, 3, 40), random.normal(5, 1, 900)])
    x = np.concatenate([values, np.full(900, values.mean())])
    return {
        "features": pa.array(x.astype(np.float32)[:, None].tolist(), pa.list_(pa.float32())),
        "label": np.concatenate([values, random.normal(5, 0.3, 900)]),
        "fold": pa.array([1] * 40 + [0] * 1800, pa.int32()),
        "filled": pa.array([[]] * 940 + [[0]] * 900, pa.list_(pa.int32())),
    }


def test_what_leaks_into_a_dataset_s_statistics_does_not_leak_into_the_folds(run_job, dataset):
    honest = dataset(leaking(), {"scaling": None, "layout": LAYOUT})
    r2 = run_job(TrainSpec.build(dataset_path=honest, **TRAINING)).result["metrics"]["r2"]
    assert r2["mean"] < -5


def test_without_a_layout_the_leak_would_look_like_skill(run_job, dataset):
    """The same rows, from a preprocess job whose manifest has no layout."""
    older = dataset(leaking(), {})
    r2 = run_job(TrainSpec.build(dataset_path=older, **TRAINING)).result["metrics"]["r2"]
    assert r2["mean"] > 0.75


def test_weights_and_validation_rows_of_a_dataset_are_used(run_job, dataset):
    """Rows of weight 0 and rows that are only validated on have another label: neither may move the prediction."""
    x = np.random.default_rng(1).normal(size=300)
    kind = np.arange(300) % 3
    columns = {
        "features": pa.array(x.astype(np.float32)[:, None].tolist(), pa.list_(pa.float32())),
        "label": np.where(kind == 0, x, x + 100),
        "weight": (kind != 1).astype(float),
        "validation": kind == 2,
    }
    trained = run_job(TrainSpec.build(dataset_path=dataset(columns, {}), metric="rmse", **TRAINING))
    assert trained.details.training["rows"] == 200
    assert trained.details.training["history"]["loss"][-1] < 1e-3
    assert min(trained.details.training["history"]["val_loss"]) > 9000
