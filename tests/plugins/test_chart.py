import math
import re
from xml.etree import ElementTree

import pytest

from airflow_provider_distkeras.plugins.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Point, line_chart, ticks


def drawn(*points):
    return ElementTree.fromstring(line_chart(points, "r2 by period"))


def dots(svg):
    """Return the places of the points."""
    return [(float(dot.get("cx")), float(dot.get("cy"))) for dot in svg.iter("circle")]


def line(svg):
    return svg.find("path[@class='line']").get("d")


def height_of(svg, value):
    """Return the height of a value by the labels of the axis."""
    marks = [(float(text.text), float(text.get("y")) - 4) for text in svg.iter("text") if text.get("text-anchor") == "end"]
    (low, bottom), (high, top) = marks[0], marks[-1]
    return bottom + (value - low) / (high - low) * (top - bottom)


def test_points_have_equal_distances_and_the_heights_of_their_values():
    values = [0.5, 0.9, 0.7]
    svg = drawn(*(Point(str(number), value) for number, value in enumerate(values)))

    xs, ys = zip(*dots(svg), strict=True)
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.1)
    assert LEFT < xs[0] < xs[2] < WIDTH - RIGHT
    assert ys == pytest.approx([height_of(svg, value) for value in values], abs=0.2)
    assert line(svg) == " ".join(f"{'ML'[number > 0]}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(dots(svg)))


def test_one_point_stands_in_the_middle():
    (dot,) = dots(drawn(Point("2026-03-01", 0.9)))

    assert dot == pytest.approx(((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2), abs=0.1)


@pytest.mark.parametrize("values", [[], [None], [math.nan], [math.inf, None]])
def test_nothing_is_drawn_without_values(values):
    assert line_chart([Point("2026-03-01", value) for value in values], "r2") == ""


def test_a_missing_value_leaves_a_gap():
    svg = drawn(*(Point("p", value) for value in [0.1, 0.2, None, 0.3, math.nan, 0.4]))

    assert len(dots(svg)) == 4
    assert re.sub(r"[^ML]", "", line(svg)) == "MLMM"


@pytest.mark.parametrize("value", [0.0, -3.5, 1e-12, 1e30])
def test_equal_values_of_any_size_fit_in(value):
    for _, y in dots(drawn(Point("a", value), Point("b", value))):
        assert TOP <= y <= HEIGHT - BOTTOM


def test_a_bar_shows_the_spread():
    svg = drawn(Point("a", 0.5, spread=0.1), Point("b", 0.6))

    (bar,) = svg.findall("line[@class='spread']")
    ends = [float(bar.get(end)) for end in ("y1", "y2")]
    assert ends == pytest.approx([height_of(svg, 0.4), height_of(svg, 0.6)], abs=0.2)


def test_a_mark_stands_out_with_its_reason():
    svg = drawn(Point("2026-03-01", 0.5), Point("2026-04-01", 0.6, 0.01, "champion of bikes"))

    plain, marked = svg.iter("circle")
    assert (plain.get("class"), marked.get("class")) == (None, "marked")
    assert plain.find("title").text == "2026-03-01: 0.5"
    assert marked.find("title").text == "2026-04-01: 0.6 ± 0.01, champion of bikes"


def test_texts_are_escaped():
    text = '</text><script>"'
    chart = line_chart([Point(text, 0.5, mark=text)], text)

    assert "<script" not in chart
    assert ElementTree.fromstring(chart).get("aria-label") == text


def test_only_as_many_labels_as_there_is_room_for():
    svg = drawn(*(Point(f"region={number} of a very long name", number) for number in range(200)))

    labels = [text.text for text in svg.iter("text") if text.get("text-anchor") == "middle"]
    assert len(labels) == 5
    assert labels[0] == "region=0 of a v…"


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.87, 0.91), (-5.0, 1e6), (1e-9, 3e-9), (0.0, 1e-5)])
def test_ticks_are_a_few_round_numbers_in_between(bounds):
    values = ticks(*bounds)

    assert 2 <= len(values) <= 6
    assert all(bounds[0] <= tick <= bounds[1] * (1 + 1e-9) for tick in values)
    assert len({f"{tick:.6g}" for tick in values}) == len(values)
