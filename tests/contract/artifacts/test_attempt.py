"""Attempts: their names, commits and manifests."""

import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt, commit, committed, current_before, point_current
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.errors import ArtifactError, SupersededError
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.period import period_key, slug

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STORAGE = LocalStorage()


def claim(root, *, minutes=0, period="2026-03-01"):
    attempt = Attempt.claim(
        str(root), "dag", "task", -1, period,
        claimed_at=NOON + timedelta(minutes=minutes), generation=0, try_number=1, spec_sha256="ab" * 32,
    )  # fmt: skip
    STORAGE.write_bytes(attempt.spec_path, b"{}")
    return attempt


def manifest(rows):
    return Manifest(
        "score", "ab" * 32, {"predictions_path": "p", "model_path": "m", "rows": rows, "quarantined_rows": 0, "metrics": {}}
    )


CONTENT = json.loads(manifest(1).to_json())


def rows_shown(root, period="2026-03-01"):
    shown = committed(STORAGE, f"{root}/dag/task/period={period}")
    return shown and shown.result["rows"]


def test_the_period_is_the_partition_else_the_logical_date_else_when_the_run_was_due():
    later = NOON + timedelta(days=1)
    assert period_key("region=eu", NOON, later) == "region=eu"
    assert period_key(None, NOON, later) == "2026-03-01T120000Z"
    assert period_key(None, None, later.replace(microsecond=7)) == "2026-03-02T120000.000007Z"


def test_a_slug_is_safe_and_differs_for_different_texts():
    assert slug("tg.train_1") == "tg.train_1"
    assert slug("a/b") != slug("a:b")
    assert "/" not in slug("../../etc")
    assert slug("..") != ".."


def test_nothing_is_shown_before_the_first_commit_and_the_newest_afterwards(tmp_path):
    first, second = claim(tmp_path), claim(tmp_path, minutes=1)
    assert rows_shown(tmp_path) is None
    commit(STORAGE, second, manifest(2))
    assert rows_shown(tmp_path) == 2
    with pytest.raises(ArtifactError, match="the newer attempt"):
        commit(STORAGE, first, manifest(1))
    assert rows_shown(tmp_path) == 2


def test_an_attempt_that_a_newer_one_has_overtaken_cannot_commit_even_if_that_one_is_still_running(tmp_path):
    zombie = claim(tmp_path)
    claim(tmp_path, minutes=1)
    with pytest.raises(SupersededError, match="a later try of this task, or another run about the same period"):
        commit(STORAGE, zombie, manifest(1))
    assert not STORAGE.exists(zombie.manifest_path)


def test_periods_do_not_touch_each_other(tmp_path):
    commit(STORAGE, claim(tmp_path, period="2026-03-01"), manifest(3))
    commit(STORAGE, claim(tmp_path, period="2026-04-01"), manifest(4))
    assert (rows_shown(tmp_path, "2026-03-01"), rows_shown(tmp_path, "2026-04-01")) == (3, 4)


@pytest.mark.parametrize(("breaks_at", "shown"), [("_MANIFEST.json", 1), ("CURRENT", 2)])
def test_a_commit_that_fails_half_way_leaves_the_previous_artifact_unless_it_has_its_manifest(tmp_path, breaks_at, shown):
    commit(STORAGE, claim(tmp_path), manifest(1))

    class Breaks(LocalStorage):
        def write_bytes(self, path, content, *, within=None):
            if path.endswith(breaks_at):
                raise OSError("disk full")
            super().write_bytes(path, content, within=within)

    with pytest.raises(OSError, match="disk full"):
        commit(Breaks(), claim(tmp_path, minutes=1), manifest(2))
    assert rows_shown(tmp_path) == shown


@pytest.mark.parametrize(
    ("periods", "period", "before"),
    [
        ([], "2026-03", None),
        (["2026-01", "2026-02", "2026-04"], "2026-03", "2026-02"),
        (["2026-03"], "2026-03", None),
        (["2026-03-01T000000Z", "2026-03-01T000000.000001Z"], "2026-03-02T000000Z", "2026-03-01T000000.000001Z"),
        (["region=eu", "region=us"], "region=us", None),
        (["region=eu", "2026-02"], "2026-03", "2026-02"),
    ],
)
def test_the_result_before_a_period_is_that_of_the_newest_earlier_one(tmp_path, periods, period, before):
    for each in periods:
        commit(STORAGE, claim(tmp_path, period=each), manifest(1))
    claim(tmp_path, period="2026-02-28")  # without a result
    found = current_before(STORAGE, f"{tmp_path}/dag/task", period)
    assert (found and found.period) == before


def test_a_newer_attempt_that_has_failed_is_no_rival(tmp_path):
    older, newer = claim(tmp_path), claim(tmp_path, minutes=1)
    STORAGE.write_bytes(newer.error_path, b"{}")
    commit(STORAGE, older, manifest(1))
    assert rows_shown(tmp_path) == 1


def test_an_attempt_that_was_given_up_cannot_commit(tmp_path):
    attempt = claim(tmp_path)
    STORAGE.write_bytes(attempt.error_path, b"{}")
    with pytest.raises(ArtifactError, match=r"has been given up, as .*_ERROR.json says"):
        commit(STORAGE, attempt, manifest(1))
    assert rows_shown(tmp_path) is None


def test_a_claim_is_newer_than_all_before_it_whatever_the_clocks_say(tmp_path):
    ahead, now = claim(tmp_path, minutes=60), claim(tmp_path)
    later = now.after([now, ahead])
    assert later.name == "20260301T130000000001Z-g0-t1-abababab"
    assert later.after([later]).name == "20260301T130000000002Z-g0-t1-abababab"
    assert ahead.after([now]) == ahead
    assert now.after([Attempt(now.period_path, name) for name in ("CURRENT", "notes", "9-g0-t1-abababab")]) == now


@pytest.mark.parametrize(
    "name",
    [
        "99999999T999999999999Z-g0-t1-abababab",
        "99991231T235959999999Z-g0-t1-abababab",
        "old-20260301T120000000000Z-g0-t1-abababab",
    ],
)
def test_a_folder_that_no_claim_has_named_is_no_attempt(tmp_path, name):
    attempt = claim(tmp_path)
    odd = Attempt(attempt.period_path, name)
    for path in (odd.spec_path, odd.manifest_path):
        STORAGE.write_bytes(path, b"{}")
    assert attempt.after([odd]) == attempt
    commit(STORAGE, attempt, manifest(1))
    assert committed(STORAGE, attempt.period_path).result == manifest(1).result


def test_after_the_last_time_of_all_a_claim_is_refused():
    mine, last = Attempt("p", "20260301T120000000000Z-g0-t1-abababab"), Attempt("p", "99981231T235959999999Z-g0-t1-abababab")
    with pytest.raises(ArtifactError, match=r"No attempt can follow 99981231T235959999999Z in p: .* Delete that folder\."):
        mine.after([last])


def test_the_pointer_for_people_is_read_by_nothing(tmp_path):
    attempt = claim(tmp_path)
    commit(STORAGE, attempt, manifest(1))
    assert json.loads(STORAGE.read_bytes(attempt.current_path)) == {"attempt": attempt.name}
    for content in (b"", b'{"attempt": "gone"}'):
        STORAGE.write_bytes(attempt.current_path, content)
        assert rows_shown(tmp_path) == 1


def test_a_root_that_has_vanished_is_named_and_not_made_anew(tmp_path):
    root = tmp_path / "share" / "distkeras"
    attempt = claim(root)
    shutil.rmtree(root)
    with pytest.raises(ArtifactError, match=f"there is no {root} any more, .* Bring it back, and run the task again"):
        commit(STORAGE, attempt, manifest(1))
    assert list((tmp_path / "share").iterdir()) == []


def test_a_root_that_vanishes_between_the_look_and_the_write_is_named_and_not_made_anew(tmp_path):
    root = tmp_path / "share" / "distkeras"
    attempt = claim(root)

    class Vanishes(LocalStorage):
        def write_bytes(self, path, content, *, within=None):
            shutil.rmtree(root)
            super().write_bytes(path, content, within=within)

    with pytest.raises(ArtifactError, match=f"there is no {root} any more"):
        commit(Vanishes(), attempt, manifest(1))
    assert list((tmp_path / "share").iterdir()) == []


def test_a_commit_lists_the_attempts_three_times_and_leaves_a_pointer_alone_that_is_right(tmp_path):
    calls = []

    class Recorded(LocalStorage):
        def list_names(self, directory):
            calls.append("list")
            return super().list_names(directory)

        def write_bytes(self, path, content, *, within=None):
            calls.append(path.rpartition("/")[2])
            super().write_bytes(path, content, within=within)

    attempt = claim(tmp_path)
    commit(Recorded(), attempt, manifest(1))
    assert calls == ["list", "_MANIFEST.json", "list", "CURRENT", "list"]

    calls.clear()
    point_current(Recorded(), attempt.period_path)
    assert calls == ["list"]


def test_an_attempt_that_has_vanished_from_its_root_is_named(tmp_path):
    attempt = claim(f"file://{tmp_path}")
    shutil.rmtree(tmp_path / "dag" / "task")
    with pytest.raises(ArtifactError, match=f"there is no file://{tmp_path}/dag/task any more"):
        commit(STORAGE, attempt, manifest(1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "cannot be read"),
        (b'{"kind": "score"}', "has version None"),
        (json.dumps({**CONTENT, "version": 9}).encode(), "has version 9, expected at most 2: .* Upgrade this package"),
        (json.dumps({**CONTENT, "kind": "bake"}).encode(), "_MANIFEST.json is not valid: expected the kind .* received 'bake'"),
        (
            json.dumps({**CONTENT, "result": {}}).encode(),
            "is not valid: kind 'score', without predictions_path, model_path, rows",
        ),
        (json.dumps({**CONTENT, "result": None}).encode(), "is not valid: expected a dict as 'result', received None"),
        (json.dumps({**CONTENT, "inputs": []}).encode(), "is not valid: expected a dict as 'inputs', received \\[\\]"),
        (json.dumps({**CONTENT, "details": "x"}).encode(), "is not valid: expected a dict as 'details', received 'x'"),
        (json.dumps({**CONTENT, "spec_sha256": 1}).encode(), "is not valid: expected a str as 'spec_sha256', received 1"),
        (json.dumps({name: CONTENT[name] for name in CONTENT if name != "result"}).encode(), "cannot be read: TypeError"),
        (json.dumps([CONTENT]).encode(), "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"\xff", "cannot be read"),
        (json.dumps({**CONTENT, "version": 1, "details": None}).encode(), "cannot be read"),
    ],
)
def test_a_manifest_that_is_not_one_is_refused(tmp_path, content, message):
    path = str(tmp_path / "_MANIFEST.json")
    STORAGE.write_bytes(path, content)
    with pytest.raises(ArtifactError, match=message):
        Manifest.read(STORAGE, path)


def test_a_manifest_that_the_file_system_does_not_give_is_one_kind_of_error(tmp_path):
    (tmp_path / "_MANIFEST.json").mkdir()
    with pytest.raises(ArtifactError, match=r"The manifest at .* cannot be read: IsADirectoryError"):
        Manifest.read(STORAGE, str(tmp_path / "_MANIFEST.json"))


def test_no_manifest_means_no_result(tmp_path):
    with pytest.raises(ArtifactError, match="did not commit a result"):
        Manifest.read(STORAGE, str(tmp_path / "_MANIFEST.json"))


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ArtifactError, match=r"Cannot write .*file/x: .*Choose an artifact_root that the job may write to"):
        STORAGE.write_bytes(f"{blocked}/x", b"")
