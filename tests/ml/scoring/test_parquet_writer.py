"""Parquet files that Python workers write: the same as Spark's, without those of failed tasks."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PythonException
from pyspark.sql.types import DoubleType, LongType, StringType, StructField, StructType

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.storage import local_path
from airflow_provider_distkeras.ml.network.scorer import REASON
from airflow_provider_distkeras.ml.scoring import parquet_writer, reader
from airflow_provider_distkeras.ml.scoring.stream import Stream
from airflow_provider_distkeras.ml.scoring.writer import OutputTarget

pytestmark = pytest.mark.spark

KINDS = {
    "id": pa.array(range(8)),
    "flag": pa.array([True, None] * 4),
    "tiny": pa.array(range(8), pa.int8()),
    "short": pa.array(range(8), pa.int16()),
    "whole": pa.array(range(8), pa.int32()),
    "single": pa.array(np.arange(8), pa.float32()),
    "number": pa.array([None, *range(7)], pa.float64()),
    "text": pa.array(["a", "b", None, "é"] * 2),
    "bytes": pa.array([b"\x00\xff"] * 8),
    "texts": pa.array([["a"], [], None, [None]] * 2),
}


@pytest.fixture(params=["prepared", "raw"])
def of_every_kind(request, prepared, tmp_path):
    """Rows with a key of every type that workers write, in a folder named by a date; some cannot be scored."""
    if request.param == "prepared":
        prepared([[1.0, 2.0]] * 6 + [None, [np.inf, 0.0]], "rows/day=0999-03-01", **KINDS)
    else:
        (tmp_path / "rows/day=0999-03-01").mkdir(parents=True)
        features = {"a": pa.array([1.0] * 6 + [None, np.inf]), "b": pa.array([2.0] * 8)}
        pq.write_table(pa.table(KINDS | features), tmp_path / "rows/day=0999-03-01/raw.parquet")
    return str(tmp_path / "rows")


def test_workers_write_what_spark_would(spark, classes, scoring, of_every_kind, monkeypatch):
    fields = {
        "key_columns": [*KINDS, "day"],
        "output_columns": ["label", "raw", "probability", "prediction"],
        "max_quarantined": 0.5,
    }
    by_workers = scoring(classes, of_every_kind, **fields)
    monkeypatch.setattr(reader.parquet_writer, "suits", lambda *_: False)
    by_spark = scoring(classes, of_every_kind, **fields)
    assert by_workers.details.quarantined == by_spark.details.quarantined
    assert len(by_workers.details.quarantined) == 2
    for name in ("predictions", "quarantine"):
        paths = [done.result["predictions_path"].replace("predictions", name) for done in (by_workers, by_spark)]
        written, expected = (spark.read.parquet(path).orderBy("id") for path in paths)
        assert written.schema == expected.schema
        assert written.collect() == expected.collect()
        written, expected = ([pq.ParquetFile(file) for file in local_path(path).glob("*.parquet")] for path in paths)
        # What pyarrow takes them for, with no word from Spark, is the same too.
        assert written[0].schema.to_arrow_schema().remove_metadata() == expected[0].schema.to_arrow_schema().remove_metadata()
        for column in (written[0].metadata.row_group(0).column(i) for i in range(written[0].metadata.num_columns)):
            assert column.compression == "SNAPPY"
            is_encoded = column.physical_type in ("BYTE_ARRAY", "INT32")
            assert any("DICTIONARY" in encoding for encoding in column.encodings) == is_encoded, column.path_in_schema


@pytest.mark.parametrize("workers_write", [True, False])
def test_a_label_that_is_not_kept_is_measured_and_rows_without_prediction_are_not(
    regression, scoring, prepared, workers_write, monkeypatch
):
    if not workers_write:
        monkeypatch.setattr(reader.parquet_writer, "suits", lambda *_: False)
    folder = prepared([[0.0, 0.0], [1.0, 1.0], None, [1.0, 0.0]], label=pa.array([1.0, 1.0, 100.0, None]), id=pa.array(range(4)))
    done = scoring(regression, folder, key_columns=["id"], max_quarantined=0.5)
    assert (done.result["rows"], done.result["quarantined_rows"]) == (3, 1)
    assert done.result["metrics"] == pytest.approx({"mae": 0.5, "rmse": np.sqrt(0.5), "r2": 0.0})
    assert pq.read_table(local_path(done.result["predictions_path"])).column_names == ["id", "prediction"]


def test_no_scored_row_is_a_file_without_rows(spark, regression, scoring, prepared):
    done = scoring(regression, prepared([None, None], id=pa.array([1, 2])), max_quarantined=1, key_columns=["id"])
    predictions = spark.read.parquet(done.result["predictions_path"])
    assert (predictions.columns, predictions.count()) == (["id", "prediction"], 0)


def test_a_job_that_fails_leaves_no_file_that_its_tasks_wrote_aside(regression, scoring, prepared, tmp_path):
    folder = prepared([[0.0, 0.0], None])
    with pytest.raises(DataError, match="1 of 2 rows cannot be scored"):
        scoring(regression, folder)
    (attempt,) = (tmp_path / "out").glob("*/*/*/*/")
    assert sorted(os.listdir(attempt)) == ["_ERROR.json", "_SPEC.json", "predictions", "quarantine"]


def test_a_folder_that_workers_do_not_find_is_named_with_the_fix(spark, tmp_path):
    """As on machines that do not share it."""
    schema = StructType(
        [StructField("id", LongType()), StructField("prediction", DoubleType()), StructField(REASON, StringType())]
    )

    def score(batches):
        (tmp_path / "_staging" / "predictions").rmdir()
        for batch in batches:
            rows = len(batch)
            yield pa.RecordBatch.from_arrays(
                [batch.column(0), pa.nulls(rows, pa.float64()), pa.nulls(rows, pa.string())], schema.names
            )

    stream = Stream(spark.range(0, 3, 1, 1), score, schema, "tensorflow")
    with (
        pytest.raises(PythonException, match=r"A worker does not find the folder .*predictions .*Mount it on all machines"),
        parquet_writer.written(stream, ["id"], [], ["prediction"], OutputTarget(f"file://{tmp_path}")),
    ):
        pass
    assert os.listdir(tmp_path) == []
