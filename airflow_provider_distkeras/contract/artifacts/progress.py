"""Events in a job's log, one JSON object a line, by which the operator follows the job. Whoever shows an event renders its prose.

    distkeras.started {"kind": "train", "application_id": "app-20260301-0007", "ui": "http://driver:4040"}
    distkeras.failed {"type": "DataError", "message": "No rows.", "permanent": true}
    distkeras.progress {"percent": 35, "stage": "search", "done": 5, "total": 12, "unit": "fits"}

An event is logged as the message itself: `logger.info(Progress(...))`. A job's log shows its line, any other log its prose.
"""

from __future__ import annotations

import json
import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

from airflow_provider_distkeras.contract.artifacts.failure import FAILURE_TYPES, Failure
from airflow_provider_distkeras.contract.errors import MalformedError
from airflow_provider_distkeras.contract.json_object import build, parse_object

#: The beginning of this package's lines in a log.
PREFIX = "distkeras: "
#: The key of a task's state that holds the job's progress.
PROGRESS = "progress"

_LINE = re.compile(r"distkeras\.(\w+) (\{.*\})")


@dataclass(frozen=True)
class JobEvent:
    """Base of the events. The text of an event is its prose.

    Attributes:
        name: what the line of the event begins with.
        types: the types of the fields, as `check_members` takes them.
    """

    name: ClassVar[str]
    types: ClassVar[Mapping[str, type]]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that have a value, as plain JSON values; a number that is not finite is none."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "") and not _is_infinite(value)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Return the event that `to_dict` gave. Raises MalformedError for anything else."""
        return build(cls, fields, cls.types, f"The event {cls.name}")

    def to_line(self) -> str:
        """Return the event as a line of a job's log."""
        return f"distkeras.{self.name} {json.dumps(self.to_dict(), default=float)}"


@dataclass(frozen=True)
class JobStarted(JobEvent):
    """A job that has begun.

    Attributes:
        kind: the kind of job, such as "train".
        application_id: Spark's id of the application.
        ui: the address of its Spark UI; None if it has none.
    """

    name: ClassVar[str] = "started"
    types: ClassVar[Mapping[str, type]] = {"kind": str, "application_id": str, "ui": str}

    kind: str
    application_id: str
    ui: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} job, application {self.application_id}, Spark UI {f'at {self.ui}' if self.ui else 'off'}"


@dataclass(frozen=True)
class JobFailed(JobEvent):
    """A job that has failed and cannot write its failure beside the request.

    Attributes:
        type, message, permanent: as in `Failure`.
    """

    name: ClassVar[str] = "failed"
    types = FAILURE_TYPES

    type: str
    message: str = ""
    permanent: bool = False

    @classmethod
    def of(cls, failure: Failure) -> Self:
        """Return the event of a failure."""
        return cls(failure.type, failure.message, failure.permanent)

    @property
    def failure(self) -> Failure:
        """The failure."""
        return Failure(self.type, self.message, self.permanent)

    def __str__(self) -> str:
        return self.failure.line


@dataclass(frozen=True)
class BestTrial:
    """The best trial so far: the metric that decides, its mean over the folds, and the trial's number."""

    metric: str
    value: float
    trial: int

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Return the trial that an event holds. Raises MalformedError for anything else."""
        return build(cls, fields, {"metric": str, "value": float, "trial": int}, "The best trial of the event progress")


@dataclass(frozen=True)
class Progress(JobEvent):
    """The progress of a job.

    Attributes:
        percent: of the whole job.
        stage: the stage under way, such as "search".
        done: how much of the stage is done, such as 5 of 12 fits; None where that is not measured.
        total: the size of the stage, in the same unit.
        unit: what is counted, such as "fits".
        samples_per_second: the speed of all training that runs at the moment.
        loss: the loss of the epoch under way.
        best: the best of the trials that have ended.
        eta_seconds: an estimate of the time until the whole job is done.
    """

    name: ClassVar[str] = "progress"
    types: ClassVar[Mapping[str, type]] = {
        "percent": int, "stage": str, "done": float, "total": float, "unit": str, "samples_per_second": float, "loss": float,
        "best": dict, "eta_seconds": float,
    }  # fmt: skip

    percent: int
    stage: str
    done: float | None = None
    total: float | None = None
    unit: str = ""
    samples_per_second: float | None = None
    loss: float | None = None
    best: BestTrial | None = None
    eta_seconds: float | None = None

    def __str__(self) -> str:
        parts = [f"progress {self.percent} %", self.stage]
        if self.done is not None and self.total is not None:
            parts[-1] += f": {_format_count(self.done)} of {_format_count(self.total)} {self.unit}"
        if self.samples_per_second is not None:
            parts.append(f"{self.samples_per_second:,.0f} samples/s")
        if self.loss is not None:
            parts.append(f"loss {self.loss:.4g}")
        if self.best is not None:
            parts.append(f"best {self.best.metric} {self.best.value:.4g} (trial {self.best.trial})")
        if self.eta_seconds is not None:
            parts.append(f"{_format_duration(self.eta_seconds)} to go")
        return " | ".join(parts)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Return the progress that `to_dict` gave. Raises MalformedError for anything else."""
        progress = super().from_dict(fields)
        progress._check_ranges()
        return progress if "best" not in fields else replace(progress, best=BestTrial.from_dict(fields["best"]))

    def _check_ranges(self) -> None:
        """Raise MalformedError if the percentage or a count is one that no job has, such as 5 of 4 fits."""
        if not 0 <= self.percent <= 100:
            raise MalformedError(f"The event progress is not valid: expected a percent from 0 to 100, received {self.percent}.")
        for name in ("done", "total", "samples_per_second", "eta_seconds"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise MalformedError(f"The event progress is not valid: expected {name!r} of at least 0, received {value:g}.")
        if self.done is not None and self.total is not None and self.done > self.total:
            raise MalformedError(
                f"The event progress is not valid: expected 'done' of at most {self.total:g}, the total, received {self.done:g}."
            )


_EVENTS: dict[str, type[JobEvent]] = {event.name: event for event in (JobStarted, JobFailed, Progress)}


def parse_event(line: str) -> JobEvent | None:
    """Return the event that a line of a job's log holds; None if it holds none."""
    match = _LINE.fullmatch(line.strip())
    event = _EVENTS.get(match[1]) if match is not None else None
    if match is None or event is None:
        return None
    try:
        return event.from_dict(parse_object(match[2], "The event"))
    except MalformedError:
        return None


def _is_infinite(value: Any) -> bool:
    """Return whether a value is a number that JSON lacks."""
    return isinstance(value, numbers.Real) and not math.isfinite(value)


def _format_count(value: float) -> str:
    """Return a number of things; epochs have tenths."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _format_duration(seconds: float) -> str:
    """Return a time in seconds below ten minutes, in minutes above."""
    whole = max(round(seconds), 0)
    if whole >= 600:
        whole = round(whole / 60) * 60
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    parts = [f"{value} {unit}" for value, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if value]
    return " ".join(parts) or "0 s"
