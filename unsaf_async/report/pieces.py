"""What every part of a report is built of: figures and intervals for people, tables, facts and captions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.report.markup import el
from unsaf_async.text import format_figure, format_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from xml.etree.ElementTree import Element

    from unsaf_async.report.markup import Child

Interval = tuple[float, float] | None


def told(value: float | None, interval: Interval = None, why: str = "") -> Element:
    """A figure for a cell, with its interval below it; "n/a" and why for None. why: also, why there is no interval."""
    if value is not None and interval:
        return named(format_figure(value), format_interval(interval, ""))
    below = why if value is None else f"no interval: {why}" if why else ""
    return el("span", format_figure(value), el("small", below, class_="why") if below else None)


def named(name: Child, hint: str) -> Element:
    """The name of a row, with what it means below it."""
    return el("span", name, el("small", hint) if hint else None)


def said(text: str) -> Element:
    """What a model, a file or a person said, kept apart from the text around it."""
    return el("span", text, class_="said", dir="auto")


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[Child]],
    numbers: Iterable[int] = (),
) -> Element:
    """A table whose first column names the rows. numbers: the columns that hold figures. A cell that is a `td` stays as it is."""
    right = set(numbers)
    head = el(
        "tr",
        [el("th", text, scope="col", class_="num" if place in right else None) for place, text in enumerate(heads)],
    )
    body = [el("tr", [_cell(cell, place, place in right) for place, cell in enumerate(row)]) for row in rows]
    return el(
        "div", el("table", el("caption", caption), el("thead", head), el("tbody", body)), class_="scroll", tabindex="0",
        role="region", aria_label=caption,
    )  # fmt: skip


def _cell(cell: Child, place: int, figures: bool) -> Element:
    if cell is not None and not isinstance(cell, str | int) and cell.tag == "td":
        return cell
    return el("th", cell, scope="row") if place == 0 else el("td", cell, class_="num" if figures else None)


def facts(*pairs: tuple[str, Child]) -> Element:
    """Names with what there is to say of each."""
    return el("dl", [part for name, value in pairs for part in (el("dt", name), el("dd", value))], class_="facts")


def rates(rows: Iterable[tuple[str, float | None, str]]) -> Element:
    """Figures side by side: a name, a figure, and in small what it means, or why there is none."""
    return el(
        "dl",
        [el("div", el("dt", name), el("dd", format_figure(value), el("small", hint))) for name, value, hint in rows],
        class_="rates",
    )


def figure(plot: Element | None, caption: str) -> Element | None:
    """A plot with its caption; None without one."""
    return None if plot is None else el("figure", plot, el("figcaption", caption))


def gauge(
    name: str, value: float | None, interval: Interval = None, bounds: Interval = None, *, bare: bool = False
) -> Element | None:
    """A figure on a line from 0 to 1: bounds thin, interval thick, a dot; None while undefined. bare: without numbers."""
    if value is None:
        return None
    width, y = 400, 10

    def x(at: float) -> float:
        return round(8 + at * (width - 16), 1)

    parts = [el("line", x1=x(0), x2=x(1), y1=y, y2=y, class_="s-line", stroke_width=2)]
    for ends, style, thick in ((bounds, "s-muted", 2), (interval, "s-good", 7)):
        if ends:
            parts.append(el("line", x1=x(ends[0]), x2=x(ends[1]), y1=y, y2=y, class_=style, stroke_width=thick))
    parts.append(el("circle", cx=x(value), cy=y, r=6, class_="f-paper s-good", stroke_width=3))
    if not bare:
        for text, anchor, at in (("0", "start", 2.0), ("0.5", "middle", x(0.5)), ("1", "end", width - 2.0)):
            parts.append(el("text", text, x=at, y=34, text_anchor=anchor, class_="f-muted", font_size=12))
    words = f"{name} {format_figure(value)}" + (f", 95 % interval {format_interval(interval)}" if interval else "")
    element = el("svg", parts, aria_label=words, role="img", class_="gauge")
    element.set("viewBox", f"0 0 {width} {20 if bare else 40}")
    return element
