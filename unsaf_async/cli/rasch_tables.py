"""The item-response fit of a cross-examination, as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.cli.console import print_fitting, safe
from unsaf_async.compare.rasch_words import HOW, LEVELS, PAIR_WORDS, difficulty_of, figure_of, sentences
from unsaf_async.text import format_bracketed, format_figure

if TYPE_CHECKING:
    from rich.console import Console

    from unsaf_async.compare.cross_rasch import ItemResponse

MOST_LEVELS = 12
"""Levels of difficulty that are printed; cross.json has all."""


def print_item_response(found: ItemResponse, console: Console) -> None:
    """Prints abilities, whose questions are hard, every two models, and the levels of difficulty.

    Args:
        found: The fit.
        console: Where it is printed.
    """
    console.print()
    console.print("Item response (Rasch): who gets which question right, by its label")
    if "abilities" not in found.undefined:
        console.print()
        print_fitting(
            console,
            ("model", "ability", "right", "infit"),
            [
                (
                    safe(each.name), figure_of(each.value, each.ci), f"{each.right} of {each.scored}",
                    f"{format_figure(each.infit)}{format_bracketed(each.infit_ci)}",
                )
                for each in found.abilities
            ],
        )  # fmt: skip
        console.print(
            f"Advantage on one's own questions: {figure_of(found.own_advantage, found.own_advantage_ci)} logits"
        )
        console.print()
        print_fitting(
            console,
            ("questions of", "questions", "all right", "all wrong", "others get right"),
            [
                (
                    safe(each.asker), str(each.questions), str(each.all_right), str(each.all_wrong),
                    f"{format_figure(each.right_by_others)}{format_bracketed(each.right_by_others_ci)}",
                )
                for each in found.asked
            ],
        )  # fmt: skip
        console.print()
        print_fitting(
            console,
            ("model", "minus", *PAIR_WORDS.values()),
            [
                (
                    safe(each.a), safe(each.b),
                    *(figure_of(getattr(each, name), getattr(each, f"{name}_ci")) for name in PAIR_WORDS),
                )
                for each in found.pairs
            ],
        )  # fmt: skip
        console.print(HOW)
        console.print()
        print_fitting(
            console,
            ("models right", "of models", "questions", "difficulty (logits)"),
            [
                (str(level.right), str(len(level.models)), str(level.questions),
                 difficulty_of(level.difficulty, level.low, level.high))
                for level in found.levels[:MOST_LEVELS]
            ],
        )  # fmt: skip
        console.print(LEVELS)
    for line in sentences(found):
        console.print(safe(line))
