"""When a job ends because nobody waits for it, by a clock that the test sets."""

import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.lease import Lease
from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.jobs.lease import LeaseWatch

ATTEMPT = Attempt("p", "a")


class Store:
    """Holds the lease, or is out."""

    def __init__(self):
        self.content = Lease(120.0).renewed()
        self.trouble = None

    def read_bytes(self, path, limit=None):
        assert path == "p/a/_LEASE.json"
        if self.trouble:
            raise self.trouble
        return self.content


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def look(store):
    """Looks at the lease at a second."""
    now = [0.0]
    watch = LeaseWatch(store, ATTEMPT, clock=lambda: now[0])

    def look(second):
        now[0] = float(second)
        return watch.check()

    return look


def test_goes_on_as_long_as_the_lease_is_renewed(store, look):
    for second in range(0, 1000, 100):
        store.content = Lease(120.0).renewed()
        assert look(second) is None


def test_ends_once_it_has_stayed_the_same_for_too_long(look):
    assert look(10) is None
    assert look(130) is None
    assert look(131) == "Nobody has waited for this job for 120 s, so it ends without a result."


def test_a_longer_lease_counts_from_the_moment_it_is_seen(store, look):
    look(0)
    store.content = Lease(700.0).renewed()
    look(100)
    assert look(800) is None
    assert look(801) is not None


def test_ends_at_once_if_it_is_revoked(store, look):
    look(0)
    store.content = Lease(120.0, revoked=True).renewed()
    assert look(1) == "The task of this job was killed, so the job ends without a result."


@pytest.mark.parametrize("trouble", [ArtifactError("no route to host"), FileNotFoundError("gone")])
def test_time_without_the_store_is_not_held_against_the_job(store, look, trouble):
    look(0)
    store.trouble = trouble
    assert look(5000) is None
    store.trouble = None
    assert look(5100) is None
    assert look(5121) is not None


def test_half_a_file_is_no_reason_to_end(store, look):
    store.content = b'{"seconds": 1'
    assert look(0) is look(1000) is None
