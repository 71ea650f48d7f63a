"""UnF1 corrected by trusted labels, as a part of the section that says how far a score can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.report.markup import el, said
from unsaf_async.report.pieces import block, facts, figure_in_line, named, table, why_none
from unsaf_async.score.label_errors import about_labels
from unsaf_async.text import format_figure

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from unsaf_async.score.label_errors import LabelCorrected


def true_labels(corrected: LabelCorrected) -> Element:
    """UnF1 next to UnF1 with true labels, and what these are.

    Args:
        corrected: The corrected score.

    Returns:
        The part.
    """
    why = corrected.why_undefined
    rows = [
        (
            named(
                f"{each.intended}, {each.act}",
                f"{each.answerable + each.unanswerable + each.cannot_say:,} of {each.questions:,}",
            ),
            f"{each.answerable:,}",
            f"{each.unanswerable:,}",
            f"{each.cannot_say:,}",
        )
        for each in corrected.cells
    ]
    return block(
        "And with true labels?",
        "Of a random part of the questions somebody who saw image and question, and nothing else, said whether the image answers "
        "it. The interval covers what the other questions leave open.",
        facts(
            ("As intended", format_figure(corrected.unf1_intended)),
            ("Corrected", figure_in_line(corrected.unf1, corrected.unf1_ci, why_none(why, "unf1"))),
        ),
        el("ul", [el("li", said(line)) for line in about_labels(corrected)], class_="small muted"),
        table(
            "Labelled questions by what they were meant to be and what the model did, and what they are",
            ("meant to be, and done", "answerable", "unanswerable", "cannot say"),
            rows,
            (1, 2, 3),
        ),
    )
