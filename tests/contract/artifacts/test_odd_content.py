"""Generated JSON in the place of what this package writes: each reader gives its object, or one kind of error."""

import contextlib
import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.champions import Champions
from airflow_provider_distkeras.contract.artifacts.failure import Failure
from airflow_provider_distkeras.contract.artifacts.lease import Lease
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.artifacts.progress import Progress
from airflow_provider_distkeras.contract.artifacts.request import Request
from airflow_provider_distkeras.contract.errors import ArtifactError, DistKerasError, SpecError
from airflow_provider_distkeras.contract.specs import PreprocessSpec, PromoteSpec, ScoreSpec, TrainSpec

numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([-1, 250, 10**20, 10**400, -(10**400), 1e308]))
texts = st.one_of(st.text(max_size=9), st.sampled_from(["\ud800", "\0", "../..", "{{", "9" * 400, "null", "NaN"]))
leaves = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(
    leaves, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)), max_leaves=6
)
SPECS = [
    PreprocessSpec.build(input_path=["/a"]),
    TrainSpec.build(dataset_path="/d", hyperparameters={"layer_dims": [None, 8, 1]}),
    ScoreSpec.build(model_path="/m", input_path=["/a"]),
    PromoteSpec.build(champion="c", model_path="/m", period="2026-03", input_path=["/a"], evaluator="regression"),
]
RECORD = {
    "model_path": "m", "period": "2026-03", "metrics": {}, "rows": 1, "reason": "r", "manifest_path": "m", "task": "t",
    "run_id": "r", "user": None, "promoted_at": "2026-05-02",
}  # fmt: skip
PROGRESS = {
    "percent": 35, "stage": "search", "done": 5, "total": 12, "unit": "fits", "samples_per_second": 1.5, "loss": 0.1,
    "best": {"metric": "r2", "value": 0.9, "trial": 3}, "eta_seconds": 80.0,
}  # fmt: skip


def changed(content):
    """JSON of an object in which members of it, or of an object in it, have other values, are missing or new."""
    inner = [name for name in content if isinstance(content[name], dict)]
    others = st.dictionaries(st.one_of(st.sampled_from([*content]), texts), values, max_size=2)

    def change(draw):
        made = {name: value for name, value in content.items() if name not in draw[2]} | draw[0]
        return made | {name: {**content[name], **draw[1].get(name, {})} for name in inner if name not in draw[0]}

    insides = st.fixed_dictionaries(
        {}, optional={name: st.dictionaries(st.sampled_from([*content[name], "x"]), values, max_size=2) for name in inner}
    )
    left_out = st.lists(st.sampled_from([*content]), max_size=1)
    return st.tuples(others, insides, left_out).map(change).map(json.dumps).map(str.encode)


def storage(content):
    """A storage in which every file has this content."""
    return SimpleNamespace(read_bytes=lambda _: content, list_names=lambda _: ["000001.json"])


def manifest(spec):
    result = {name: f"/{name}" for name in spec.result_fields} | {"rows": 1, "rejected_rows": 0, "quarantined_rows": 0}
    made = Manifest(
        spec.kind, spec.sha256, result | {"metrics": {}, "best_params": {}, "promoted": True}, {}, spec.details_class()
    )
    return json.loads(made.to_json())


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_a_manifest_is_read_with_the_types_of_its_fields_or_refused(spec):
    @settings(max_examples=150, deadline=None)
    @given(changed(manifest(spec)))
    def read(content):
        with contextlib.suppress(ArtifactError):
            made = Manifest.read(storage(content), "/m")
            assert 0 <= made.result["rows"] < 1e100
            assert made.details.seconds is None or abs(made.details.seconds) < 1e100
            assert isinstance(made.details.versions, dict)

    read()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_a_request_is_read_with_a_valid_spec_or_refused(spec):
    @settings(max_examples=150, deadline=None)
    @given(changed(json.loads(Request(spec, Attempt("p", "a"), {}).to_json())))
    def read(content):
        with contextlib.suppress(ArtifactError, SpecError):
            request = Request.from_json(content)
            assert request.attempt.path.encode(errors="replace")
            assert request.spec.sha256

    read()


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (RECORD, lambda content: Champions(storage(content), "/root", "bikes").present()),
        (PROGRESS, lambda content: str(Progress.from_dict(json.loads(content)))),
        ({"seconds": 120.0, "revoked": False, "renewed_at": 1.5}, lambda content: Lease.read(content).poll_s > 0),
        (
            {"type": "DataError", "message": "No rows.", "permanent": True},
            lambda content: isinstance(Failure.from_json(content).error, DistKerasError),
        ),
    ],
    ids=["champion", "progress", "lease", "failure"],
)
def test_a_small_file_is_read_or_refused(content, read):
    @settings(max_examples=300, deadline=None)
    @given(changed(content))
    def read_any(changed_content):
        with contextlib.suppress(ArtifactError):
            assert read(changed_content)

    read_any()


@settings(max_examples=200, deadline=None)
@given(st.from_regex(r"[0-9]{8}T[0-9]{12}Z-g[0-9]-t[0-9]-[0-9a-f]{8}", fullmatch=True))
def test_a_claim_is_named_whatever_names_the_period_has(name):
    mine = Attempt.claim(
        "/r", "d", "t", -1, "p", claimed_at=datetime(2026, 3, 1, tzinfo=UTC), generation=0, try_number=1, spec_sha256="ab" * 32
    )
    made = mine.after([Attempt(mine.period_path, name)])
    assert made.name >= mine.name
