"""What other judges make of the answers of a run, in its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.report.markup import el, said
from unsaf_async.report.pieces import figure_cell, table
from unsaf_async.text import format_difference, format_headline, format_interval

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

    from unsaf_async.compare.judged import JudgedScore
    from unsaf_async.report.markup import Child


def judged_anew(scores: Sequence[JudgedScore], f1_name: str) -> Element:
    """The scores by other judges, each beside the run's own.

    Args:
        scores: At least one.
        f1_name: What the F1 of abstaining is called.

    Returns:
        The block.
    """
    rows: list[tuple[Child, ...]] = [
        (
            el("span", said(each.judge or each.name), el("small", said(f"judged/{each.name}"))),
            _headline(each),
            _difference(each),
            f"{each.images:,}",
            each.created[:16].replace("T", " "),
        )
        for each in scores
    ]
    sentence = "The answers are the same. The difference is that of the two scores on the images that both have."
    heads = ("judged anew by", f1_name, "minus the run's own", "images", "begun")
    return el(
        "div",
        el("h3", "What would another judge say?"),
        el("p", sentence, class_="muted"),
        el("div", table("The same answers, judged anew", heads, rows, (1, 2, 3)), class_="gap"),
        class_="spaced",
    )


def _headline(each: JudgedScore) -> Child:
    if each.unf1_between:
        return format_headline(None, each.unf1_between)
    return figure_cell(each.unf1, each.unf1_ci, each.undefined.get("unf1") or each.undefined.get("unf1_ci", ""))


def _difference(each: JudgedScore) -> Child:
    why = each.undefined.get("difference") or each.undefined.get("difference_ci", "")
    if each.difference is None or each.difference_ci is None:
        return el("span", format_difference(each.difference), el("small", said(why)))
    return el("span", format_difference(each.difference), el("small", format_interval(each.difference_ci)))
