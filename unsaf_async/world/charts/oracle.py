"""The oracle of charts: reads any question about them back and works out its answer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from unsaf_async.world.charts import language as words
from unsaf_async.world.charts.language import Form, Noun
from unsaf_async.world.charts.scene import MONTHS
from unsaf_async.world.language import NUMBERS
from unsaf_async.world.oracle import Finding, definite, none, understood, yes

if TYPE_CHECKING:
    from unsaf_async.world.charts.scene import Chart


def oracle(chart: Chart, question: str) -> Finding | None:
    """What a question is about a chart, by the rules of the first world.

    The bar of a covered month is `hidden`, that of an empty month is an `absent-object`. The tallest bar is that of those in
    view; where several are as tall, it is `ambiguous` unless the answer is the same for each.

    Args:
        chart: The chart.
        question: Any text.

    Returns:
        The answer, or why there is none; None if it is no question about charts ("not understood").
    """
    return understood(question, words.FORMS, words.NEVER, partial(_find, chart))


def _find(chart: Chart, form: Form, gaps: dict[str, str]) -> Finding:
    match form.name:
        case "has":
            return Finding(form.name, yes(bool(Noun.read(gaps["a_noun"]).referents(chart))))
        case "count":
            return Finding(form.name, words.number(len(Noun.read(gaps["nouns"]).referents(chart))))
        case "above":
            least = NUMBERS.index(gaps["number"])
            return Finding(form.name, words.number(sum(bar.height > least for bar in chart.things.values())))
        case "at" | "under-cover":
            return _of_month(chart, form, MONTHS.index(gaps["month"].capitalize()))
    nouns = [Noun.read(gaps[name]) for name in ("noun", "unknown", "noun2") if name in gaps]
    if any(noun.month and MONTHS.index(noun.month) in chart.covered for noun in nouns):
        return none(form, "hidden")
    return definite(
        form,
        [(str(noun), "bar", noun.referents(chart)) for noun in nouns],
        partial(_about, chart, form, gaps.get("order", "")),
    )


def _of_month(chart: Chart, form: Form, index: int) -> Finding:
    if index in chart.covered:
        return none(form, "hidden")
    if form is words.UNDER_COVER:
        return none(form, "absent-object", "cover")
    return Finding(form.name, words.shown(chart.things.get(index)))


def _about(chart: Chart, form: Form, order: str, first: int, second: int = 0) -> Finding:
    """The finding if the question's nouns mean the bars of the months `first` and `second`."""
    bar = chart.things[first]
    match form.name:
        case "month":
            return Finding(form.name, f"{MONTHS[first]}.")
        case "taller":
            return Finding(form.name, yes(bar.height > chart.things[second].height))
        case "same-height":
            return Finding(form.name, yes(bar.height == chart.things[second].height))
        case "next-height" | "next-color":
            beside = first + (1 if order == "after" else -1)
            if beside in chart.covered:
                return none(form, "hidden")
            if beside not in chart.things:
                return none(form, "absent-object", "bar")
            return Finding(form.name, words.trait(form.name.removeprefix("next-"), chart.things[beside]))
    return Finding(form.name, words.trait(form.name, bar))
