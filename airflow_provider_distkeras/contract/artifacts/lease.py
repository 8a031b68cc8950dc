"""Leases: a file beside the request of a job on another machine, which the waiting task writes again and again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from airflow_provider_distkeras.contract.errors import MalformedError
from airflow_provider_distkeras.contract.json_object import check_members, parse_object

#: The longest time between two reads of a lease by its job, in seconds; a short lease is read more often.
POLL_S = 10.0


@dataclass(frozen=True)
class Lease:
    """The right to run for a while from the moment that the job sees the file change.

    The clocks of two machines are never compared: the job measures by its own clock for how long the file has stayed the same.

    Attributes:
        seconds: the duration of the lease.
        revoked: whether the job must end at once.
    """

    seconds: float
    revoked: bool = False

    def renewed(self) -> bytes:
        """Return the content of the lease's file, which differs each time."""
        return json.dumps({"seconds": self.seconds, "revoked": self.revoked, "renewed_at": time.time()}).encode()

    @classmethod
    def read(cls, content: bytes) -> Lease:
        """Return the lease that a file holds. Raises MalformedError if it holds none."""
        fields = parse_object(content, "The lease")
        check_members(fields, {"seconds": float, "revoked": bool}, "The lease")
        if fields.get("seconds", 0) <= 0 or "revoked" not in fields:
            raise MalformedError(f"The lease is not valid: expected seconds above 0 and revoked, received {fields}.")
        return cls(float(fields["seconds"]), fields["revoked"])

    @property
    def poll_s(self) -> float:
        """The time between two reads of the lease, in seconds."""
        return min(POLL_S, self.seconds / 4)
