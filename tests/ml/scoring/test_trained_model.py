"""Models of unknown origin: nothing is imported that their own files alone name."""

import importlib
import json
import uuid
from pathlib import Path

import pytest

from airflow_provider_distkeras.contract.artifacts.artifact_ref import ArtifactRef
from airflow_provider_distkeras.contract.artifacts.request import Request
from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import local_path
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.ml import DistKerasModel
from airflow_provider_distkeras.ml.scoring.trained_model import TrainedModel

pytestmark = pytest.mark.spark


@pytest.fixture
def module(tmp_path, monkeypatch, spark):
    """The name of a module that leaves the file `imported` when it is imported, wherever that is."""
    name = f"layers_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'imported')!r}).touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    spark.sparkContext.addPyFile(str(tmp_path / f"{name}.py"))
    return name


@pytest.fixture
def model(save, network, module):
    """A saved model whose metadata name the module."""
    trained = network([[2.0], [-3.0]], [1.0])
    trained.custom_modules = (module,)
    return save(trained, excluded_columns=["kind"])


def write_request(model_path, **fields):
    attempt = ArtifactRef.parse(model_path).attempt
    local_path(attempt.spec_path).write_text(Request(TrainSpec.build(dataset_path="/d", **fields), attempt).to_json())


def test_a_model_imports_the_modules_that_its_train_task_was_told(model, module, scoring, tmp_path):
    write_request(model, hyperparameters={"network": f"{module}:build"})

    assert scoring(model, "a,b\n1,1\n").result["rows"] == 1
    assert (tmp_path / "imported").exists()


@pytest.mark.parametrize("fields", [None, {"hyperparameters": {"layer_dims": [None, 1]}}])
def test_a_module_that_only_the_model_names_is_never_imported(model, module, scoring, tmp_path, fields):
    if fields:
        write_request(model, **fields)

    with pytest.raises(ArtifactError, match=rf"would import {module}, and \S+_SPEC.json names no such module"):
        scoring(model, "a,b\n1,1\n")
    assert not (tmp_path / "imported").exists()


def test_in_a_notebook_modules_are_imported_by_whoever_loads_a_model(spark, network, module, tmp_path):
    saved = network([[2.0], [-3.0]], [1.0])
    saved.custom_modules = (module,)
    saved._set(predict_batch_size=64).write().save(str(tmp_path / "model"))
    rows = spark.createDataFrame([([1.0, 1.0],)], "features array<float>")
    loaded = DistKerasModel.load(str(tmp_path / "model"))

    for use in (lambda: loaded.transform(rows), loaded.keras_network, loaded.scorer):
        with pytest.raises(ArtifactError, match=f"has not imported: {module}. If you trust"):
            use()
    assert not (tmp_path / "imported").exists()
    importlib.import_module(module)
    assert loaded.transform(rows).first().prediction == 0


@pytest.mark.parametrize("name", ["{}.Loader", "pyspark.ml.PipelineModel", "airflow_provider_distkeras.ml.CrossValidator"])
def test_a_stage_of_another_class_is_not_loaded(regression, module, tmp_path, name):
    name = name.format(module)
    stage = next((local_path(regression) / "stages").glob("0_*"))
    metadata = next((stage / "metadata").glob("part-*"))
    before = metadata.read_text()
    _write(metadata, json.dumps({**json.loads(before), "class": name}))
    try:
        with pytest.raises(ArtifactError, match=f"holds no model of a train task; .* received one of the class {name!r}"):
            TrainedModel.load(regression)
    finally:
        _write(metadata, before)
    assert not (tmp_path / "imported").exists()


def _write(path: Path, content: str) -> None:
    path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
    path.write_text(content)
