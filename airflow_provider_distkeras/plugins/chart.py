"""A line chart as inline SVG: no script, nothing to load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from airflow_provider_distkeras.plugins.rendering import render

#: The drawing's size in its own units; a screen scales it.
WIDTH, HEIGHT = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 28
_MAX_LABELS = 5
_MAX_LETTERS = 16


@dataclass(frozen=True)
class Point:
    """A value of the chart.

    Attributes:
        label: the text below the axis.
        value: the value; None leaves a gap.
        spread: half the length of the bar through the point.
        mark: why the point stands out; empty if it does not.
    """

    label: str
    value: float | None
    spread: float = 0.0
    mark: str = ""

    @property
    def ends(self) -> list[float]:
        """The lower and the upper end of the bar through the point; empty if the point cannot be drawn."""
        if self.value is None or not math.isfinite(self.value) or not math.isfinite(self.spread):
            return []
        return [self.value - self.spread, self.value + self.spread]

    @property
    def title(self) -> str:
        """The text that appears where a mouse is held over the point."""
        text = f"{self.label}: {self.value:.6g}" + (f" ± {self.spread:.2g}" if self.spread else "")
        return f"{text}, {self.mark}" if self.mark else text


def line_chart(points: Sequence[Point], name: str) -> Markup:
    """Return the points, at equal distances from left to right, as SVG; empty if none has a value.

    Args:
        points: what to draw; a value that is not finite is left out like None.
        name: the chart's name for screen readers.
    """
    ends = [end for point in points for end in point.ends]
    if not ends:
        return Markup()
    margin = (max(ends) - min(ends)) * 0.05 or abs(ends[0]) * 0.05 or 1.0
    scale = _Scale(min(ends) - margin, max(ends) + margin, len(points))
    drawn = [(scale.x(number), point) for number, point in enumerate(points) if point.ends]
    every = math.ceil(len(points) / _MAX_LABELS)
    return render(
        "chart.svg.jinja",
        name=name,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        ticks=[(scale.y(tick), f"{tick:.6g}") for tick in ticks(scale.low, scale.high)],
        labels=[(scale.x(number), _shorten(points[number].label)) for number in range(0, len(points), every)],
        spreads=[(x, *map(scale.y, point.ends)) for x, point in drawn if point.spread],
        line=_path(points, scale),
        dots=[{"x": x, "y": scale.y(point.value or 0.0), "title": point.title, "mark": point.mark} for x, point in drawn],
    )


def ticks(low: float, high: float) -> list[float]:
    """Return two to six round numbers from `low` to `high`; `low` must be less than `high`."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next((factor for factor in (1, 2, 5) if factor * power >= rough), 10)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


@dataclass(frozen=True)
class _Scale:
    """The place of values from `low` to `high`, `count` of them in a row, in the drawing."""

    low: float
    high: float
    count: int

    def x(self, number: int) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (number + 0.5) / self.count, 1)

    def y(self, value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / (self.high - self.low), 1)


def _shorten(label: str) -> str:
    return label if len(label) <= _MAX_LETTERS else f"{label[: _MAX_LETTERS - 1]}…"


def _path(points: Sequence[Point], scale: _Scale) -> str:
    """Return the line from point to point as an SVG path, with a gap where a value is missing."""
    steps, command = [], "M"
    for number, point in enumerate(points):
        if point.ends:
            steps.append(f"{command}{scale.x(number)} {scale.y(point.value or 0.0)}")
        command = "L" if point.ends else "M"
    return " ".join(steps)
