"""How Airflow finds the package, and what that costs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_distkeras import __version__
from airflow_provider_distkeras.get_provider_info import get_provider_info

REPOSITORY = Path(__file__).parents[1]
HEAVY = ("keras", "tensorflow", "jax", "pyspark", "matplotlib", "numpy", "pandas", "pyarrow", "fastapi")


def modules_after(code):
    """The heavy modules that a fresh Python has loaded after running `code`."""
    script = f"import sys, json\n{code}\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return json.loads(run.stdout.splitlines()[-1])


def test_info_follows_airflows_schema():
    import jsonschema
    from airflow.providers_manager import _create_provider_info_schema_validator

    validator = _create_provider_info_schema_validator()
    validator.validate(get_provider_info())
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**get_provider_info(), "name": 1})


def test_airflow_discovers_the_provider(airflow_db):
    command = [sys.executable, "-m", "airflow", "providers", "get", "airflow-provider-distkeras", "--output", "json"]
    (entry,) = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert entry == {"Provider": "airflow-provider-distkeras", "Version": __version__}


def test_artifact_root_is_an_airflow_option(airflow_db):
    command = [sys.executable, "-m", "airflow", "config", "get-value", "distkeras", "artifact_root"]

    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == ""


def test_operator_modules_and_links_exist():
    import importlib

    info = get_provider_info()
    for module in (*info["operators"][0]["python-modules"], *info["triggers"][0]["python-modules"]):
        importlib.import_module(module)
    for path in info["extra-links"]:
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name).name


def test_classes_resolve_by_the_paths_of_earlier_versions():
    from airflow_provider_distkeras import links, triggers
    from airflow_provider_distkeras.links.spark import SparkUILink
    from airflow_provider_distkeras.triggers.spark_application import SparkApplicationTrigger

    assert triggers.SparkApplicationTrigger is SparkApplicationTrigger
    assert links.SparkUILink is SparkUILink
    with pytest.raises(AttributeError):
        _ = triggers.NoTrigger


def test_provider_info_is_free():
    code = "import airflow_provider_distkeras.get_provider_info; assert 'airflow' not in sys.modules"
    assert modules_after(code) == []


@pytest.mark.parametrize("name", sorted(path.stem for path in (REPOSITORY / "example_dags").glob("*.py")))
def test_parsing_a_dag_file_loads_nothing_heavy(name):
    assert modules_after(f"import runpy; runpy.run_path('example_dags/{name}.py')") == []


def test_budget_would_notice():
    assert modules_after("import numpy") == ["numpy"]


def test_plugin_is_loaded_without_its_app():
    assert modules_after("from airflow_provider_distkeras.plugins.plugin import DistKerasPlugin; DistKerasPlugin()") == []


def test_example_dags_parse(airflow_db):
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(REPOSITORY / "example_dags"))

    assert bag.import_errors == {}
    assert set(bag.dags) == {path.stem for path in (REPOSITORY / "example_dags").glob("*.py")}
    for dag in bag.dags.values():
        assert "Shows: " in dag.doc_md
        assert "Set: " in dag.doc_md
    assert bag.dags["csv_to_scores"].task_ids == ["prepare", "train", "score"]
