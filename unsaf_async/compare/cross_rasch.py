"""Item response: abilities and difficulties from who got which question right, beside the additive fit of UnF1.

The additive fit takes a cell's UnF1 for the thing to explain. Here it is the single response: right where the model answers what
was written as answerable, or declines what was written as unanswerable. All models get the same questions, so how hard a
question is can be told from how the models fare on it, and two models can be compared at equal difficulty.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from unsaf_async.compare.tables import csv_of
from unsaf_async.records import Label, Record
from unsaf_async.score import rasch
from unsaf_async.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from unsaf_async.compare.cross_responses import Responses
    from unsaf_async.score.rasch import RaschFit

FEWEST_MODELS = 3
"""With two, every question that tells anything is right for one and wrong for the other: none is harder than another."""

ENOUGH_MODELS = 5
"""Below this many a question's difficulty has few levels, which a note says."""

Interval = tuple[float, float] | None


class Ability(Record):
    """How able a model is, by the Rasch model."""

    name: str
    value: float | None
    """In logits; the models' mean is 0. It is right on a question of difficulty d with probability 1 / (1 + exp(d - value))."""
    ci: Interval
    """95 % interval over pictures."""
    scored: int
    """Responses that count."""
    right: int
    """Of them."""
    infit: float | None
    """1 where the model's responses are as the fit has them. Above 1: it is wrong on easy questions and right on hard ones
    oftener than its ability would have it."""
    infit_ci: Interval


class GroupAbilities(Record):
    """The abilities in one part of the questions."""

    name: str
    questions: int
    informative: int
    abilities: list[float] | None
    """In the order of `RaschFit.abilities`, with the mean 0; None if they cannot be fitted (`Split.why`)."""
    cis: list[Interval]


class Split(Record):
    """Whether the abilities are the same in parts of the questions: where they are not, there is no one ability."""

    by: Literal["label", "difficulty", "asker"]
    groups: list[GroupAbilities]
    lr: float | None
    """Andersen's likelihood ratio. Its chi-squared distribution takes questions as independent, so `p` is not from it."""
    degrees: int | None
    """Of freedom."""
    p: float | None
    """Of a Wald test over pictures that the abilities are the same. Small: the Rasch model does not hold."""
    why: str = ""
    """Why a figure is None."""


class AskedQuestions(Record):
    """How hard one model's questions are for the others."""

    asker: str
    questions: int
    """With a response that counts."""
    informative: int
    """That some model got right and another wrong: abilities rest on these alone."""
    all_right: int
    """By every model that is scored on it. Such questions carry no information about abilities."""
    all_wrong: int
    right_by_others: float | None
    """The share of the other models' responses that are right."""
    right_by_others_ci: Interval


class AtEqualDifficulty(Record):
    """Two models, at equal difficulty of the questions. Positive: the first is better, or its questions are easier."""

    a: str
    b: str
    all_questions: float | None
    """Difference of their abilities, in logits: both answer the same questions, so difficulty falls out."""
    all_questions_ci: Interval
    own_questions: float | None
    """The same where each answers its own questions alone. How hard these are is told by the other models."""
    own_questions_ci: Interval
    own_share: float | None
    """Share of right responses of a to its own questions minus that of b to its own: what two runs show, difficulty included."""
    own_share_ci: Interval
    easier: float | None
    """Share of right responses of the other models to a's questions minus that to b's: above 0, a's questions are easier."""
    easier_ci: Interval
    undefined: dict[str, str]


class Level(Record):
    """A difficulty that questions have: it depends on who was scored on them and how many were right."""

    models: list[str]
    """Scored."""
    right: int
    questions: int
    difficulty: float | None
    """In logits; None where all or none are right: `low` or `high` is then all that is known."""
    low: float | None
    """95 % interval given the abilities; None: no bound."""
    high: float | None


class ItemResponse(Record):
    """The Rasch fit of a cross-examination."""

    abilities: list[Ability]
    own_advantage: float | None
    """How much better a model is at its own questions, in logits."""
    own_advantage_ci: Interval
    questions: int
    """With a response that counts."""
    informative: int
    pictures: int
    """With an informative question."""
    missing: int
    """Responses that do not count: unscored, or not asked."""
    asked: list[AskedQuestions]
    splits: list[Split]
    pairs: list[AtEqualDifficulty]
    levels: list[Level]
    undefined: dict[str, str]
    """Reason for each figure that is None: "abilities", "own_advantage", "intervals"."""
    notes: list[str]


class QuestionDifficulty(Record):
    """One question's difficulty."""

    asker: str
    image: str
    question: str
    intended: Label
    kind: str | None
    scored: int
    right: int
    difficulty: float | None
    low: float | None
    high: float | None


def item_response(given: Responses) -> ItemResponse:
    """The Rasch fit, its splits, the models in pairs, and the difficulties that questions have.

    Args:
        given: Who got which question right.

    Returns:
        The fit; figures that are None have their reason in it.
    """
    asked = [_asked(given, place) for place in range(len(given.askers))]
    found: RaschFit | str
    if len(given.models) < FEWEST_MODELS:
        models = format_count(len(given.models), "model")
        found = f"{models} cannot tell how hard a question is; it takes {FEWEST_MODELS}"
    else:
        found = rasch.fit(given.right, given.picture) if len(given.right) else "no response counts"
    undefined: dict[str, str] = {}
    own, own_ci = None, None
    if isinstance(found, str):
        undefined |= {"abilities": found, "own_advantage": found}
    else:
        if found.pictures < 2:
            undefined["intervals"] = "one picture with an informative question has none"
        with_own = rasch.fit(given.right, given.picture, given.column)
        if isinstance(with_own, str) or with_own.own is None or with_own.own_influence is None:
            undefined["own_advantage"] = with_own if isinstance(with_own, str) else "it was not fitted"
        else:
            own, own_ci = with_own.own, rasch.interval_of(with_own.own, with_own.own_influence)
    return ItemResponse(
        abilities=[_ability(given, found, model) for model in range(len(given.models))],
        own_advantage=own,
        own_advantage_ci=own_ci,
        questions=len(given.right),
        informative=0 if isinstance(found, str) else found.informative,
        pictures=0 if isinstance(found, str) else found.pictures,
        missing=int((~given.scored).sum()),
        asked=asked,
        splits=[] if isinstance(found, str) else list(splits(given, found)),
        pairs=[at_equal_difficulty(given, found, *pair) for pair in combinations(range(len(given.models)), 2)],
        levels=[] if isinstance(found, str) else _levels(given, found),
        undefined=undefined,
        notes=list(_notes(given)),
    )


def _notes(given: Responses) -> Iterator[str]:
    if FEWEST_MODELS <= len(given.models) < ENOUGH_MODELS:
        yield (
            f"a question's difficulty rests on {format_count(len(given.models), 'response')}, one a model, so that "
            f"{len(given.models) + 1} levels are all that can be told apart; take {ENOUGH_MODELS} models or more"
        )


def _ability(given: Responses, found: RaschFit | str, model: int) -> Ability:
    value, ci, infit, infit_ci = None, None, None, None
    if not isinstance(found, str):
        value = float(found.abilities[model])
        ci = rasch.interval_of(value, found.influence[:, model])
        infit, infit_ci = rasch.infit(given.right, found, model, given.picture)
    return Ability(
        name=given.models[model],
        value=value,
        ci=ci,
        scored=int(given.scored[:, model].sum()),
        right=int((given.right[:, model] == 1).sum()),
        infit=infit,
        infit_ci=infit_ci,
    )


# --- difficulty -------------------------------------------------------------------------------------------------------


def _asked(given: Responses, place: int) -> AskedQuestions:
    mine = given.asker == place
    scored, right = given.scored[mine].sum(axis=1), (given.right[mine] == 1).sum(axis=1)
    others = [model for model, name in enumerate(given.models) if name != given.askers[place]]
    share, influence = _share(given, mine, others)
    return AskedQuestions(
        asker=given.askers[place],
        questions=int(mine.sum()),
        informative=int(((right > 0) & (right < scored)).sum()),
        all_right=int((right == scored).sum()),
        all_wrong=int((right == 0).sum()),
        right_by_others=share,
        right_by_others_ci=None if share is None else rasch.interval_of(share, influence),
    )


def _share(
    given: Responses, questions: NDArray[np.bool_], models: Sequence[int]
) -> tuple[float | None, NDArray[np.float64]]:
    """(share of these models' responses to these questions that are right, how much each picture moves it)."""
    size = int(given.picture.max()) + 1 if len(given.picture) else 0
    within = given.right[questions][:, models]
    right = np.bincount(given.picture[questions], (within == 1).sum(axis=1), size)
    scored = np.bincount(given.picture[questions], (within != rasch.MISSING).sum(axis=1), size)
    if not scored.sum():
        return None, np.zeros(size)
    return rasch.ratio_influence(right, scored)


def _levels(given: Responses, found: RaschFit) -> list[Level]:
    """The difficulties that occur, hardest first among the same models; those with most models first."""
    counts = Counter(
        (tuple(np.flatnonzero(scored).tolist()), int((row == 1).sum()))
        for scored, row in zip(given.scored, given.right, strict=True)
    )
    levels = []
    for (models, right), questions in sorted(counts.items(), key=lambda each: (-len(each[0][0]), *each[0])):
        hard = rasch.difficulty(found.abilities[list(models)], right)
        levels.append(
            Level(
                models=[given.models[model] for model in models],
                right=right,
                questions=questions,
                difficulty=hard.value,
                low=hard.low,
                high=hard.high,
            )
        )
    return levels


def difficulties(given: Responses, fitted: ItemResponse | None) -> list[QuestionDifficulty]:
    """Each question's difficulty.

    Args:
        given: Who got which question right.
        fitted: Their fit; None: there is none.

    Returns:
        A question each, in the order of the images; without abilities there are no difficulties.
    """
    known = {(tuple(level.models), level.right): level for level in (fitted.levels if fitted else ())}
    rows = []
    for place, (image, question) in enumerate(given.questions):
        models = tuple(given.models[model] for model in np.flatnonzero(given.scored[place]))
        right = int((given.right[place] == 1).sum())
        level = known.get((models, right))
        rows.append(
            QuestionDifficulty(
                asker=given.askers[given.asker[place]],
                image=image,
                question=question.text,
                intended=question.intended,
                kind=question.kind,
                scored=len(models),
                right=right,
                difficulty=level.difficulty if level else None,
                low=level.low if level else None,
                high=level.high if level else None,
            )
        )
    return rows


def difficulties_csv(rows: Sequence[QuestionDifficulty]) -> str:
    """Each question's difficulty as CSV.

    Args:
        rows: The questions.

    Returns:
        A header, then a line a question. Where all or none are right, `difficulty` is empty and one of `low` and `high` is there.
    """
    heads = list(QuestionDifficulty.model_fields)
    return csv_of(heads, ([getattr(row, name) for name in heads] for row in rows))


# --- does the model hold? ---------------------------------------------------------------------------------------------


def splits(given: Responses, found: RaschFit) -> Iterator[Split]:
    """Whether the abilities are the same by label, by difficulty, and by who asked.

    Args:
        given: Who got which question right.
        found: The fit to all of it.

    Yields:
        The splits; by asker only where there are several.
    """
    labels = np.array([question.intended for _, question in given.questions])
    yield _split("label", {name: labels == name for name in ("answerable", "unanswerable")}, given, found)
    scored, right = given.scored.sum(axis=1), (given.right == 1).sum(axis=1)
    informative = (right > 0) & (right < scored)
    share = right / scored
    middle = float(np.median(share[informative]))
    # The half that holds the median is the one that leaves the two most alike in size.
    hard = min(
        (share < middle, share <= middle), key=lambda half: abs(2 * (half & informative).sum() - found.informative)
    )
    yield _split("difficulty", {"harder half": hard, "easier half": ~hard}, given, found)
    if len(given.askers) > 1:
        yield _split("asker", {name: given.asker == place for place, name in enumerate(given.askers)}, given, found)


def _split(
    by: Literal["label", "difficulty", "asker"],
    parts: dict[str, NDArray[np.bool_]],
    given: Responses,
    whole: RaschFit,
) -> Split:
    size = len(whole.influence)
    fits: dict[str, RaschFit | str] = {}
    for name, part in parts.items():
        fits[name] = (
            rasch.fit(given.right[part], given.picture[part], size=size) if part.any() else "no question is in it"
        )
    groups = []
    for name, fit in fits.items():
        known = None if isinstance(fit, str) else fit
        groups.append(
            GroupAbilities(
                name=name,
                questions=int(parts[name].sum()),
                informative=known.informative if known else 0,
                abilities=known.abilities.tolist() if known else None,
                cis=[rasch.interval_of(*each) for each in zip(known.abilities, known.influence.T, strict=True)]
                if known
                else [],
            )
        )
    missing = {name: fit for name, fit in fits.items() if isinstance(fit, str)}
    if missing:
        why = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        return Split(by=by, groups=groups, lr=None, degrees=None, p=None, why=why)
    test = rasch.split_test(whole, [fit for fit in fits.values() if not isinstance(fit, str)])
    return Split(by=by, groups=groups, lr=test.lr, degrees=test.degrees, p=test.p, why=test.why)


# --- two models -------------------------------------------------------------------------------------------------------


def at_equal_difficulty(given: Responses, found: RaschFit | str, a: int, b: int) -> AtEqualDifficulty:
    """Two models at equal difficulty, and whose questions are harder.

    Args:
        given: Who got which question right.
        found: The fit to all of it, or why there is none.
        a: The first model's place.
        b: The second's.

    Returns:
        The pair; figures that are None have their reason in it.
    """
    undefined: dict[str, str] = {}
    contrast, contrast_ci = None, None
    if isinstance(found, str):
        undefined["all_questions"] = found
    else:
        contrast, contrast_ci = _contrast(found, a, b)
    mine, theirs = given.column == a, given.column == b
    own, own_ci = None, None
    own_fit: RaschFit | str = found if isinstance(found, str) else _own_questions(given, a, b)
    if isinstance(own_fit, str):
        undefined["own_questions"] = own_fit
    else:
        own, own_ci = _contrast(own_fit, a, b)
    others = [model for model in range(len(given.models)) if model not in (a, b)]
    shown, shown_ci = _shares_apart(_share(given, mine, [a]), _share(given, theirs, [b]))
    easier, easier_ci = _shares_apart(_share(given, mine, others), _share(given, theirs, others))
    for name, value, ci in (
        ("all_questions_ci", contrast, contrast_ci),
        ("own_questions_ci", own, own_ci),
        ("own_share_ci", shown, shown_ci),
        ("easier_ci", easier, easier_ci),
    ):
        if value is not None and ci is None:
            undefined[name] = "fewer than two pictures tell them apart"
    if shown is None:
        undefined["own_share"] = "one of the two has no response to its own questions that counts"
    if easier is None:
        undefined["easier"] = "no other model has responses to both models' questions that count"
    return AtEqualDifficulty(
        a=given.models[a],
        b=given.models[b],
        all_questions=contrast,
        all_questions_ci=contrast_ci,
        own_questions=own,
        own_questions_ci=own_ci,
        own_share=shown,
        own_share_ci=shown_ci,
        easier=easier,
        easier_ci=easier_ci,
        undefined=undefined,
    )


def _contrast(fit: RaschFit, a: int, b: int) -> tuple[float, Interval]:
    value = float(fit.abilities[a] - fit.abilities[b])
    return value, rasch.interval_of(value, fit.influence[:, a] - fit.influence[:, b])


def _own_questions(given: Responses, a: int, b: int) -> RaschFit | str:
    """The fit in which a answers its own questions alone, and b its own; the other models tell how hard these are."""
    used = (given.column == a) | (given.column == b)
    if not used.any():
        return "neither has questions of its own"
    right = given.right[used].copy()
    right[given.column[used] == b, a] = rasch.MISSING
    right[given.column[used] == a, b] = rasch.MISSING
    return rasch.fit(right, given.picture[used])


def _shares_apart(
    one: tuple[float | None, NDArray[np.float64]], other: tuple[float | None, NDArray[np.float64]]
) -> tuple[float | None, Interval]:
    """(the difference of two shares, its interval over pictures)."""
    (first, moves_first), (second, moves_second) = one, other
    if first is None or second is None:
        return None, None
    return first - second, rasch.interval_of(first - second, moves_first - moves_second)
