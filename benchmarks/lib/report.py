"""The figures of a benchmark: one table for people, one JSON file per benchmark for programs."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

Size = TypeVar("Size")
#: Small sizes, to see that a benchmark runs; its figures mean nothing.
QUICK = bool(os.environ.get("BENCHMARKS_QUICK"))
RESULTS = Path(__file__).parents[1] / "results" / ("quick" if QUICK else "")


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        name: what was measured; value, unit: how much.
        reference: what it was compared with, measured in the same run.
        target: what it should be: at least, or at most where `at_most`; None where there is no target.
    """

    name: str
    value: float
    unit: str
    reference: str
    target: float | None = None
    at_most: bool = False

    @property
    def meets_target(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target

    def to_dict(self) -> dict[str, object]:
        """Return the figure as JSON values."""
        values = {key: value for key, value in asdict(self).items() if key != "at_most"}
        return {**values, "meets_target": self.meets_target}


def sized(full: Size, quick: Size) -> Size:
    """Return the full size or duration, or the small one under --quick."""
    return quick if QUICK else full


def write(benchmark: str, figures: Sequence[Figure]) -> None:
    """Write a benchmark's figures to its file."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    content = json.dumps([figure.to_dict() for figure in figures], indent=2)
    RESULTS.joinpath(f"{benchmark}.json").write_text(content + "\n")


def table(names: Sequence[str]) -> str:
    """Return a table of the figures that these benchmarks wrote."""
    rows = [("figure", "value", "unit", "target", "met", "reference")]
    for name in names:
        for figure in json.loads(RESULTS.joinpath(f"{name}.json").read_text()):
            target = "" if figure["target"] is None else f"{figure['target']:g}"
            met = {True: "yes", False: "NO", None: ""}[figure["meets_target"]]
            rows.append((figure["name"], f"{figure['value']:.4g}", figure["unit"], target, met, figure["reference"]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def median_ratio(ours: Callable[[], float], reference: Callable[[], float], repeats: int) -> tuple[float, float]:
    """Return the medians of ours / reference and of the reference, measured in turns so that noise affects both alike."""
    pairs = [(reference(), ours()) for _ in range(repeats)]
    return statistics.median(b / a for a, b in pairs), statistics.median(a for a, _ in pairs)


def seconds(work: Callable[[], object]) -> float:
    """Return the wall time of a call, in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
