"""Why a job failed, as it leaves it beside its request for the operator."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from airflow_provider_distkeras.contract import errors
from airflow_provider_distkeras.contract.errors import PERMANENT, DistKerasError, JobError


@dataclass(frozen=True)
class Failure:
    """Why a job failed.

    Attributes:
        type: the kind of error, such as "DataError".
        message: what it says; perhaps several lines.
        permanent: whether trying again cannot help.
    """

    type: str
    message: str
    permanent: bool

    @classmethod
    def of(cls, error: BaseException, message: str | None = None) -> Failure:
        """The cause that an error is.

        Args:
            message: what it says, where that is not its text.
        """
        kind, said = type(error).__name__, message or str(error)
        ours = isinstance(error, DistKerasError)
        return cls(kind, said if ours else f"{kind}: {said}", isinstance(error, PERMANENT))

    @property
    def line(self) -> str:
        """The kind of error, and the first line of what it says."""
        first = self.message.strip().split("\n", 1)[0]
        says_kind = self.type == JobError.__name__ or first.startswith(f"{self.type}:")
        return first if says_kind else f"{self.type}: {first}"

    @property
    def error(self) -> DistKerasError:
        """The error that it was, or stands for one that is none of this package."""
        kind = getattr(errors, self.type, JobError)
        return kind(self.message) if isinstance(kind, type) and issubclass(kind, DistKerasError) else JobError(self.message)

    def to_json(self) -> bytes:
        """The content of its file."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Failure:
        """Read the file's content. Raises ValueError or TypeError for anything else."""
        return cls(**json.loads(content))
