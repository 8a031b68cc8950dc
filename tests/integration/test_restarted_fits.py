"""A driver is killed in the middle of a fit; another goes on from its snapshot, or from the beginning."""

from dataclasses import replace

import pytest

from airflow_provider_distkeras.training import checkpoint
from tests.integration.fit_driver import COMMITS, EPOCHS, HALTS_AT, ROWS, fit_request, step, wait_for

pytestmark = pytest.mark.spark

HALTING = "import interrupted_fits\ninterrupted_fits.halt_once({marker!r}, worker=1, at={at})\n"


def altered(content, **account):
    """Return a checkpoint with other values in the workers' accounts."""
    states = checkpoint.from_bytes(content)
    ledger = states[0].ledger
    ledger.workers = {number: replace(worker, **account) for number, worker in ledger.workers.items()}
    return checkpoint.to_bytes(states)


@pytest.fixture(scope="module")
def restarted(drive, tmp_path_factory):
    """A driver is killed in the middle of a fit; another makes the same fit, from that checkpoint and from others in its place."""
    folder = tmp_path_factory.mktemp("restarted")
    snapshots, marker = folder / "snapshots", folder / "halted"
    sabotage = HALTING.format(marker=str(marker), at=HALTS_AT)

    def again(**options):
        # A timeout that a restarted worker would run into, not a test that hangs.
        return fit_request(snapshot_path=str(snapshots), snapshot_seconds=0.2, optimizer="adam", timeout=60.0, **options)

    first = drive([step(again())], sabotage=sabotage)

    def checkpoint_file():
        for path in snapshots.glob("*.npz"):
            workers = checkpoint.from_bytes(path.read_bytes())[0].ledger.workers
            if 1 in workers and workers[1].sequence == HALTS_AT and workers.get(0) and workers[0].sequence == COMMITS // 2:
                return path
        return None

    path = wait_for(first, checkpoint_file)
    first.kill()
    content = path.read_bytes()
    places = {
        "whole": content,
        "of_other_rows": content,
        "truncated": content[: len(content) // 2],
        "empty": b"",
        "of_an_older_application": altered(content, attempt=10_000),
    }
    steps = []
    for name, content in places.items():
        (folder / name).write_bytes(content)
        data = {"seed": 7} if name == "of_other_rows" else {}
        steps.append(step(again(data=data), copy=[str(folder / name), str(path)]))
    second = drive(steps, sabotage=sabotage)
    results = dict(zip(places, [results[0] for results in second.results()], strict=True))
    results["log"] = second.log.read_text()
    results["booked"] = checkpoint.from_bytes(content)[0].ledger.rows
    return results


def test_a_fit_whose_driver_was_killed_resumes_from_its_snapshot(restarted):
    fit = restarted["whole"]
    assert "error" not in fit, fit
    assert fit["rows_trained"] == EPOCHS * ROWS
    assert fit["updates"] == COMMITS
    assert restarted["booked"] == 20 * (COMMITS // 2 + HALTS_AT)
    assert fit["trained_here"] == EPOCHS * ROWS - restarted["booked"]
    untrained = max(restarted["empty"]["first_losses_here"])  # of whichever worker began first
    assert max(fit["first_losses_here"]) < 0.9 * untrained
    assert len(fit["loss"]) == EPOCHS


def test_a_fit_that_has_ended_leaves_no_snapshot(restarted):
    assert restarted["whole"]["snapshots_left"] == restarted["truncated"]["snapshots_left"] == 0


@pytest.mark.parametrize("name", ["of_other_rows", "truncated", "empty"])
def test_a_snapshot_that_cannot_be_used_is_reported_and_training_starts_over(restarted, name):
    fit = restarted[name]
    assert "error" not in fit, fit
    assert fit["trained_here"] == fit["rows_trained"] == EPOCHS * ROWS
    assert fit["updates"] == COMMITS
    assert "raining starts from the beginning." in restarted["log"]


def test_an_application_that_has_started_fewer_tasks_resumes_from_a_snapshot(restarted):
    """Spark counts the attempts of tasks anew in every application."""
    fit = restarted["of_an_older_application"]
    assert "error" not in fit, fit
    assert fit["rows_trained"] == EPOCHS * ROWS
    assert fit["trained_here"] == EPOCHS * ROWS - restarted["booked"]
