"""The item-response fit of a cross-examination, in a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.compare.rasch_words import HOW, LEVELS, PAIR_WORDS, difficulty_of, sentences
from unsaf_async.report.markup import el, said
from unsaf_async.report.pieces import figure_cell, table

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from unsaf_async.compare.cross_rasch import ItemResponse

MOST_LEVELS = 12
"""Levels of difficulty that are shown; cross.json has all."""


def item_response(found: ItemResponse) -> Element:
    """Abilities, whose questions are hard, every two models, and the levels of difficulty.

    Args:
        found: The fit.

    Returns:
        The part of the report.
    """
    tables = []
    if "abilities" not in found.undefined:
        tables = [
            table(
                "Abilities by the Rasch model, in logits",
                ("model", "ability", "responses right", "infit"),
                [
                    (
                        said(each.name), figure_cell(each.value, each.ci), f"{each.right:,} of {each.scored:,}",
                        figure_cell(each.infit, each.infit_ci),
                    )
                    for each in found.abilities
                ],
                range(1, 4),
            ),
            table(
                "How hard each model's questions are",
                ("questions of", "questions", "all models right", "all wrong", "others get right"),
                [
                    (
                        said(each.asker), f"{each.questions:,}", f"{each.all_right:,}", f"{each.all_wrong:,}",
                        figure_cell(each.right_by_others, each.right_by_others_ci),
                    )
                    for each in found.asked
                ],
                range(1, 5),
            ),
            table(
                "Models at equal difficulty",
                ("model", "minus", *PAIR_WORDS.values()),
                [
                    (
                        said(each.a), said(each.b),
                        *(
                            figure_cell(
                                getattr(each, name),
                                getattr(each, f"{name}_ci"),
                                each.undefined.get(name, each.undefined.get(f"{name}_ci", "")),
                            )
                            for name in PAIR_WORDS
                        ),
                    )
                    for each in found.pairs
                ],
                range(2, 6),
            ),
            table(
                "Difficulty of the questions, in logits",
                ("models right", "of models", "questions", "difficulty"),
                [
                    (
                        str(level.right), str(len(level.models)), f"{level.questions:,}",
                        difficulty_of(level.difficulty, level.low, level.high),
                    )
                    for level in found.levels[:MOST_LEVELS]
                ],
                range(1, 4),
            ),
        ]  # fmt: skip
    return el(
        "div",
        el("h3", "Item response"),
        tables,
        [el("p", text, class_="muted small") for text in (HOW, LEVELS)] if tables else None,
        el("ul", [el("li", el("b", "Note"), said(text)) for text in sentences(found)], class_="notes"),
        class_="board",
        id="item-response",
    )
