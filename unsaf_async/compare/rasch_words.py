"""What an item-response fit says, in sentences for people: the same in the terminal and in the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.text import format_bracketed, format_count, format_difference, format_figure, format_p

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.compare.cross_rasch import AtEqualDifficulty, ItemResponse, Split

ALPHA = 0.05
"""The level at which a split of the questions is said to have other abilities."""

PAIR_WORDS = {
    "all_questions": "ability, all questions",
    "own_questions": "ability, own questions",
    "own_share": "share right, own questions",
    "easier": "whose questions are easier",
}
"""What the figures of two models are called, by field."""

HOW = (
    "Abilities and their differences are in logits: with 1 more, even odds of being right become 73 %. Own questions: each "
    "model answers its own alone, and how hard they are is told by the other models. Whose are easier: the share that the "
    "other models get right, of the first one's questions minus of the second's. Infit: 1 where a model misses easy "
    "questions, and gets hard ones, as often as its ability makes likely; above 1: oftener, as who guesses; below: less often."
)

LEVELS = (
    "A question that all models get right may be as easy as one likes, so its difficulty is known from one side alone: below the "
    "figure. One that none gets right is above it. Figures with an interval are known from both sides."
)

_SPLITS = {"label": "for answerable and unanswerable questions", "difficulty": "for harder and easier questions",
           "asker": "for the questions of each model"}  # fmt: skip


def sentences(found: ItemResponse) -> Iterator[str]:
    """What a reader should know of the fit.

    Args:
        found: The fit.

    Yields:
        A sentence each: what it rests on, whether it holds, and why a figure is not there.
    """
    nothing = {"all models are right on": 0, "all are wrong on": 0}
    for asked in found.asked:
        nothing["all models are right on"] += asked.all_right
        nothing["all are wrong on"] += asked.all_wrong
    if found.informative:
        yield (
            f"The abilities rest on {found.informative} of {format_count(found.questions, 'question')}: "
            + ", ".join(f"{what} {count}" for what, count in nothing.items())
            + ", and these carry no information"
        )
    if found.missing:
        missing = format_count(found.missing, "response")
        yield f"{missing} of the models to these questions count for nothing: unscored, or not asked"
    yield from (_of_split(split, [each.name for each in found.abilities]) for split in found.splits)
    yield from found.notes
    for why in dict.fromkeys(found.undefined.values()):
        yield f"n/a: {', '.join(name.replace('_', ' ') for name, each in found.undefined.items() if each == why)}: {why}"
    for pair in found.pairs:
        yield from _missing(pair, found)


def _missing(pair: AtEqualDifficulty, found: ItemResponse) -> Iterator[str]:
    """Why a figure of a pair is not there, unless the whole fit is not there for that reason."""
    known = set(found.undefined.values())
    for name, why in pair.undefined.items():
        if why not in known:
            figure = name.removesuffix("_ci")
            what = PAIR_WORDS[figure] if figure == name else f"95 % interval of {PAIR_WORDS[figure]}"
            yield f"n/a for {pair.a} and {pair.b}: {what}: {why}"


def _of_split(split: Split, names: list[str]) -> str:
    where = _SPLITS[split.by]
    if split.p is None:
        return f"Whether the abilities are the same {where} is n/a: {split.why}"
    p = f"p {format_p(split.p)}" if split.p < 0.001 else f"p = {format_p(split.p)}"
    test = f"({p}; likelihood ratio {split.lr:.1f}, {split.degrees} degrees of freedom)"
    if split.p > ALPHA:
        return f"No sign that the abilities differ {where} {test}"
    moved = max(
        range(len(names)),
        key=lambda model: (
            max(group.abilities[model] for group in split.groups if group.abilities)
            - min(group.abilities[model] for group in split.groups if group.abilities)
        ),
    )
    values = ", ".join(
        f"{format_difference(group.abilities[moved])}{format_bracketed(group.cis[moved])} for {group.name}"
        for group in split.groups
        if group.abilities
    )
    return f"The Rasch model does not hold: abilities differ {where} {test}; most for {names[moved]}: {values}"


def figure_of(value: float | None, ci: tuple[float, float] | None) -> str:
    """A difference with its interval.

    Args:
        value: The difference; None: there is none.
        ci: Its interval; None: there is none.

    Returns:
        "+0.512 (0.210 to 0.814)" or "n/a".
    """
    return f"{format_difference(value)}{format_bracketed(ci)}"


def difficulty_of(value: float | None, low: float | None, high: float | None) -> str:
    """A difficulty with its interval, or the bound that is all that is known.

    Args:
        value: The difficulty; None: it has no end on one side.
        low: The interval's lower end; None: it has none.
        high: The upper one.

    Returns:
        "+1.5 (-0.9 to +5.5)", "above +0.0" or "below -0.1".
    """
    if low is None or high is None:
        return "n/a" if low is high else f"below {high:+.1f}" if low is None else f"above {low:+.1f}"
    return f"{format_figure(value, 1) if value is None else f'{value:+.1f}'} ({low:+.1f} to {high:+.1f})"
