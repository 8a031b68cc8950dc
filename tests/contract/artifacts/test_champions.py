"""Champions and their records."""

import dataclasses
import json
import subprocess
import sys

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


def fields(champion):
    return {name: value for name, value in dataclasses.asdict(champion).items() if name != "record_path"}


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


def test_of_two_promoted_at_the_same_moment_one_is_recorded_and_the_other_is_refused(champions, monkeypatch):
    """Both have looked before either has written."""
    champions.promote(model(1), over=None)
    create = LocalStorage.create_bytes

    def create_second(self, path, content):
        create(self, path, json.dumps(fields(model(3))).encode())
        create(self, path, content)

    monkeypatch.setattr(LocalStorage, "create_bytes", create_second)
    with pytest.raises(ArtifactError, match="Run the task again, to compare it with that one"):
        champions.promote(model(2), over=model(1))
    assert champions.history() == [model(1), model(3)]


def test_a_record_of_an_earlier_version_counts_beside_one_of_this(champions, monkeypatch):
    """Both have looked before either has written."""
    champions.promote(model(1), over=None)
    create = LocalStorage.create_bytes

    def create_both(self, path, content):
        create(self, path, content)
        create(self, f"{champions.folder}/000002-ffffffff.json", json.dumps(fields(model(3))).encode())

    monkeypatch.setattr(LocalStorage, "create_bytes", create_both)
    champions.promote(model(2), over=model(1))
    assert champions.present() == model(2)
    assert champions.history() == [model(1), model(3), model(2)]


def test_records_of_an_earlier_version_are_continued(champions):
    LocalStorage().write_bytes(f"{champions.folder}/000001-8b1c02aa.json", json.dumps(fields(model(1))).encode())
    champions.promote(model(2), over=champions.present())
    assert champions.history() == [model(1), model(2)]
    assert champions.present().record_path == f"{champions.folder}/000002.json"


def test_a_driver_that_tries_a_write_again_that_had_succeeded_has_promoted(champions, monkeypatch):
    create = LocalStorage.create_bytes

    def create_twice(self, path, content):
        create(self, path, content)
        create(self, path, content)

    monkeypatch.setattr(LocalStorage, "create_bytes", create_twice)
    champions.promote(model(1), over=None)
    assert champions.history() == [model(1)]


_PROMOTE = """
import sys
from airflow_provider_distkeras.contract.artifacts.champions import Champion, Champions
from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import LocalStorage

name, root = sys.argv[1:]
champions = Champions(LocalStorage(), root, "bikes")
for line in sys.stdin:
    over = champions.present()
    print("compared", flush=True)
    sys.stdin.readline()
    try:
        champions.promote(Champion(f"/{name}/{line.strip()}", "2026", {}, 1, "", "", "", "", None, ""), over=over)
    except ArtifactError as error:
        print(f"refused: {error}", flush=True)
    else:
        print("promoted", flush=True)
"""


def test_of_processes_that_promote_at_the_same_moment_exactly_one_succeeds(tmp_path):
    names = ("a", "b", "c")
    command = [sys.executable, "-c", _PROMOTE]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    processes = [subprocess.Popen([*command, name, str(tmp_path)], **pipes) for name in names]

    def tell_all(line):
        for process in processes:
            process.stdin.write(f"{line}\n")
        return [process.stdout.readline() for process in processes]

    promoted = []
    for number in range(30):
        assert tell_all(number) == ["compared\n"] * len(names)
        answers = tell_all("go")
        promoted += [f"/{name}/{number}" for name, answer in zip(names, answers, strict=True) if answer == "promoted\n"]
        assert len(promoted) == number + 1
        assert sum("Run the task again" in answer for answer in answers) == len(names) - 1
    for process in processes:
        process.communicate(timeout=30)

    assert [champion.model_path for champion in Champions(LocalStorage(), str(tmp_path), "bikes").history()] == promoted


def test_files_that_are_no_records_are_left_alone(champions):
    champions.promote(model(1), over=None)
    for name in (".000002.json.part", "000002-8b1c02aa.json.bak", "notes.txt"):
        LocalStorage().write_bytes(f"{champions.folder}/{name}", b"?")
    assert champions.present() == model(1)


def test_the_record_after_the_last_of_six_digits_has_seven(champions):
    LocalStorage().write_bytes(f"{champions.folder}/999999.json", json.dumps(fields(model(1))).encode())
    champions.promote(model(2), over=model(1))
    champions.promote(model(3), over=model(2))
    assert champions.history() == [model(1), model(2), model(3)]
    assert champions.present().record_path == f"{champions.folder}/1000001.json"


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"model_path": "m"}',
        json.dumps(fields(model(2)) | {"metrics": []}).encode(),
        json.dumps(fields(model(2)) | {"rows": -1}).encode(),
    ],
)
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
