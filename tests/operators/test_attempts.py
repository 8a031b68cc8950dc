"""Which attempt a run writes into, and which one its period shows."""

import json
import sys

import pytest

from airflow_provider_distkeras.contract.files.storage import local_path
from tests.fakes.spark_installation import STUB, write_script
from tests.fixtures.dag_run import APRIL, MARCH

pytestmark = pytest.mark.airflow


@pytest.fixture
def periods(root):
    """Per period, its attempts and the committed one."""

    def look():
        task = root / "dag" / "prepare"
        return {
            period.name.removeprefix("period="): (
                sorted(path.name for path in period.iterdir() if path.is_dir()),
                json.loads((period / "CURRENT").read_text())["attempt"] if (period / "CURRENT").exists() else None,
            )
            for period in sorted(task.iterdir())
        }

    return look


def test_same_date_twice_is_two_attempts_and_the_newest_shows(stub, prepare, run, periods):
    run(prepare)
    run(prepare)

    ((attempts, current),) = periods().values()
    assert len(attempts) == 2
    assert current == attempts[-1]


def test_another_date_is_left_alone(stub, prepare, run, periods):
    run(prepare, logical_date=MARCH)
    before = periods()
    run(prepare, logical_date=APRIL)

    after = periods()
    assert list(after) == ["2026-03-01T000000Z", "2026-04-01T000000Z"]
    assert after["2026-03-01T000000Z"] == before["2026-03-01T000000Z"]


def test_run_without_a_logical_date_uses_when_it_was_due(stub, prepare, run, periods):
    run(prepare, logical_date=None, run_after=APRIL)

    assert list(periods()) == ["2026-04-01T000000Z"]


def test_failed_attempt_leaves_the_committed_one(stub, prepare, run, periods):
    run(prepare)
    ((_, before),) = periods().values()
    stub.mode("crash")
    failed = run(prepare)

    ((attempts, current),) = periods().values()
    assert failed.state == "failed"
    assert (len(attempts), current) == (2, before)


def test_each_try_is_an_attempt_of_its_own(stub, prepare, run, periods):
    stub.mode("crash")
    failed = run(lambda: prepare(retries=1))

    ((attempts, current),) = periods().values()
    assert failed.state == "failed"
    assert [name.split("-")[1:3] for name in attempts] == [["g1", "t1"], ["g1", "t2"]]
    assert current is None


def test_reuse_returns_the_committed_result_without_spark(stub, prepare, run):
    first = run(prepare).xcoms("prepare")
    second = run(lambda: prepare(if_exists="reuse")).xcoms("prepare")

    assert len(stub.calls()) == 1
    assert second["return_value"] == first["return_value"]


def test_reuse_runs_again_for_another_request(stub, prepare, run):
    run(prepare)
    run(lambda: prepare(if_exists="reuse", scaling="minmax"))

    assert len(stub.calls()) == 2


def test_reuse_runs_again_for_other_inputs(stub, prepare, run, csv):
    run(prepare)
    with csv.open("a") as file:
        file.write("0.9,31\n")
    run(lambda: prepare(if_exists="reuse"))

    assert len(stub.calls()) == 2


def test_reuse_runs_again_for_a_file_that_changed_without_changing_its_size(stub, prepare, run, csv):
    run(prepare)
    csv.write_text(csv.read_text().replace("12", "13"))
    run(lambda: prepare(if_exists="reuse"))

    assert len(stub.calls()) == 2


@pytest.mark.parametrize("damage", ["gone", "manifest"])
def test_reuse_runs_again_where_the_result_is_damaged(stub, prepare, run, damage):
    manifest = local_path(run(prepare).xcoms("prepare")["manifest_path"])
    if damage == "gone":
        manifest.unlink()
    else:
        manifest.write_text("{")

    assert run(lambda: prepare(if_exists="reuse")).state == "success"
    assert len(stub.calls()) == 2


def test_claim_is_the_newest_of_its_period_whatever_the_clocks_say(stub, prepare, run, periods, root):
    run(prepare)
    ((attempts, _),) = periods().values()
    ahead = f"29990101T000000000000Z-{attempts[0].partition('-')[2]}"
    period = root / "dag" / "prepare" / "period=2026-03-01T000000Z"
    (period / attempts[0]).rename(period / ahead)

    assert run(prepare).state == "success"
    ((attempts, current),) = periods().values()
    assert (len(attempts), current) == (2, attempts[-1])
    assert attempts[-1].startswith("29990101T000000000001Z-")


@pytest.mark.parametrize("mode", ["crash", "killed", "nothing"])
def test_attempt_whose_job_ended_without_a_word_hinders_no_other(stub, prepare, run, root, mode):
    stub.mode(mode)
    assert run(prepare).state == "failed"

    (failure,) = root.rglob("_ERROR.json")
    assert json.loads(failure.read_text())["message"]


@pytest.mark.parametrize("mode", ["commit_crash", "commit_killed"])
def test_result_counts_whose_job_fails_after_its_manifest(stub, prepare, run, periods, mode):
    stub.mode(mode)
    done = run(prepare)

    ((attempts, current),) = periods().values()
    assert done.state == "success"
    assert (len(attempts), current) == (1, attempts[0])
    assert f"/{attempts[0]}/" in done.xcoms("prepare")["dataset_path"]


def test_fail_refuses_before_spark_and_names_the_result(stub, prepare, run, periods):
    first = run(prepare).xcoms("prepare")
    before = periods()
    second = run(lambda: prepare(if_exists="fail"))

    assert second.state == "failed"
    assert second.message.startswith(f"The period has a committed result, {first['manifest_path']}, and if_exists is 'fail'.")
    assert len(stub.calls()) == 1
    assert periods() == before


def test_fail_runs_where_nothing_is_committed(stub, prepare, run):
    assert run(lambda: prepare(if_exists="fail")).state == "success"


def test_a_retry_makes_no_root_anew_that_has_vanished(stub, prepare, run, root, tmp_path):
    gone = tmp_path / "unmounted"
    write_script(
        stub.home / "bin" / "spark-submit",
        f'#!/bin/sh\n[ -e "{gone}" ] || {{ mv "{root}" "{gone}"; exit 1; }}\nexec "{sys.executable}" "{STUB}" "$@"\n',
    )
    done = run(lambda: prepare(retries=1))

    assert done.state == "failed"
    assert f"has vanished while the task ran: there is no file://{root} any more" in done.message
    assert not root.exists()
