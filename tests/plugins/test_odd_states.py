"""Manifests, records, states and XComs of any shape: the pages are made, in words."""

import contextlib
import json
import random
from datetime import UTC, datetime

import pytest

from airflow_provider_distkeras.contract.artifacts.champions import Champions
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.plugins import app, metrics_page
from airflow_provider_distkeras.plugins.models import ModelRecord
from airflow_provider_distkeras.plugins.progress_page import progress_page
from airflow_provider_distkeras.plugins.run_page import run_page

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ODD = [
    None, True, 0, -1, 1.5, float("nan"), float("inf"), 10**400, 10**4000, "", "x", "\ud800", "\0", "<b>", "a" * 5000, [], {}, [[]],
    {"": None}, {"mean": None}, {"mean": {"std": []}}, [None] * 50,
]  # fmt: skip
PROGRESS = {
    "percent": 35, "stage": "search", "done": 5, "total": 12, "unit": "fits", "samples_per_second": 1.5, "loss": 0.1,
    "best": {"metric": "r2", "value": 0.9, "trial": 3}, "eta_seconds": 80.0, "error": "DataError: x",
}  # fmt: skip
RECORD = {
    "model_path": "m", "period": "2026-03", "metrics": {}, "rows": 1, "reason": "better", "manifest_path": "m", "task": "t",
    "run_id": "r", "user": None, "promoted_at": "2026-05-02",
}  # fmt: skip


def spoil(value, chance):
    """Return a copy in which some values are odd ones, and some members are missing or new."""
    if chance.random() < 0.1:
        return chance.choice(ODD)
    if isinstance(value, dict):
        kept = {name: spoil(member, chance) for name, member in value.items() if chance.random() > 0.04}
        return kept | ({chance.choice(["new", "kind", "details"]): chance.choice(ODD)} if chance.random() < 0.05 else {})
    return [spoil(each, chance) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("seed", range(5))
def test_pages_are_made_whatever_they_read(tmp_path, monkeypatch, seed):
    chance, folder = random.Random(seed), tmp_path / "dag" / "train" / "period=2026-03" / "a"
    names = tmp_path / "champions" / "bikes"
    folder.mkdir(parents=True)
    names.mkdir(parents=True)
    path = f"file://{folder}/model"
    metrics = {"r2": {"mean": 0.9, "std": 0.1, "test": 0.8}}
    result = {"model_path": path, "report_path": "r", "best_params": {}, "metrics": metrics, "rows": 12}
    manifest = json.loads(Manifest("train", "ab", result).to_json())
    for _ in range(100):
        (folder / Manifest.FILE_NAME).write_text(json.dumps(spoil(manifest, chance)))
        (names / "000001.json").write_text(json.dumps(spoil(RECORD | {"model_path": path}, chance)))
        progress = progress_page(json.dumps(spoil(PROGRESS, chance)), NOON)
        xcoms = {"model_path": path, "report_path": "r", "metrics": metrics, "distkeras_map_key": None}
        model = ModelRecord.from_xcoms("dag", "run", "train", -1, {key: spoil(value, chance) for key, value in xcoms.items()})
        monkeypatch.setattr(metrics_page, "find_models", lambda _, model=model: [model] if model else [])
        for page in (progress or "", metrics_page.metrics_page("dag"), run_page("run", [model] if model else [])):
            assert app._respond(page, "default-src 'none'").status_code == 200


@pytest.mark.parametrize("seed", range(5))
def test_readers_raise_one_kind_of_error(tmp_path, seed):
    chance, storage = random.Random(seed), LocalStorage()
    manifest = json.loads(Manifest("score", "ab", {"predictions_path": "p", "model_path": "m", "rows": 1}).to_json())
    champions = Champions(storage, str(tmp_path), "bikes")
    path, record = f"{tmp_path}/{Manifest.FILE_NAME}", f"{champions.folder}/000001.json"
    for _ in range(100):
        for file, content, read in (
            (path, manifest, lambda: Manifest.read(storage, path)),
            (record, RECORD, champions.present),
        ):
            storage.write_bytes(file, json.dumps(spoil(content, chance)).encode())
            with contextlib.suppress(ArtifactError):
                read()
