"""A model keeps the dialect of its training files: what it scores and is compared on is read as they were."""

import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.ml import PipelineModel

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.specs import PromoteSpec, ScoreSpec
from airflow_provider_distkeras.ml import SelectColumns

pytestmark = pytest.mark.spark

TRAINING = "x;label\n1;1\n-200;2\n3;3\n"
DIALECT = {"delimiter": ";", "null_values": ["-200"], "timestamp_formats": ["%d.%m.%Y"]}


@pytest.fixture(scope="module")
def sensor(save, network):
    """Predicts x, in whose place -200 means nothing, and then its mean: 2."""
    return save(network([[1.0]], [0.0]), training=TRAINING, missing="mean", **DIALECT)


def predictions(spark, done):
    rows = spark.read.parquet(done.result["predictions_path"]).select("prediction").collect()
    return sorted(row.prediction for row in rows)


def test_files_are_read_as_in_training_unless_the_task_says_otherwise(spark, sensor, scoring, caplog):
    caplog.set_level(logging.INFO)
    assert predictions(spark, scoring(sensor, "x;label\n7;7\n-200.0;-200\n")) == [2, 7]
    read = "the rows are read with delimiter=';' (as in training), null_values=['-200'] (as in training), "
    assert f"{read}timestamp_formats=['%d.%m.%Y'] (as in training)" in caplog.text
    assert predictions(spark, scoring(sensor, "x,label\n7,7\n-200,7\n", delimiter=",", null_values=[])) == [-200, 7]
    assert "the rows are read with delimiter=',' (as this task says), null_values=[] (as this task says)" in caplog.text


def test_names_that_training_left_out_may_look_like_values(spark, save, network, scoring):
    content = "2020,x,label\n1,7,7\n2,8,8\n"
    model = save(network([[1.0]], [0.0]), training=content, excluded_columns=["2020"])
    assert predictions(spark, scoring(model, content)) == [7, 8]
    with pytest.raises(DataError, match=r"found 7, a\. '7' looks like a value: if the files have no header, give them that of"):
        scoring(model, "7,a\n8,b\n")


def test_a_label_that_means_nothing_is_not_measured(sensor, scoring):
    assert scoring(sensor, "x;label\n7;7\n8;-200\n9;-200.0\n").result["metrics"]["rmse"] == 0


def test_null_values_are_those_of_columns_with_types_too(spark, sensor, scoring, tmp_path):
    pq.write_table(pa.table({"x": [7.0, -200.0], "label": [7, -200]}), tmp_path / "new.parquet")
    done = scoring(sensor, f"{tmp_path}/new.parquet")
    assert predictions(spark, done) == [2, 7]
    assert done.result["metrics"]["rmse"] == 0
    assert predictions(spark, scoring(sensor, f"{tmp_path}/new.parquet", null_values=["7"])) == [-200, 2]
    *stages, _ = PipelineModel.load(sensor).stages
    prepared = PipelineModel(stages).transform(spark.read.parquet(f"{tmp_path}/new.parquet")).collect()
    assert sorted(row.features[0] for row in prepared) == [2, 7]


def test_models_are_compared_as_each_reads(run_job, save, network, sensor, tmp_path):
    (tmp_path / "rows.csv").write_text("x;label\n-200;2\n3;3\n4;5\n")
    other = save(network([[1.0]], [0.0]), training=TRAINING, delimiter=";")
    spec = PromoteSpec.build(
        champion="x", period="2026-04", champion_period="2026-03", metric="mae",
        model_path=sensor, champion_path=other, input_path=f"{tmp_path}/rows.csv",
    )  # fmt: skip
    metrics = run_job(spec).result["metrics"]
    assert (metrics["challenger"]["mae"], metrics["champion"]["mae"]) == (pytest.approx(1 / 3), pytest.approx(203 / 3))


def test_a_model_of_before_is_read_in_the_usual_dialect(spark, sensor, scoring, caplog, tmp_path):
    caplog.set_level(logging.INFO)
    selected, *stages = PipelineModel.load(sensor).stages
    before = SelectColumns(**{name: selected.getOrDefault(name) for name in ("renamed", "kinds", "labelCol", "missing")})
    PipelineModel([before, *stages]).write().save(f"file://{tmp_path}/model")
    assert predictions(spark, scoring(f"file://{tmp_path}/model", "x,label\n7,7\n-200,2\n")) == [-200, 7]
    assert "with the usual dialect; the model was saved without the dialect of its training files" in caplog.text


def test_an_option_of_the_task_must_go_with_the_models(sensor):
    spec = ScoreSpec.build(model_path=sensor, input_path="/rows.csv", quote=";")
    with pytest.raises(Exception, match="quote: expected another character than the delimiter, received ';' for both"):
        spec.with_dialect({"delimiter": ";"})
