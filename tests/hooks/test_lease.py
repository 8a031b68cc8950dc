"""How long a job goes on without its task."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.hooks.lease import LeaseKeeper, lease_seconds

pytestmark = pytest.mark.airflow

NOTICED_S = 300  # Airflow's task_instance_heartbeat_timeout


def seconds(*, retry_delay=60, backoff=0, longest=None, try_number=1, max_tries=3, look_s=10, deferred=False, durable=True):
    task = SimpleNamespace(retry_delay=timedelta(seconds=retry_delay), retry_exponential_backoff=backoff, max_retry_delay=longest)
    ti = SimpleNamespace(try_number=try_number, max_tries=max_tries)
    return lease_seconds(task, ti, look_s=look_s, deferred=deferred, durable=durable)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"max_tries": 0}, 120),
        ({"durable": False}, 120),
        ({"try_number": 4}, 120),
        ({"max_tries": 0, "deferred": True}, 600),
        ({"max_tries": 0, "look_s": 60}, 300),
        ({}, 120 + NOTICED_S + 60),
        ({"deferred": True}, 600 + NOTICED_S + 60),
        ({"backoff": 3, "try_number": 3}, 120 + NOTICED_S + 2 * 60 * 9),
        ({"backoff": 3, "try_number": 3, "longest": timedelta(minutes=5)}, 120 + NOTICED_S + 300),
        ({"backoff": 5, "try_number": 90, "max_tries": 99}, 120 + NOTICED_S + 86400),
    ],
)
def test_lasts_until_a_retry_has_reconnected_to_the_job(arguments, expected):
    assert seconds(**arguments) == expected


def claim(folder):
    """Make the folder of an attempt, with its request."""
    (folder / "p" / "a").mkdir(parents=True)
    (folder / "p" / "a" / "_SPEC.json").write_text("{}")


class Log:
    def __init__(self):
        self.warnings = []

    def warning(self, message, *arguments):
        self.warnings.append(message % arguments)


def test_a_failed_renewal_is_logged_and_tried_again(tmp_path):
    (tmp_path / "p").write_text("a file, where a folder has to be")
    log = Log()
    keeper = LeaseKeeper(Attempt(f"file://{tmp_path}/p", "a"), 120.0, log)

    keeper.renew()
    (tmp_path / "p").unlink()
    claim(tmp_path)
    keeper.renew()

    assert len(log.warnings) == 1
    assert "could not be renewed" in log.warnings[0]
    assert (tmp_path / "p" / "a" / "_LEASE.json").exists()


def test_not_renewed_more_often_than_needed(tmp_path):
    claim(tmp_path)
    keeper = LeaseKeeper(Attempt(f"file://{tmp_path}/p", "a"), 120.0, Log())
    keeper.grant()
    before = (tmp_path / "p" / "a" / "_LEASE.json").read_bytes()

    keeper.renew()

    assert (tmp_path / "p" / "a" / "_LEASE.json").read_bytes() == before


def test_a_root_that_is_gone_is_not_made_anew(tmp_path):
    log = Log()
    keeper = LeaseKeeper(Attempt(f"file://{tmp_path}/p", "a"), 120.0, log)

    keeper.renew()
    keeper.revoke()

    assert len(log.warnings) == 2
    assert list(tmp_path.iterdir()) == []
