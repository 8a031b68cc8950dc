"""What Spark ML persistence has saved, by this version and by version 0.1, loads by Spark's own readers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.util import DefaultParamsReader

from airflow_provider_distkeras.ml import CrossValidator, DistKeras, DistKerasModel, SelectColumns, TrainValidationSplit
from airflow_provider_distkeras.training import trainers

pytestmark = pytest.mark.spark

SAVED = Path(__file__).parent / "fixtures" / "saved_by_0_1"


def saved_class(path):
    (metadata,) = (path / "metadata").glob("part-*")
    return json.loads(metadata.read_text())["class"]


def test_a_pipeline_and_a_model_that_version_0_1_saved_predict_what_they_predicted(spark):
    pipeline = PipelineModel.load(str(SAVED / "pipeline"))
    model = DistKerasModel.load(str(SAVED / "model"))

    rows = spark.read.csv(str(SAVED / "rows.csv"), header=True)
    predictions = [row.prediction for row in model.transform(pipeline.transform(rows)).select("prediction").head(5)]

    assert predictions == pytest.approx(json.loads((SAVED / "predictions.json").read_text()), rel=1e-5)


def test_an_estimator_and_a_validator_that_version_0_1_saved_keep_their_params(spark):
    estimator = DistKeras.load(str(SAVED / "estimator"))
    validator = CrossValidator.load(str(SAVED / "validator"))

    assert estimator.getOrDefault("layer_dims") == [None, 4, 1]
    assert [list(params.values()) for params in validator.getEstimatorParamMaps()] == [[0.05], [0.01]]
    assert validator.getEstimator().getOrDefault("optimizer") == "adam"


@pytest.mark.parametrize("name", ["pipeline/stages/0_SelectColumns_5d3586afdd87", "model", "estimator", "validator"])
def test_version_0_1_named_modules_that_spark_still_finds(spark, name):
    assert saved_class(SAVED / name).rpartition(".")[0] != "airflow_provider_distkeras.ml"
    assert DefaultParamsReader.loadParamsInstance(str(SAVED / name), spark).uid


@pytest.mark.parametrize("cls", [DistKeras, DistKerasModel, SelectColumns, CrossValidator, TrainValidationSplit])
def test_classes_are_saved_by_their_public_path(cls):
    assert f"{cls.__module__}.{cls.__name__}" == f"airflow_provider_distkeras.ml.{cls.__name__}"


def test_what_is_saved_names_the_public_path(spark, tmp_path):
    DistKeras(trainers.ADAG).save(str(tmp_path / "estimator"))
    SelectColumns(kinds={"size": "number"}).save(str(tmp_path / "select"))

    assert saved_class(tmp_path / "estimator") == "airflow_provider_distkeras.ml.DistKeras"
    assert SelectColumns.load(str(tmp_path / "select")).getOrDefault("kinds") == {"size": "number"}
    assert DistKeras.load(str(tmp_path / "estimator")).getOrDefault("trainer") == "ADAG"


def test_the_public_face_loads_nothing_before_it_is_used():
    code = "import sys, airflow_provider_distkeras.ml; print({'pyspark', 'numpy', 'keras'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"
