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
    finite = [point if _is_finite(point) else Point(point.label, None) for point in points]
    ends = [point.value + sign * point.spread for point in finite if point.value is not None for sign in (-1, 1)]
    if not ends:
        return ""
    margin = (max(ends) - min(ends)) * 0.05 or abs(ends[0]) * 0.05 or 1.0
    low, high = min(ends) - margin, max(ends) + margin
    xs = [LEFT + (WIDTH - LEFT - RIGHT) * (number + 0.5) / len(points) for number in range(len(points))]

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    grid = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.6g}</text>'
        for tick in ticks(low, high)
    )
    drawn = [(x, y(point.value), point) for x, point in zip(xs, finite, strict=True) if point.value is not None]
    spreads = "".join(
        f'<line class="spread" x1="{x:.1f}" x2="{x:.1f}" y1="{y(value - spread):.1f}" y2="{y(value + spread):.1f}"/>'
        for x, value, spread in ((x, point.value, point.spread) for x, _, point in drawn)
        if value is not None and spread
    )
    dots = "".join(_dot(x, height, point) for x, height, point in drawn)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(name)}">'
        f"{grid}{_labels(xs, points)}{spreads}{_line(xs, [None if p.value is None else y(p.value) for p in finite])}{dots}</svg>"
    )


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`, two to six of them; `low` must be less than `high`."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next((factor for factor in (1, 2, 5) if factor * power >= rough), 10)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _is_finite(point: Point) -> bool:
    return point.value is not None and math.isfinite(point.value) and math.isfinite(point.spread)


def _labels(xs: Sequence[float], points: Sequence[Point]) -> str:
    """As many labels as there is room for."""
    every = math.ceil(len(points) / _MAX_LABELS)
    return "".join(
        f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(_short(point.label))}</text>'
        for x, point in list(zip(xs, points, strict=True))[::every]
    )


def _short(label: str) -> str:
    return label if len(label) <= _MAX_LETTERS else f"{label[: _MAX_LETTERS - 1]}…"


def _line(xs: Sequence[float], ys: Sequence[float | None]) -> str:
    """A line through the points, with a gap where one is missing."""
    steps, pen = [], "M"
    for x, y in zip(xs, ys, strict=True):
        if y is not None:
            steps.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "M" if y is None else "L"
    return f'<path class="line" d="{" ".join(steps)}"/>'


def _dot(x: float, y: float, point: Point) -> str:
    told = f"{point.label}: {point.value:.6g}" + (f" ± {point.spread:.2g}" if point.spread else "")
    told += f", {point.mark}" if point.mark else ""
    look = 'class="marked" r="7"' if point.mark else 'r="4"'
    return f'<circle {look} cx="{x:.1f}" cy="{y:.1f}"><title>{html.escape(told)}</title></circle>'
