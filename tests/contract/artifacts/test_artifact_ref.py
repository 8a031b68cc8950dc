"""References to artifacts, parsed from paths."""

from datetime import UTC, datetime

import pytest

from airflow_provider_distkeras.contract.artifacts.artifact_ref import ArtifactRef
from airflow_provider_distkeras.contract.artifacts.attempt import Attempt

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("path", "manifest_path"),
    [
        ("s3a://b/attempt/model/", "s3a://b/attempt/_MANIFEST.json"),
        ("s3a://b/model", "s3a://b/_MANIFEST.json"),
        ("/model", "/_MANIFEST.json"),
        ("model", "./_MANIFEST.json"),
    ],
)
def test_the_manifest_lies_beside_the_artifact_wherever_that_is(path, manifest_path):
    assert ArtifactRef.parse(path).manifest_path == manifest_path


@pytest.mark.parametrize(("map_index", "period"), [(-1, "2026-03-01T000000Z"), (3, "period=x")])
def test_an_artifact_has_a_root_for_its_own_task_only(map_index, period):
    attempt = Attempt.claim(
        "s3a://b/a/", "my dag", "group.train", map_index, period,
        claimed_at=NOON, generation=0, try_number=1, spec_sha256="ab" * 32,
    )  # fmt: skip

    assert attempt.period == period
    ref = ArtifactRef.parse(f"{attempt.path}/model")
    assert (ref.attempt, ref.name, ref.path) == (attempt, "model", f"{attempt.path}/model")
    assert ref.root_of("my dag", "group.train", map_index) == "s3a://b/a"
    for dag_id, task_id, index in [
        ("other", "group.train", map_index),
        ("my dag", "group", map_index),
        ("my dag", "group.train", 4),
    ]:
        assert ref.root_of(dag_id, task_id, index) is None
    for path in (attempt.path, f"{attempt.path}/../model", f"{attempt.path}/model/part", "model", ""):
        assert ArtifactRef.parse(path).root_of("my dag", "group.train", map_index) is None
