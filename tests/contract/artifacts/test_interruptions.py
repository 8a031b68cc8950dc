"""Attempts of one period that pass each other, or are killed, at every point between their claim and their return."""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys

import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import attempts, committed, current
from airflow_provider_distkeras.contract.artifacts.request import cut_off
from airflow_provider_distkeras.contract.errors import ArtifactError, SupersededError
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from tests.fakes.storages import Interruption, PutStorage, RenameStorage, Stepped
from tests.fixtures.lifetimes import SPEC, claim, finish, live


class Killed(BaseException):
    """The end of a process, which nothing in it can catch."""


def kill():
    raise Killed


@pytest.fixture(params=["local", "rename", "put"])
def opened(request):
    """Opens a storage of the same files each time, perhaps with a function before each of its steps."""
    if request.param == "local":
        return lambda step=lambda: None: Stepped(LocalStorage(), step)
    kind, files = {"rename": RenameStorage, "put": PutStorage}[request.param], {}
    return lambda step=lambda: None: kind(files, step)


@pytest.fixture
def root(tmp_path):
    return str(tmp_path)


def shown(storage, root, period):
    """The attempt that the package shows, after a check that CURRENT names the same one."""
    period_path = f"{root}/dag/train/period={period}"
    newest = current(storage, period_path)
    assert committed(storage, period_path).result["model_path"] == newest.path
    return newest


def pointed(storage, attempt):
    return json.loads(storage.read_bytes(attempt.current_path))["attempt"]


def with_manifest(storage, root, period):
    found = attempts(storage, f"{root}/dag/train/period={period}")
    return [attempt for attempt in found if storage.exists(attempt.manifest_path)]


def check_newest_is_shown(storage, root, period, returned):
    newest = max(returned, key=lambda attempt: attempt.name)
    assert shown(storage, root, period) == newest
    assert pointed(storage, newest) == newest.name
    # An attempt that was refused has no manifest.
    assert with_manifest(storage, root, period) == sorted(returned, key=lambda attempt: attempt.name)


def test_a_newer_attempt_that_passes_wherever_an_older_one_has_stopped_is_shown(opened, root):
    for at in itertools.count():
        period, storage = f"period-{at}", opened()
        returned, before = [live(storage, root, period, minute=0)], []

        def pass_by(period=period, returned=returned, before=before):
            before.extend(with_manifest(opened(), root, period))
            returned.append(live(opened(), root, period, minute=2))

        step, mine = Interruption(at, pass_by), []
        with contextlib.suppress(SupersededError):
            mine.append(live(opened(step), root, period, minute=1))
        if not step.happened:
            break
        check_newest_is_shown(storage, root, period, [*returned, *mine])
        # It succeeded only if it had its manifest before the other one passed, or was claimed after that.
        assert all(attempt in before or attempt.name > returned[-1].name for attempt in mine)
    assert at >= 16


def test_an_older_attempt_that_passes_wherever_a_newer_one_has_stopped_is_not_shown_in_the_end(opened, root):
    for at in itertools.count():
        period, storage = f"period-{at}", opened()
        older, returned = claim(storage, root, period, minute=0), []

        def pass_by(older=older, returned=returned):
            with contextlib.suppress(SupersededError):
                finish(opened(), older)
                returned.append(older)

        step = Interruption(at, pass_by)
        newer = live(opened(step), root, period, minute=1)
        if not step.happened:
            break
        assert shown(storage, root, period) == newer
        check_newest_is_shown(storage, root, period, [*returned, newer])
    assert at >= 16


@pytest.mark.parametrize("opened", ["local", "put"], indirect=True)
def test_a_root_that_vanishes_anywhere_is_an_error_and_gets_no_manifest(opened, root):
    for at in itertools.count():
        storage, place = opened(), f"{root}/share-{at}"
        attempt, had_manifest = claim(storage, place, "p", minute=0), []

        def vanish(storage=storage, place=place, attempt=attempt, had_manifest=had_manifest):
            had_manifest.append(storage.exists(attempt.manifest_path))
            shutil.rmtree(place, ignore_errors=True)
            for path in [path for path in getattr(storage, "files", []) if path.startswith(f"{place}/")]:
                del storage.files[path]

        step = Interruption(at, vanish)
        with contextlib.suppress(ArtifactError):
            finish(opened(step), attempt)
            assert all(had_manifest)
        if not step.happened:
            break
        assert not os.path.exists(place)
        assert not storage.exists(attempt.manifest_path)
    assert at >= 14


def check_after_a_kill(storage, root, period, previous):
    """The killed attempt is shown if it has a manifest; its retry takes its fits over in any case, and is shown in its turn."""
    killed = [attempt for attempt in attempts(storage, previous.period_path) if attempt != previous]
    has_result = bool(killed) and storage.exists(killed[0].manifest_path)
    assert shown(storage, root, period) == (killed[0] if has_result else previous)

    claimed = [attempt for attempt in killed if storage.exists(attempt.spec_path)]
    retry = claim(storage, root, period, minute=2, try_number=2)
    assert cut_off(storage, retry, SPEC) == claimed
    finish(storage, retry)
    assert shown(storage, root, period) == retry
    assert pointed(storage, retry) == retry.name


def test_an_attempt_that_is_killed_anywhere_counts_if_it_has_its_manifest(opened, root):
    for at in itertools.count():
        period, storage = f"period-{at}", opened()
        previous = live(storage, root, period, minute=0, try_number=2)
        try:
            live(opened(Interruption(at, kill)), root, period, minute=1)
        except Killed:
            check_after_a_kill(storage, root, period, previous)
        else:
            break
    assert at >= 16


_KILL = """
import itertools, os, signal, sys
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from tests.fakes.storages import Interruption
from tests.fixtures.lifetimes import live

root = sys.argv[1]
for at in itertools.count():
    live(LocalStorage(), root, f"period-{at}", minute=0, try_number=2)
    child = os.fork()
    if child == 0:
        step = Interruption(at, lambda: os.kill(os.getpid(), signal.SIGKILL))
        sys.addaudithook(lambda event, arguments: step() if root in str(arguments) else None)
        live(LocalStorage(), root, f"period-{at}", minute=1)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(at)
"""


def test_a_process_that_is_killed_at_any_call_of_the_file_system_leaves_what_can_be_continued(root):
    done = subprocess.run([sys.executable, "-c", _KILL, root], capture_output=True, text=True, check=True, timeout=60)
    kills, storage = int(done.stdout), LocalStorage()
    assert kills > 20
    for at in range(kills):
        period = f"period-{at}"
        previous = attempts(storage, f"{root}/dag/train/period={period}")[0]
        check_after_a_kill(storage, root, period, previous)
