"""Leases and their files."""

import pytest

from airflow_provider_distkeras.contract.artifacts.lease import Lease


def test_every_renewal_differs_and_holds_the_same_lease():
    lease = Lease(120.0)

    first, second = lease.renewed(), lease.renewed()

    assert first != second
    assert Lease.read(first) == Lease.read(second) == lease


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"seconds": null, "revoked": false}'])
def test_what_is_no_lease_is_refused(content):
    with pytest.raises((ValueError, KeyError, TypeError)):
        Lease.read(content)


def test_a_short_lease_is_looked_at_more_often():
    assert (Lease(4.0).poll_s, Lease(600.0).poll_s) == (1.0, 10.0)
