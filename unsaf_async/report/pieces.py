"""What every part of a report is built of: figures and intervals for people, tables, facts and captions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.report.glossary import term
from unsaf_async.report.markup import el, said
from unsaf_async.text import format_figure, format_headline, format_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from xml.etree.ElementTree import Element

    from unsaf_async.report.markup import Child

Interval = tuple[float, float] | None


def figure_cell(value: float | None, interval: Interval = None, why: str = "") -> Element:
    """A figure for a table's cell, with its interval below it, or with why there is none.

    Args:
        value: The figure. None: it is undefined.
        interval: Of the figure. None: there is none.
        why: Why the figure is undefined, or else why there is no interval. "": unknown.

    Returns:
        The cell's content.
    """
    if value is not None and interval:
        return named(format_figure(value), format_interval(interval, ""))
    below = why if value is None else f"no interval: {why}" if why else ""
    return el("span", format_figure(value), el("small", below, class_="why") if below else None)


def named(name: Child, hint: str) -> Element:
    """The name of a row, with what it means below it.

    Args:
        name: The name.
        hint: What it means. "": nothing.

    Returns:
        The cell's content.
    """
    return el("span", name, el("small", hint) if hint else None)


def quoted(text: str) -> Element:
    """A text by a model, a file or a person, set off from the text around it.

    Args:
        text: Any text, in any direction of writing.

    Returns:
        The text as an element.
    """
    return said(text)


def table(
    caption: str,
    heads: Sequence[Child],
    rows: Iterable[Sequence[Child]],
    numbers: Iterable[int] = (),
    *,
    linked: bool = True,
) -> Element:
    """A table whose first column names the rows, in a frame that scrolls.

    Args:
        caption: Of the table.
        heads: Of the columns.
        rows: A cell a column. A cell that is a `td` stays as it is.
        numbers: The columns that hold figures, from 0.
        linked: Whether the page has the glossary, to which the titles of columns lead.

    Returns:
        The frame with the table.
    """
    right = set(numbers)
    head = el(
        "tr",
        [
            el(
                "th",
                term(text) if linked and isinstance(text, str) else text,
                scope="col",
                class_="num" if place in right else None,
            )
            if text is not None and text != ""  # an element without elements in it counts as false
            else el("td")  # a heading without words is announced as one
            for place, text in enumerate(heads)
        ],
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
    """Names, each with its value.

    Args:
        pairs: (name, value) each.

    Returns:
        A list of descriptions.
    """
    return el("dl", [part for name, value in pairs for part in (el("dt", name), el("dd", value))], class_="facts")


def rates(rows: Iterable[tuple[str, float | None, Interval, str]], low: Mapping[str, float] | None = None) -> Element:
    """Figures in a row, each on a line with its interval.

    Args:
        rows: (name, figure, interval, hint) each; the hint says in small what the figure means, or why there is none.
        low: The least value of figures that may be below 0, by name. None: all are at least 0.

    Returns:
        A list of descriptions.
    """
    return el(
        "dl",
        [
            el(
                "div",
                el("dt", term(name)),
                el("dd", format_figure(value), _mark(name, value, ends, (low or {}).get(name, 0.0), hint)),
            )
            for name, value, ends, hint in rows
        ],
        class_="rates",
    )


def _mark(name: str, value: float | None, ends: Interval, low: float, hint: str) -> list[Element]:
    """The figure on a line, its interval in words, and the hint."""
    line = gauge(name, value, ends, bare=True, low=low) if ends else None
    words = el("small", format_interval(ends)) if ends else None
    return [each for each in (line, words, el("small", hint)) if each is not None]


def figure(plot: Element | None, caption: str) -> Element | None:
    """A plot with its caption.

    Args:
        plot: The plot. None: there is none.
        caption: What there is to know of it.

    Returns:
        The figure; None without a plot.
    """
    return None if plot is None else el("figure", plot, el("figcaption", caption))


def gauge(
    name: str,
    value: float | None,
    interval: Interval = None,
    bounds: Interval = None,
    *,
    bare: bool = False,
    low: float = 0.0,
) -> Element | None:
    """A figure on a line from 0 to 1: bounds thin, interval thick, a dot for the figure.

    Args:
        name: Of the figure, for those who hear the page.
        value: The figure, in [0, 1]. None: it is undefined, or its bounds alone are known.
        interval: Of the figure. None: there is none.
        bounds: Of the figure. None: there are none.
        bare: Whether the line is drawn without numbers.
        low: What the line begins with, where it is drawn without numbers.

    Returns:
        The drawing; None without a figure and bounds.
    """
    if value is None and bounds is None:
        return None
    width, y = 400, 10

    def x(at: float) -> float:
        return round(8 + (at - low) / (1 - low) * (width - 16), 1)

    parts = [el("line", x1=x(low), x2=x(1), y1=y, y2=y, class_="s-line", stroke_width=2)]
    for ends, style, thick in ((bounds, "s-muted", 2), (interval, "s-good", 7)):
        if ends:
            parts.append(el("line", x1=x(ends[0]), x2=x(ends[1]), y1=y, y2=y, class_=style, stroke_width=thick))
    if value is not None:
        parts.append(el("circle", cx=x(value), cy=y, r=6, class_="f-paper s-good", stroke_width=3))
    if not bare:
        for text, anchor, at in (("0", "start", 2.0), ("0.5", "middle", x(0.5)), ("1", "end", width - 2.0)):
            parts.append(el("text", text, x=at, y=34, text_anchor=anchor, class_="f-muted", font_size=12))
    words = f"{name} {format_headline(value, bounds if value is None else None)}"
    words += f", 95 % interval {format_interval(interval)}" if interval else ""
    element = el("svg", parts, aria_label=words, role="img", class_="gauge")
    element.set("viewBox", f"0 0 {width} {20 if bare else 40}")
    return element


def badges_in_words() -> Element:
    """What the badges of questions stand for.

    Returns:
        A line of the badges, each with its meaning.
    """
    words = {
        "ta": "true answerable",
        "fu": "false unanswerable",
        "tu": "true unanswerable",
        "fa": "false answerable",
        "unscored": "unscored",
    }
    return el(
        "p",
        [
            el(
                "span",
                el("span", "open" if kind == "unscored" else kind.upper(), class_=f"badge {kind}"),
                f" {meaning}",
            )
            for kind, meaning in words.items()
        ],
        class_="legend muted small",
    )


def block(title: str, sentence: str, *parts: Element | None) -> Element:
    """A part of a section.

    Args:
        title: Its heading.
        sentence: What is below it, in words.
        parts: What follows; None is skipped.

    Returns:
        The part.
    """
    return el("div", el("h3", title), el("p", sentence, class_="muted"), [part for part in parts if part is not None])


def figure_in_line(value: float | None, interval: Interval, why: str) -> Child:
    """A figure within a line, with its interval behind it, or with why there is none.

    Args:
        value: The figure. None: it is undefined.
        interval: Of the figure. None: there is none.
        why: Why the figure is undefined, or else why there is no interval. "": unknown.

    Returns:
        The line.
    """
    if value is None:
        return f"n/a: {why}" if why else "n/a"
    without = f", no interval: {why}" if why else ", no interval"
    return el(
        "span", el("b", format_figure(value)), f", 95 % interval {format_interval(interval)}" if interval else without
    )


def why_none(reasons: Mapping[str, str], name: str) -> str:
    """Why a figure is undefined, or why it has no interval.

    Args:
        reasons: By the figure's name.
        name: Of the figure.

    Returns:
        The reason; "" where there is none.
    """
    return reasons.get(name) or reasons.get(f"{name}_ci", "")
