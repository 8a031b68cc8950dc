"""The same rows in every format of input: prepared, then scored, on real Spark."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from pyspark.ml import PipelineModel

from airflow_provider_distkeras.contract.params.choices import INPUT_FORMATS
from airflow_provider_distkeras.contract.specs import PreprocessSpec, ScoreSpec

pytestmark = pytest.mark.spark

WRITERS = {"csv": pa.csv.write_csv, "parquet": pq.write_table}
ROWS = pa.table(
    {
        "id": range(60),
        "temp": [None if row % 10 == 0 else row / 8 for row in range(60)],
        "town": [("Oslo", "Rome")[row % 2] for row in range(60)],
        "windy": [row % 3 == 0 for row in range(60)],
        "cnt": [row * 2.5 for row in range(60)],
    }
)
PREPARED = {
    "columns_renamed": {"cnt": "label"}, "excluded_columns": ["id"], "categorical_columns": ["town"], "missing": "mean",
    "scaling": "standard",
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    """Writes the rows to two files of a format, under names that say it or do not; returns their folder."""

    def write(input_format, named):
        folder = tmp_path / input_format
        folder.mkdir()
        for file, start in enumerate((0, 23)):
            WRITERS[input_format](
                ROWS.slice(start, 23 if file == 0 else None), folder / f"{file}.{input_format if named else 'rows'}"
            )
        return str(folder)

    return write


def features(spark, path):
    return np.array(sorted((row.label, *row.features) for row in spark.read.parquet(path).collect()))


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("input_format", INPUT_FORMATS)
def test_all_formats_are_prepared_and_scored_alike(spark, run_job, network, write, tmp_path, input_format, named):
    files = {"input_path": write(input_format, named), "input_format": None if named else input_format}
    done = run_job(PreprocessSpec.build(**files, **PREPARED))

    assert (done.result["rows"], done.result["rejected_rows"]) == (60, 0)
    assert done.result["feature_columns"] == ["temp", "town", "windy"]
    assert done.details.kinds == {"temp": "number", "town": "text", "windy": "boolean", "cnt": "number"}
    assert len(done.inputs) == 2
    temps = np.array([np.nan if value is None else value for value in ROWS["temp"].to_pylist()])
    raw = np.column_stack([
        np.where(np.isnan(temps), np.nanmean(temps), temps),
        [value == "Oslo" for value in ROWS["town"].to_pylist()],
        [value == "Rome" for value in ROWS["town"].to_pylist()],
        ROWS["windy"].to_pylist(),
    ])  # fmt: skip
    expected = (raw - raw.mean(axis=0)) / raw.std(axis=0, ddof=1)
    np.testing.assert_allclose(features(spark, done.result["dataset_path"]), np.column_stack([ROWS["cnt"], expected]), atol=1e-5)

    model_path = f"file://{tmp_path}/model"
    model = network([[1.0], [2.0], [0.0], [0.5]], [3.0])
    PipelineModel([*PipelineModel.load(done.result["pipeline_path"]).stages, model]).write().save(model_path)
    scored = run_job(ScoreSpec.build(model_path=model_path, key_columns=["id"], **files))

    assert (scored.result["rows"], scored.result["quarantined_rows"]) == (60, 0)
    assert set(scored.result["metrics"]) == {"mae", "rmse", "r2"}
    predictions = spark.read.parquet(scored.result["predictions_path"]).selectExpr("int(id)", "prediction").collect()
    assert sorted(row.id for row in predictions) == list(range(60))
    np.testing.assert_allclose([row.prediction for row in sorted(predictions)], expected @ [1, 2, 0, 0.5] + 3, atol=1e-5)
