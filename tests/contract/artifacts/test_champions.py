"""Champions and their records."""

import dataclasses
import json

import pytest

from airflow_provider_distkeras.contract.artifacts.champions import Champion, Champions, champion_names
from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import LocalStorage


@pytest.fixture
def champions(tmp_path):
    return Champions(LocalStorage(), f"file://{tmp_path}", "bikes/eu")


def model(number):
    return Champion(
        model_path=f"file:///models/{number}/model", period=f"2026-0{number}-01T000000Z", metrics={"challenger": {"r2": 0.9}},
        rows=10, reason="r2 0.9, and there was no champion", manifest_path=f"file:///models/{number}/_MANIFEST.json",
        task="bikes.promote", run_id=f"run-{number}", user="ann", promoted_at=f"2026-0{number}-02T00:00:00+00:00",
    )  # fmt: skip


def test_a_name_has_no_champion_at_first(champions):
    assert champions.present() is None
    assert champions.history() == []


def test_the_names_below_a_root_are_those_of_their_folders(champions, tmp_path):
    root = f"file://{tmp_path}"
    assert champion_names(LocalStorage(), root) == []
    champions.promote(model(1), over=None)
    (name,) = champion_names(LocalStorage(), root)
    assert Champions(LocalStorage(), root, name).present() == model(1)


def test_the_newest_promotion_counts_and_all_are_recorded(champions, tmp_path):
    champions.promote(model(1), over=None)
    champions.promote(model(2), over=champions.present())

    assert champions.present() == model(2)
    assert champions.history() == [model(1), model(2)]
    assert champions.present().record_path.startswith(f"file://{tmp_path}/champions/bikes_eu-")
    assert Champions(LocalStorage(), f"file://{tmp_path}", "bikes").present() is None


def test_only_who_was_compared_with_the_present_champion_replaces_it(champions):
    champions.promote(model(1), over=None)
    champions.promote(model(2), over=model(1))
    with pytest.raises(ArtifactError, match=r"/3/model does not become the champion of 'bikes/eu': another model was promoted"):
        champions.promote(model(3), over=model(1))
    assert champions.history() == [model(1), model(2)]


def test_of_two_promoted_at_the_same_moment_both_are_recorded_and_one_is_refused(champions, monkeypatch):
    """Both have looked before either has written."""
    champions.promote(model(1), over=None)
    write = LocalStorage.write_bytes

    def write_both(self, path, content):
        write(self, path, content)
        other = json.dumps({name: value for name, value in dataclasses.asdict(model(3)).items() if name != "record_path"})
        write(self, f"{champions.folder}/000002-ffffffff.json", other.encode())

    monkeypatch.setattr(LocalStorage, "write_bytes", write_both)
    with pytest.raises(ArtifactError, match="Run the task again, to compare it with that one"):
        champions.promote(model(2), over=model(1))
    assert champions.present() == model(3)
    assert len(champions.history()) == 3


def test_files_that_are_no_records_are_left_alone(champions):
    champions.promote(model(1), over=None)
    for name in (".000002-8b1c02aa.json.part", "000002-8b1c02aa.json.bak", "notes.txt"):
        LocalStorage().write_bytes(f"{champions.folder}/{name}", b"?")
    assert champions.present() == model(1)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"model_path": "m"}'])
def test_a_record_that_cannot_be_read_is_named_and_deleting_it_brings_the_one_before_it_back(champions, content):
    champions.promote(model(1), over=None)
    damaged = f"{champions.folder}/000002-00000000.json"
    LocalStorage().write_bytes(damaged, content)
    with pytest.raises(ArtifactError) as error:
        champions.present()
    assert f"The champion of 'bikes/eu' is not known, as its record {damaged} cannot be read" in str(error.value)
    assert "delete it: then the champion before it counts again" in str(error.value)
    LocalStorage().delete(damaged)
    assert champions.present() == model(1)
