"""Requests and manifests of earlier versions, and of newer ones."""

import json
from pathlib import Path

import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.artifacts.request import Request, cut_off, is_answer
from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.migration import migrate
from airflow_provider_distkeras.contract.specs import PreprocessSpec, PromoteSpec, ScoreSpec, TrainSpec

FIXTURES = Path(__file__).parent / "fixtures"
SPEC_CLASSES = [PreprocessSpec, TrainSpec, ScoreSpec, PromoteSpec]
STORAGE = LocalStorage()


def version_1(spec_class):
    """The attempt that version 1 wrote for a kind of job."""
    return Attempt.at(str(FIXTURES / f"version_1_{spec_class.kind}"))


@pytest.mark.parametrize("spec_class", SPEC_CLASSES)
def test_a_request_and_a_manifest_of_version_1_are_read(spec_class):
    attempt = version_1(spec_class)
    request, manifest = Request.read(STORAGE, attempt), Manifest.read(STORAGE, attempt.manifest_path)

    assert type(request.spec) is spec_class
    assert type(manifest.details) is spec_class.details_class
    assert (manifest.version, manifest.details.seconds, manifest.details.versions["spark"]) == (2, 12.5, "4.2.0")
    assert {*manifest.result} == {*spec_class.result_fields}
    assert json.loads(STORAGE.read_bytes(attempt.manifest_path))["contract"] == 1


@pytest.mark.parametrize("spec_class", SPEC_CLASSES)
def test_a_manifest_of_version_1_is_the_answer_to_the_same_spec(spec_class):
    attempt = version_1(spec_class)
    spec, manifest = Request.read(STORAGE, attempt).spec, Manifest.read(STORAGE, attempt.manifest_path)
    field = {"score": "key_columns", "train": "metrics"}.get(spec.kind, "null_values")
    value = ["mae"] if field == "metrics" else ["x"]

    assert manifest.spec_sha256 != spec.sha256
    assert is_answer(STORAGE, attempt, manifest, spec)
    assert not is_answer(STORAGE, attempt, manifest, spec_class.build(**{**spec.to_dict(), field: value}))


def test_cells_of_version_1_are_trials():
    attempt = version_1(TrainSpec)
    spec, details = Request.read(STORAGE, attempt).spec, Manifest.read(STORAGE, attempt.manifest_path).details

    assert (spec.num_trials, spec.max_failed_trials) == (2, 1)
    assert [trial["params"] for trial in details.trials] == [{"dropout_rate": 0.2}]


def test_an_attempt_of_version_1_that_was_cut_off_is_continued(tmp_path):
    source, cut = version_1(TrainSpec), Attempt(str(tmp_path), "20260301T120000000000Z-g0-t1-1a3be997")
    STORAGE.write_bytes(cut.spec_path, STORAGE.read_bytes(source.spec_path))
    spec = Request.read(STORAGE, source).spec

    assert cut_off(STORAGE, Attempt(str(tmp_path), "20260302T120000000000Z-g0-t2-00000000"), spec) == [cut]


@pytest.mark.parametrize("key", ["version", "spec_version"])
def test_a_request_of_a_newer_version_is_refused(key):
    content = json.loads(Request(ScoreSpec.build(model_path="m", input_path="a"), Attempt("p", "a")).to_json())
    with pytest.raises(ArtifactError, match=r"has version 99, expected at most \d: .* Upgrade this package .* same version"):
        Request.from_json(json.dumps({**content, key: 99}))


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"version": 2}', '{"version": 0}', '{"version": true}'])
def test_what_is_no_request_is_refused(content):
    with pytest.raises(ArtifactError, match="The request"):
        Request.from_json(content)


def test_migrations_run_one_after_the_other():
    steps = {1: lambda content: {**content, "b": content["a"] + 1}, 3: lambda content: {**content, "c": content["b"] + 1}}
    assert migrate("It", {"a": 1}, written=1, current=4, migrations=steps) == {"a": 1, "b": 2, "c": 3}
    assert migrate("It", {"b": 5}, written=3, current=4, migrations=steps) == {"b": 5, "c": 6}
