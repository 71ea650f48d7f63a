"""Questions about a chart, with their answers by construction: a bar is chosen first, and then words that mean it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.world.charts import language as words
from unsaf_async.world.charts.language import Form, Noun
from unsaf_async.world.charts.scene import COLORS, MONTHS, PATTERNS, TALLEST, Bar, Chart
from unsaf_async.world.language import NUMBERS, declined
from unsaf_async.world.questions import SEE_YES_SHARE, Posed, posed_of_kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from unsaf_async.records import Kind

ANSWERABLE: dict[Form, float] = {
    words.HEIGHT: 0.18,
    words.COLOR: 0.14,
    words.PATTERN: 0.07,
    words.MONTH: 0.15,
    words.AT: 0.10,
    words.NEXT_HEIGHT: 0.05,
    words.NEXT_COLOR: 0.05,
    words.COUNT: 0.07,
    words.ABOVE: 0.04,
    words.HAS: 0.11,
    words.TALLER: 0.08,
    words.SAME_HEIGHT: 0.03,
}
"""How often each form is tried for an answerable question."""

_NAMED_BY = (("month",), ("color",), ("rank",), ("pattern", "color"), ("rank", "color"), ("rank", "pattern"))
_NAMED_BY_WEIGHT = (0.34, 0.26, 0.14, 0.16, 0.05, 0.05)
"""What a noun names, and how often."""

_DEFINITE = (
    words.HEIGHT, words.COLOR, words.PATTERN, words.MONTH, words.NEXT_HEIGHT, words.NEXT_COLOR, words.TALLER, words.SAME_HEIGHT,
)  # fmt: skip
_DEFINITE_WEIGHT = (0.27, 0.2, 0.1, 0.17, 0.06, 0.06, 0.1, 0.04)
"""The forms that speak of "the" bar, and how often they are asked when there is none, or more than one."""


def answerable(chart: Chart, rng: Random) -> Posed:
    """A question that the chart answers.

    Args:
        chart: The chart.
        rng: Decides what is asked; it is advanced.

    Returns:
        The question and its answer.
    """
    while True:
        (form,) = rng.choices(tuple(ANSWERABLE), tuple(ANSWERABLE.values()))
        posed = _ANSWERABLE[form.name](chart, rng, form)
        if posed:
            return posed


def unanswerable(chart: Chart, rng: Random, kind: Kind | None = None) -> Posed | None:
    """A question that the chart cannot settle.

    Args:
        chart: The chart.
        rng: Decides what is asked; it is advanced.
        kind: Why there is no answer; None: any kind, by its share.

    Returns:
        The question and the reply that declines it; None if the chart has no such question.
    """
    return posed_of_kind(chart, rng, kind, _PERCEPTUAL, _never)


def probe(chart: Chart, rng: Random, *, present: bool) -> Posed:
    """A yes/no question "Does the chart have ...?": the probe of object hallucination.

    Args:
        chart: The chart.
        rng: Decides what is asked; it is advanced.
        present: Whether the answer is yes.

    Returns:
        The question and its answer.
    """
    while True:
        traits = rng.choice((("color",), ("pattern", "color")))
        bar = rng.choice(tuple(chart.things.values()))
        noun = Noun(**{trait: getattr(bar, trait) for trait in traits}) if present else _missing(chart, rng, traits)
        if noun is not None and bool(noun.referents(chart)) == present:
            return Posed(words.HAS.fill(a_noun=noun.with_article), "Yes." if present else "No.", words.HAS.name)


# --- nouns ----------------------------------------------------------------------------------------------------------


def _traits(rng: Random, without: str | None = None) -> tuple[str, ...]:
    while True:
        (traits,) = rng.choices(_NAMED_BY, _NAMED_BY_WEIGHT)
        if without not in traits:
            return traits


def _of(chart: Chart, rng: Random, index: int, traits: tuple[str, ...]) -> Noun:
    """A noun of `traits` for the bar of a month; the rank is drawn, whether it fits or not."""
    values = {"month": MONTHS[index], "rank": rng.choice(words.RANKS)}
    return Noun(**{trait: values.get(trait) or getattr(chart.things[index], trait) for trait in traits})


def _meaning(chart: Chart, rng: Random, index: int, without: str | None = None) -> Noun | None:
    """A noun that means this bar and no other; `without` is what is asked for."""
    for _ in range(6):
        noun = _of(chart, rng, index, _traits(rng, without))
        if noun.referents(chart) == [index]:
            return noun
    return None


def _missing(chart: Chart, rng: Random, traits: tuple[str, ...]) -> Noun | None:
    """A noun of `traits` that nothing in view fits; its month is empty, not covered."""
    if traits == ("month",):
        return Noun(MONTHS[rng.choice(chart.empty)]) if chart.empty else None
    values = {
        "rank": rng.choice(words.RANKS),
        "pattern": rng.choice(PATTERNS),
        "color": rng.choice(tuple(COLORS)),
    }
    noun = Noun(**{trait: values[trait] for trait in traits})
    return None if noun.referents(chart) else noun


def _index(chart: Chart, rng: Random) -> int:
    return rng.choice(tuple(chart.things))


def _asked(form: Form) -> str | None:
    """What a noun of this form may not name: it is what is asked for."""
    return form.name if form.name in ("color", "pattern", "month") else None


# --- what the chart answers -----------------------------------------------------------------------------------------


def _trait(chart: Chart, rng: Random, form: Form) -> Posed | None:
    index = _index(chart, rng)
    noun = _meaning(chart, rng, index, _asked(form))
    if noun is None:
        return None
    return Posed(form.fill(noun=str(noun)), words.trait(form.name, chart.things[index]), form.name)


def _month(chart: Chart, rng: Random, form: Form) -> Posed | None:
    index = _index(chart, rng)
    noun = _meaning(chart, rng, index, "month")
    return None if noun is None else Posed(form.fill(unknown=str(noun)), f"{MONTHS[index]}.", form.name)


def _at(chart: Chart, rng: Random, form: Form) -> Posed | None:
    if rng.random() < 0.2:
        return Posed(form.fill(month=MONTHS[rng.choice(chart.empty)]), "Nothing.", form.name) if chart.empty else None
    index = _index(chart, rng)
    return Posed(form.fill(month=MONTHS[index]), words.shown(chart.things[index]), form.name)


def _next(chart: Chart, rng: Random, form: Form) -> Posed | None:
    index, order = _index(chart, rng), rng.choice(words.ORDERS)
    noun, bar = _meaning(chart, rng, index), chart.things.get(index + (1 if order == "after" else -1))
    if noun is None or bar is None:
        return None
    reply = words.trait(form.name.removeprefix("next-"), bar)
    return Posed(form.fill(noun=str(noun), order=order), reply, form.name)


def _count(chart: Chart, rng: Random, form: Form) -> Posed:
    traits = rng.choice(((), ("color",), ("pattern",), ("pattern", "color")))
    bar = rng.choice(tuple(chart.things.values()))
    if rng.random() < 0.25:
        bar = Bar(rng.choice(PATTERNS), rng.choice(tuple(COLORS)), 1)
    noun = Noun(**{trait: getattr(bar, trait) for trait in traits})
    return Posed(form.fill(nouns=noun.plural), words.number(len(noun.referents(chart))), form.name)


def _above(chart: Chart, rng: Random, form: Form) -> Posed:
    least = rng.randint(1, TALLEST - 1)
    count = sum(bar.height > least for bar in chart.things.values())
    return Posed(form.fill(number=NUMBERS[least]), words.number(count), form.name)


def _has(chart: Chart, rng: Random, _form: Form) -> Posed:
    return probe(chart, rng, present=rng.random() < SEE_YES_SHARE)


def _two(chart: Chart, rng: Random, form: Form) -> Posed | None:
    first, second = rng.sample(tuple(chart.things), 2)
    nouns = [_meaning(chart, rng, first), _meaning(chart, rng, second)]
    heights = [chart.things[index].height for index in (first, second)]
    holds = heights[0] > heights[1] if form is words.TALLER else heights[0] == heights[1]
    if None in nouns or (form is words.SAME_HEIGHT and not holds and rng.random() < 0.5):
        return None
    return Posed(form.fill(noun=str(nouns[0]), noun2=str(nouns[1])), "Yes." if holds else "No.", form.name)


_ANSWERABLE: dict[str, Callable[[Chart, Random, Form], Posed | None]] = {
    "height": _trait,
    "color": _trait,
    "pattern": _trait,
    "month": _month,
    "at": _at,
    "next-height": _next,
    "next-color": _next,
    "count": _count,
    "above": _above,
    "has": _has,
    "taller": _two,
    "same-height": _two,
}


# --- what this chart cannot settle ------------------------------------------------------------------------------------


def _declined(form: Form, kind: Kind, meant: str = "bar", /, **gaps: str) -> Posed:
    return Posed(form.fill(**gaps), declined(kind, meant), form.name, kind)


def _about(chart: Chart, rng: Random, form: Form, noun: Noun) -> dict[str, str] | None:
    """The gaps of a question about `noun`, and about a bar that is there where the form takes two."""
    gaps = {"noun": str(noun), "unknown": str(noun), "order": rng.choice(words.ORDERS)}
    if form in (words.TALLER, words.SAME_HEIGHT):
        other = _meaning(chart, rng, _index(chart, rng))
        if other is None:
            return None
        first, second = (noun, other) if rng.random() < 0.5 else (other, noun)
        gaps |= {"noun": str(first), "noun2": str(second)}
    return gaps


def _absent(chart: Chart, rng: Random) -> Posed | None:
    if rng.random() < 0.07:
        open_months = [month for index, month in enumerate(MONTHS) if index not in chart.covered]
        return _declined(words.UNDER_COVER, "absent-object", "cover", month=rng.choice(open_months))
    (form,) = rng.choices(_DEFINITE, _DEFINITE_WEIGHT)
    missing = _missing(chart, rng, _traits(rng, _asked(form)))
    gaps = missing and _about(chart, rng, form, missing)
    return _declined(form, "absent-object", str(missing), **gaps) if gaps else None


def _ambiguous(chart: Chart, rng: Random) -> Posed | None:
    (form,) = rng.choices(_DEFINITE[:4], _DEFINITE_WEIGHT[:4])
    noun = _of(chart, rng, _index(chart, rng), _traits(rng, _asked(form)))
    meant = noun.referents(chart)
    answers = {index if form is words.MONTH else getattr(chart.things[index], form.name) for index in meant}
    return None if len(answers) < 2 else _declined(form, "ambiguous", noun=str(noun), unknown=str(noun))


def _hidden(chart: Chart, rng: Random) -> Posed | None:
    if rng.random() < 0.3 or not chart.covered:
        return _never(chart, rng, "hidden")
    covered = rng.choice(chart.covered)
    share = rng.random()
    if share < 0.4:
        return _declined(rng.choice((words.AT, words.AT, words.UNDER_COVER)), "hidden", month=MONTHS[covered])
    if share < 0.8:
        form = rng.choice((words.HEIGHT, words.COLOR, words.PATTERN, words.TALLER))
        gaps = _about(chart, rng, form, Noun(MONTHS[covered]))
        return _declined(form, "hidden", **gaps) if gaps else None
    order = rng.choice(words.ORDERS)
    index = covered + (-1 if order == "after" else 1)
    noun = _meaning(chart, rng, index) if index in chart.things else None
    form = rng.choice((words.NEXT_HEIGHT, words.NEXT_COLOR))
    return None if noun is None else _declined(form, "hidden", noun=str(noun), order=order)


def _never(chart: Chart, rng: Random, kind: Kind) -> Posed:
    noun = None
    while noun is None:
        noun = _meaning(chart, rng, _index(chart, rng))
    return _declined(rng.choice(words.NEVER[kind]), kind, noun=str(noun), month=rng.choice(MONTHS))


_PERCEPTUAL: dict[str, Callable[[Chart, Random], Posed | None]] = {
    "absent-object": _absent,
    "ambiguous": _ambiguous,
    "hidden": _hidden,
}
"""The kinds that depend on the chart; the others never have an answer."""
