"""Failures: the cause that a job writes beside its request, for the operator."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from airflow_provider_distkeras.contract import errors
from airflow_provider_distkeras.contract.errors import PERMANENT, DistKerasError, JobError
from airflow_provider_distkeras.contract.json_object import build, parse_object

#: The types of a failure's fields, as `check_members` takes them.
FAILURE_TYPES = {"type": str, "message": str, "permanent": bool}


@dataclass(frozen=True)
class Failure:
    """The cause of a job's failure.

    Attributes:
        type: the class of the error, such as "DataError".
        message: the error's message, of one line or more.
        permanent: whether the error would come again on a retry.
    """

    type: str
    message: str
    permanent: bool

    @classmethod
    def of(cls, error: BaseException, message: str | None = None) -> Failure:
        """Return the failure that an error causes.

        Args:
            error: the error.
            message: the message, where it is another than the error's text.
        """
        kind, text = type(error).__name__, message or str(error)
        return cls(kind, text if isinstance(error, DistKerasError) else f"{kind}: {text}", isinstance(error, PERMANENT))

    @property
    def line(self) -> str:
        """The class of the error and the first line of its message."""
        first = self.message.strip().split("\n", 1)[0]
        names_type = self.type == JobError.__name__ or first.startswith(f"{self.type}:")
        return first if names_type else f"{self.type}: {first}"

    @property
    def error(self) -> DistKerasError:
        """The error; a JobError in place of one that is not this package's."""
        kind = getattr(errors, self.type, JobError)
        return kind(self.message) if isinstance(kind, type) and issubclass(kind, DistKerasError) else JobError(self.message)

    def to_json(self) -> bytes:
        """Return the content of the failure's file."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Failure:
        """Return the failure that `to_json` gave. Raises MalformedError for anything else."""
        what = "The cause of the job's failure"
        return build(cls, parse_object(content, what), FAILURE_TYPES, what)
