"""The lines of a job's log that its operator understands: what runs where, and how far it is. They are written for humans.

distkeras: train job, application app-20260301-0007, Spark UI at http://driver:4040
distkeras: progress 35 % | search: 5 of 12 fits | 120,300 samples/s | best r2 0.9132 (cell 3) | 1 min 20 s to go
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

#: What the lines of this package begin with.
PREFIX = "distkeras: "
#: The key of a task's state under which it is told how far its job is.
PROGRESS = "progress"

_STARTED = re.compile(
    rf"{PREFIX}(?P<kind>\w+) job, application (?P<application_id>[\w-]+), Spark UI (?:at (?P<ui>https?://\S+)|off)"
)
_COUNT = r"[\d,]+(?:\.\d)?"
_LINE = re.compile(
    rf"{PREFIX}progress (?P<percent>\d+) % \| (?P<stage>[^|:]+)"
    rf"(?:: (?P<done>{_COUNT}) of (?P<total>{_COUNT}) (?P<unit>\w+))?"
    rf"(?: \| (?P<speed>{_COUNT}) samples/s)?"
    r"(?: \| loss (?P<loss>\S+))?"
    r"(?: \| best (?P<metric>\S+) (?P<value>\S+) \(cell (?P<cell>\d+)\))?"
    r"(?: \| (?P<eta>.+) to go)?"
)
_DURATION = re.compile(r"(?:(\d+) h)? ?(?:(\d+) min)? ?(?:(\d+) s)?")


@dataclass(frozen=True)
class JobStarted:
    """A job that has begun.

    Attributes:
        kind: what it is, such as "train".
        application_id: Spark's id of it.
        ui: the address of its Spark UI; None if it has none.
    """

    kind: str
    application_id: str
    ui: str | None

    def __str__(self) -> str:
        return f"{self.kind} job, application {self.application_id}, Spark UI {f'at {self.ui}' if self.ui else 'off'}"

    @classmethod
    def found_in(cls, line: str) -> JobStarted | None:
        """What a line of the log says, if it says this."""
        said = _STARTED.fullmatch(line.strip())
        return cls(**said.groupdict()) if said else None


@dataclass(frozen=True)
class BestTrial:
    """The best cell so far: its number, and its mean of the metric that decides."""

    metric: str
    value: float
    cell: int


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        percent: of the whole job; stage: what it is at, such as "search".
        done, total, unit: how far the stage is, such as 5 of 12 fits; None where that cannot be told.
        samples_per_second: the speed of the training, all of it that runs at the moment.
        loss: of the epoch under way.
        best: of the cells that have ended.
        eta_seconds: what the whole job will still take, about.
    """

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
            parts[-1] += f": {_count(self.done)} of {_count(self.total)} {self.unit}"
        if self.samples_per_second is not None:
            parts.append(f"{self.samples_per_second:,.0f} samples/s")
        if self.loss is not None:
            parts.append(f"loss {self.loss:.4g}")
        if self.best is not None:
            parts.append(f"best {self.best.metric} {self.best.value:.4g} (cell {self.best.cell})")
        if self.eta_seconds is not None:
            parts.append(f"{_duration(self.eta_seconds)} to go")
        return " | ".join(parts)

    @classmethod
    def found_in(cls, line: str) -> Progress | None:
        """What a line of the log says, if it says this."""
        said = _LINE.fullmatch(line.strip())
        if said is None:
            return None
        best = BestTrial(said["metric"], float(said["value"]), int(said["cell"])) if said["metric"] else None
        return cls(
            int(said["percent"]), said["stage"], _number(said["done"]), _number(said["total"]), said["unit"] or "",
            _number(said["speed"]), _number(said["loss"]), best, _seconds(said["eta"]),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """What is known, as plain JSON values."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}

    @classmethod
    def from_dict(cls, said: dict[str, Any]) -> Progress:
        """Read `to_dict` back. Raises TypeError, KeyError or AttributeError for anything else."""
        best = said.get("best")
        return cls(**{**said, "best": None if best is None else BestTrial(**best)})


def _count(value: float) -> str:
    """A number of things; of epochs, tenths count."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _number(text: str | None) -> float | None:
    return None if text is None else float(text.replace(",", ""))


def _duration(seconds: float) -> str:
    """Rounded as a human would: by seconds below ten minutes, by minutes above."""
    whole = max(round(seconds), 0)
    if whole >= 600:
        whole = round(whole / 60) * 60
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    parts = [f"{value} {unit}" for value, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if value]
    return " ".join(parts) or "0 s"


def _seconds(text: str | None) -> float | None:
    said = _DURATION.fullmatch(text) if text is not None else None
    if said is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in said.groups())
    return float(hours * 3600 + minutes * 60 + seconds)
