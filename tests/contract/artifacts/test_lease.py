"""Leases and their files."""

import pytest

from airflow_provider_distkeras.contract.artifacts.lease import Lease
from airflow_provider_distkeras.contract.errors import ArtifactError


def test_every_renewal_differs_and_holds_the_same_lease():
    lease = Lease(120.0)

    first, second = lease.renewed(), lease.renewed()

    assert first != second
    assert Lease.read(first) == Lease.read(second) == lease


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"seconds": null, "revoked": false}',
        b'{"seconds": -1, "revoked": false}',
        b'{"seconds": NaN, "revoked": false}',
        b'{"seconds": 9, "revoked": "no"}',
        b'{"seconds": 9}',
        b'{"seconds": 1' + b"0" * 400 + b', "revoked": false}',
    ],
)
def test_what_is_no_lease_is_refused(content):
    with pytest.raises(ArtifactError, match="The lease"):
        Lease.read(content)


def test_a_short_lease_is_looked_at_more_often():
    assert (Lease(4.0).poll_s, Lease(600.0).poll_s) == (1.0, 10.0)
