"""Plots of the page: where what is drawn stands, and that nothing stands outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from reporting import examinations, report_run

from unsaf_async.providers.profile import Limits
from unsaf_async.report import plots
from unsaf_async.report.plane import plane
from unsaf_async.report.svg import TEXT_PX, Sketch
from unsaf_async.report.text_width import text_width
from unsaf_async.report.timeline import timeline

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree.ElementTree import Element

BEFORE = {"start": 0.0, "middle": 0.5, "end": 1.0}
"""What share of a text stands before its place."""


def drawn(rows: int = 1) -> tuple[Sketch, Any]:
    sketch = Sketch(400, 300, rows)
    return sketch, sketch.axes[0] if rows == 1 else sketch.axes


def places(plot: Element) -> dict[str, tuple[float, float]]:
    """(x, y) of each text."""
    return {part.text or "": (float(part.get("x", "")), float(part.get("y", ""))) for part in plot.iter("text")}


def circles(plot: Element) -> list[tuple[float, float]]:
    return [(float(part.get("cx", "")), float(part.get("cy", ""))) for part in plot.iter("circle")]


def lines(plot: Element, role: str) -> list[list[tuple[float, float]]]:
    """The points of each path of that color."""
    paths = [part.get("d", "") for part in plot.iter("path") if f"s-{role}" in part.get("class", "").split()]
    return [[tuple(map(float, point.split())) for point in path[1:].split("L")] for path in paths]  # type: ignore[misc]


def test_a_mark_stands_between_its_axes_marks_as_its_value_does_between_theirs() -> None:
    plot = plots.intervals("p", [("one", 0.6, (0.5, 0.75)), ("two", 0.0, None)])
    assert plot is not None
    at, ((x, y), (left, lower)) = places(plot), circles(plot)
    start, end = at["0"][0], at["1"][0]
    assert x == pytest.approx(start + 0.6 * (end - start), abs=0.02)
    assert left == pytest.approx(start, abs=0.02)
    assert (y, lower) == pytest.approx([at[name][1] - 0.35 * TEXT_PX for name in ("one", "two")], abs=0.02)
    assert y < lower, "the first row is the upper one"
    (interval,) = lines(plot, "c1")
    assert [x for x, _ in interval] == pytest.approx([at[".5"][0], at[".75"][0]], abs=0.02)
    assert {height for _, height in interval} == {y}


def test_a_logarithmic_axis_has_equal_steps_for_equal_factors() -> None:
    rows = [(name, size, 0.5, None) for name, size in (("a", 1e6), ("b", 1e8), ("c", 1e7))]
    plot = plots.scale("p", rows)
    assert plot is not None
    at = places(plot)
    (first, _), (second, _), (third, _) = circles(plot)
    assert (first, second, third) == pytest.approx([at[size][0] for size in ("1M", "10M", "100M")], abs=0.02)
    assert third - second == pytest.approx(second - first, abs=0.02)


def test_steps_hold_until_the_next_point_and_stairs_stand_on_zero() -> None:
    sketch, (above, below) = drawn(rows=2)
    above.stairs([2.0, 4.0], [0.0, 1.0, 2.0], color="c1", fill=True)
    below.step([0.0, 1.0, 2.0], [10.0, 20.0, 0.0], color="c2", linewidth=1, where="post")
    for axes in (above, below):
        axes.set_xlim(0, 2)
    plot = sketch.element("p", "", "")
    at = places(plot)
    (steps,) = lines(plot, "c2")
    zero, one, two = (at[name][0] for name in ("0.0", "1.0", "2.0"))
    assert [x for x, _ in steps] == pytest.approx([zero, one, one, two, two], abs=0.02)
    assert [y for _, y in steps] == pytest.approx(
        [at[name][1] - 0.35 * TEXT_PX for name in ("10", "10", "20", "20", "0")], abs=0.02
    )
    (area,) = [part.get("d", "") for part in plot.iter("path") if part.get("class") == "f-c1"]
    ys = [float(point.split()[1]) for point in area[1:-1].split("L")]
    assert max(ys) == ys[0] == ys[-1], "it stands on its axis"
    assert (ys[0] - ys[3]) == pytest.approx(2 * (ys[0] - ys[1]), abs=0.02)


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 10, 6, ["0", "2", "4", "6", "8", "10"]),
        (0, 0.00042, 3, ["0.0000", "0.0002", "0.0004"]),
        (0, 41_000, 3, ["0", "20,000", "40,000"]),
        (-1, 1, 4, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
    ],
)
def test_marks_are_round_numbers(low: float, high: float, most: int, expected: list[str]) -> None:
    _, axes = drawn()
    axes.set_ylim(low, high)
    axes.locator_params(axis="y", nbins=most)
    assert [mark.label for mark in axes.get_yticklabels()] == expected


def test_a_line_across_is_in_sight_and_data_without_extent_has_an_axis() -> None:
    sketch, axes = drawn()
    axes.plot([0, 1], [3, 3], color="c1")
    axes.axhline(8, color="muted", linewidth=1, linestyle="--")
    low, high = axes.get_ylim()
    assert low < 3 < 8 < high
    ((_, y), (_, same)), *_ = lines(sketch.element("p", "", ""), "muted")
    assert 0 < y == same < 300
    _, flat = drawn()
    flat.plot([0, 1], [0, 0], color="c1")
    assert flat.get_ylim() == (0, 1)


def test_equal_axes_have_one_scale() -> None:
    sketch, axes = drawn()
    axes.set_xlim(0, 2)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.plot([0, 1], [0, 1], color="c1")
    (((x0, y0), (x1, y1)),) = lines(sketch.element("p", "", ""), "c1")
    assert x1 - x0 == pytest.approx(y0 - y1, abs=0.02)


def test_a_label_that_would_pass_the_edge_stands_on_the_other_side() -> None:
    plot = plots.scale("p", [("short", 1e6, 0.5, None), ("a name as long as any", 1e9, 0.6, None)])
    assert plot is not None
    anchors = {part.text: part.get("text-anchor") for part in plot.iter("text")}
    assert (anchors["short"], anchors["a name as long as any"]) == (None, "end")


def test_lines_differ_by_their_dashes_and_a_legend_names_each() -> None:
    sketch, axes = drawn()
    for style, name in (("-", "plain"), ("--", "dashed"), ((0, (5, 1)), "long")):
        axes.plot([0, 1], [0, 1], color="c1", linewidth=2, linestyle=style, label=name)
    sketch.legend()
    plot = sketch.element("p", "", "")
    dashes = [part.get("stroke-dasharray") for part in plot.iter("path") if part.get("class") == "s-c1"]
    assert dashes == [None, "7.4 3.2", "10 2"] * 2
    assert {"plain", "dashed", "long"} <= places(plot).keys()


def test_no_text_of_a_plot_stands_outside_of_it(tmp_path: Path) -> None:
    run = report_run(tmp_path, examinations(tmp_path, 12, 8))
    assert run.findings
    told, name = timeline(tmp_path / "ledger.jsonl"), "a model with quite a long name"
    made = [
        plots.recall_by_kind("a", run.findings),
        plots.over_time("b", told, Limits(concurrency=10)),
        plots.latency_by_role("c", told.wait_s),
        plots.intervals("d", [(name, 0.5, (0.4, 0.6)), ("漢字かな交じり文の長い名前", 0.5, None)]),
        plots.scale("e", [(name, 1e6, 0.5, None), (name, 1e9, 1.0, None)]),
        plane("f", [(name, 0.0, 0.0, None, None), (name, 1.0, 1.0, None, None)]),
    ]
    for plot in made:
        assert plot is not None
        width, height = (float(each) for each in plot.get("viewBox", "").split()[2:])
        for part in plot.iter("text"):
            x, y, size = (float(part.get(name, "")) for name in ("x", "y", "font-size"))
            wide = text_width(part.text or "", size)
            left = x - BEFORE[part.get("text-anchor", "start")] * wide
            if "transform" not in part.attrib:
                assert -2 <= left < left + wide <= width + 2, part.text
            assert 0 < y - 0.7 * size < y <= height
