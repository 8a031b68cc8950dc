"""A line chart as inline SVG: no script, nothing to load."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

#: The drawing's size in its own units; a screen scales it.
WIDTH, HEIGHT = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 28
_MAX_LABELS = 5
_MAX_LETTERS = 16

STYLE = """
figure svg { width: 100%; min-width: 36rem; height: auto; font-size: 12px; fill: var(--dim); }
svg .grid { stroke: var(--line); } svg .line { fill: none; stroke: var(--accent); stroke-width: 2; }
svg .spread { stroke: var(--accent); opacity: .4; stroke-width: 2; }
svg circle { fill: var(--accent); } svg circle.marked { stroke: var(--ink); stroke-width: 3; }
"""


@dataclass(frozen=True)
class Point:
    """A value and what it belongs to.

    Attributes:
        label: below the axis.
        value: None leaves a gap.
        spread: half the length of the bar through the point.
        mark: why the point stands out; empty if it does not.
    """

    label: str
    value: float | None
    spread: float = 0.0
    mark: str = ""


def line_chart(points: Sequence[Point], name: str) -> str:
    """The points at equal distances, from left to right, as SVG; empty if none has a value.

    Args:
        points: what to draw; a value that is not finite is left out like None.
        name: what is drawn, for those who cannot see it.
    """
    heights = [_finite(point) for point in points]
    ends = [
        value + way * point.spread for point, value in zip(points, heights, strict=True) if value is not None for way in (-1, 1)
    ]
    if not ends:
        return ""
    margin = (max(ends) - min(ends)) * 0.05 or abs(ends[0]) * 0.05 or 1.0
    scale = _Scale(min(ends) - margin, max(ends) + margin, len(points))
    places = [None if value is None else (scale.x(number), scale.y(value)) for number, value in enumerate(heights)]
    drawn = [(*place, point) for place, point in zip(places, points, strict=True) if place is not None]
    spreads = "".join(_spread(x, scale, point) for x, _, point in drawn if point.spread)
    dots = "".join(_dot(x, y, point) for x, y, point in drawn)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(name)}">'
        f"{_grid(scale)}{_labels(scale, points)}{spreads}{_line(places)}{dots}</svg>"
    )


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`, two to six of them; `low` must be less than `high`."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next((factor for factor in (1, 2, 5) if factor * power >= rough), 10)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


@dataclass(frozen=True)
class _Scale:
    """Where values from `low` to `high`, `count` of them in a row, lie in the drawing."""

    low: float
    high: float
    count: int

    def x(self, number: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (number + 0.5) / self.count

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / (self.high - self.low)


def _finite(point: Point) -> float | None:
    return point.value if point.value is not None and math.isfinite(point.value) and math.isfinite(point.spread) else None


def _grid(scale: _Scale) -> str:
    """A horizontal line and its value at each tick."""
    return "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{scale.y(tick):.1f}" y2="{scale.y(tick):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{scale.y(tick) + 4:.1f}" text-anchor="end">{tick:.6g}</text>'
        for tick in ticks(scale.low, scale.high)
    )


def _labels(scale: _Scale, points: Sequence[Point]) -> str:
    """As many labels below the axis as there is room for."""
    every = math.ceil(len(points) / _MAX_LABELS)
    return "".join(
        f'<text x="{scale.x(number):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(_short(point.label))}</text>'
        for number, point in enumerate(points)
        if number % every == 0
    )


def _short(label: str) -> str:
    return label if len(label) <= _MAX_LETTERS else f"{label[: _MAX_LETTERS - 1]}…"


def _line(places: Sequence[tuple[float, float] | None]) -> str:
    """A line from place to place, with a gap where one is missing."""
    steps, pen = [], "M"
    for place in places:
        if place is not None:
            steps.append(f"{pen}{place[0]:.1f} {place[1]:.1f}")
        pen = "M" if place is None else "L"
    return f'<path class="line" d="{" ".join(steps)}"/>'


def _spread(x: float, scale: _Scale, point: Point) -> str:
    assert point.value is not None
    top, bottom = scale.y(point.value + point.spread), scale.y(point.value - point.spread)
    return f'<line class="spread" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom:.1f}" y2="{top:.1f}"/>'


def _dot(x: float, y: float, point: Point) -> str:
    """A point; its title says what it is where a mouse is held over it."""
    told = f"{point.label}: {point.value:.6g}" + (f" ± {point.spread:.2g}" if point.spread else "")
    told += f", {point.mark}" if point.mark else ""
    look = 'class="marked" r="7"' if point.mark else 'r="4"'
    return f'<circle {look} cx="{x:.1f}" cy="{y:.1f}"><title>{html.escape(told)}</title></circle>'
