"""How a job on another machine knows that somebody waits for it: a file beside its request that is written again and again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

#: Seconds between two looks of a job at its lease, at most; a short lease is looked at more often.
LOOK_S = 10.0


@dataclass(frozen=True)
class Lease:
    """The right to run for a while from the moment the job sees the file change.

    Nobody compares the clocks of two machines: what counts is for how long, by the job's own clock, the file has stayed the same.

    Attributes:
        seconds: how long.
        revoked: whether the job is to end at once.
    """

    seconds: float
    revoked: bool = False

    def renewed(self) -> bytes:
        """The file's content, another one each time."""
        return json.dumps({"seconds": self.seconds, "revoked": self.revoked, "renewed_at": time.time()}).encode()

    @classmethod
    def read(cls, content: bytes) -> Lease:
        """Read a lease back. Raises ValueError, KeyError or TypeError if it is none."""
        said = json.loads(content)
        return cls(float(said["seconds"]), bool(said["revoked"]))

    @property
    def look_s(self) -> float:
        """Seconds between two looks at it."""
        return min(LOOK_S, self.seconds / 4)
