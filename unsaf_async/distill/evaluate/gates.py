"""Before and after: from the examinations of two models to figures, their paired intervals, and gates. Pure arithmetic.

All figures but one are ratios of sums over questions, and all differences are after minus before, on the images that both
models hold. An interval draws the images anew, both models' questions about an image together, for all figures alike.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from math import fsum
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from pydantic import Field

from unsaf_async.compare.pairing import RESAMPLES, examined, match, paired_difference, ratios, resampled_sums
from unsaf_async.normalize import without_thoughts
from unsaf_async.records import Examination, Question, Record
from unsaf_async.score.bootstrap import interval
from unsaf_async.score.counts import KindName, cell
from unsaf_async.score.labelled import contained
from unsaf_async.score.metrics import official_pope_counts, yes_no
from unsaf_async.score.unf1 import FEW_IMAGES, UNSCORED_LIMIT
from unsaf_async.text import format_points

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

FigureName = Literal[
    "unf1_own", "unf1_bank", "unf1_fixed_mix", "accuracy", "over_refusal", "abstention_recall", "over_refusal_bank",
    "pope_accuracy", "pope_f1", "pope_yes_ratio", "pope_abstained", "pope_official_accuracy", "pope_official_f1",
    "pope_official_yes_ratio",
]  # fmt: skip

GateName = Literal["unf1_own", "unf1_bank", "accuracy", "over_refusal", "pope"]

Part = Literal["own", "bank", "labelled", "pope"]
"""What a model is put to: its own questions, the frozen bank, a labelled set, POPE."""

PARTS: tuple[Part, ...] = get_args(Part)

UNDEFINED_LIMIT = 0.05
"""Share of resamples without a defined figure above which its interval earns a note."""

_MILLION = 1_000_000
"""Resampled sums are of whole numbers: soft accuracies go in as millionths."""

_ROUNDING = 1e-9
"""A difference that is a limit in exact arithmetic must not miss it by rounding."""


# --- what is written down ---------------------------------------------------------------------------------------------


class Figure(Record):
    """One figure of both models, on the images that both hold. What is None has its reason in `undefined`."""

    name: FigureName
    before: float | None
    after: float | None
    difference: float | None
    """After minus before, in [-1, 1]."""
    ci: tuple[float, float] | None = None
    """95 % percentile interval of `difference` by resampling images, both models' questions jointly."""
    p: float | None = None
    """Of the two UnF1 without a fixed mix: see `compare.paired_difference`. With few images it is the one to believe."""
    images: int
    """That both hold."""
    asked_before: int
    """Questions that the figure is about, on these images."""
    asked_after: int
    questions_before: int
    """Of them, those that enter it."""
    questions_after: int
    unscored_before: int
    """Of those asked, the ones in none of the four types. They enter an accuracy, as wrong, and no other figure."""
    unscored_after: int
    resamples_undefined: int = 0
    """Draws in which a model's figure was undefined; they are left out of the interval."""
    undefined: dict[str, str] = Field(default_factory=dict)
    """Reason for each of before, after, difference and ci that is None."""
    notes: list[str] = Field(default_factory=list)
    """What a reader should know of this figure."""


class Thresholds(Record):
    """What the gates ask for, in points (hundredths)."""

    own_gain_points: float = 0.0
    """The interval of UnF1 with own questions has to lie above this."""
    bank_gain_points: float = 0.0
    """The same on the frozen bank."""
    accuracy_drop_points: float = 1.0
    """Labelled accuracy may fall by so much."""
    over_refusal_rise_points: float = 2.0
    """Over-refusal may rise by so much."""
    pope_drop_points: float = 0.0
    """The interval of POPE's accuracy must not lie wholly below minus this."""


class Gate(Record):
    """One condition, and whether it is met."""

    name: GateName
    verdict: Literal["pass", "fail", "n/a", "not asked"]
    """n/a: it was asked for, and cannot be computed. It does not pass."""
    why: str
    """The figures that decided, or what is missing, in words."""
    figure: FigureName | None = None
    """The figure that it is about; None if it was not asked for."""


def all_pass(gates: Iterable[Gate]) -> bool:
    """Whether every gate that was asked for passes; False if none was."""
    asked = [gate for gate in gates if gate.verdict != "not asked"]
    return bool(asked) and all(gate.verdict == "pass" for gate in asked)


# --- which questions a figure is about --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """A ratio of sums over questions.

    about: whether the figure is about the question. terms: what the question adds to numerator and denominator, (0, 0) if it
    does not enter. why: the reason where the denominator is empty.
    """

    name: FigureName
    about: Callable[[Question], bool]
    terms: Callable[[Question], tuple[float, float]]
    why: str


def _is_answerable(question: Question) -> bool:
    return question.intended == "answerable"


def _is_unanswerable(question: Question) -> bool:
    return question.intended == "unanswerable"


def _abstained(question: Question) -> tuple[float, float]:
    """Of the scored ones of one label, the share that was declined."""
    found = cell(question)
    return (float(found in ("fu", "tu")), 1.0) if found else (0.0, 0.0)


def _has_answers(question: Question) -> bool:
    return _is_answerable(question) and question.given is not None and bool(question.given.answers)


def _is_probe(question: Question) -> bool:
    return question.given is not None and question.given.answers in (("yes",), ("no",))


def _said(question: Question) -> Literal["yes", "no", "abstained"] | None:
    """What came of a yes/no question, as `findings.labelled` reads it: what the judge found to abstain abstains."""
    return "abstained" if question.act == "abstained" else yes_no(without_thoughts(question.response))


def _said_officially(question: Question) -> Literal["yes", "no"]:
    """The same by the rule of POPE's own script, which knows yes and no alone."""
    return "yes" if official_pope_counts(["yes"], [without_thoughts(question.response)]).tp else "no"


def _accuracy_of(said: Callable[[Question], str | None]) -> Callable[[Question], tuple[float, float]]:
    return lambda question: (float(said(question) == _truth(question)), 1.0)


def _f1_of(said: Callable[[Question], str | None]) -> Callable[[Question], tuple[float, float]]:
    def terms(question: Question) -> tuple[float, float]:
        word, truth = said(question), _truth(question)
        if word not in ("yes", "no") or (word, truth) == ("no", "no"):
            return 0.0, 0.0
        return (2.0, 2.0) if word == truth else (0.0, 1.0)

    return terms


def _yes_ratio_of(said: Callable[[Question], str | None]) -> Callable[[Question], tuple[float, float]]:
    def terms(question: Question) -> tuple[float, float]:
        word = said(question)
        return (float(word == "yes"), 1.0) if word in ("yes", "no") else (0.0, 0.0)

    return terms


def _truth(question: Question) -> str:
    return question.given.answers[0] if question.given else ""


_NO_ANSWERABLE = "no answerable question was scored"

OVER_REFUSAL = Measure("over_refusal", _is_answerable, _abstained, _NO_ANSWERABLE)
"""FU / (TA + FU)."""

OVER_REFUSAL_BANK = Measure("over_refusal_bank", _is_answerable, _abstained, _NO_ANSWERABLE)
"""The same, of the frozen bank."""

LABELLED: tuple[Measure, ...] = (
    # What the response contains, as sentences do; declining is wrong, and so is what is unscored.
    Measure(
        "accuracy",
        _has_answers,
        lambda question: (contained(question), 1.0),
        "the labelled set accepts no answer to any answerable question",
    ),
    OVER_REFUSAL,
    Measure("abstention_recall", _is_unanswerable, _abstained, "no unanswerable question was scored"),
)
"""Of a labelled set. Abstention recall: TU / (TU + FA)."""

_NO_PROBE = "no probe is answered by yes or no"
_NO_YES = "no answer said yes, and no thing that is there was missed"

POPE: tuple[Measure, ...] = (
    Measure("pope_accuracy", _is_probe, _accuracy_of(_said), _NO_PROBE),
    Measure("pope_f1", _is_probe, _f1_of(_said), _NO_YES),
    Measure("pope_yes_ratio", _is_probe, _yes_ratio_of(_said), _NO_PROBE),
    Measure("pope_abstained", _is_probe, lambda question: (float(_said(question) == "abstained"), 1.0), _NO_PROBE),
    Measure("pope_official_accuracy", _is_probe, _accuracy_of(_said_officially), _NO_PROBE),
    Measure("pope_official_f1", _is_probe, _f1_of(_said_officially), _NO_YES),
    Measure("pope_official_yes_ratio", _is_probe, _yes_ratio_of(_said_officially), _NO_PROBE),
)
"""`PopeCounts` by what was said, and by the rule of POPE's own script."""


# --- figures ----------------------------------------------------------------------------------------------------------


def shared_questions(
    before: Sequence[Examination], after: Sequence[Examination]
) -> tuple[list[Examination], list[Examination], int]:
    """Both on the images that both hold, with the questions alone that both were asked (equal text and label), and how many
    others there were on either side. A frozen bank is one examination only if both sat the same one."""
    left_out, ours, theirs = 0, [], []
    for one, other in match(examined(before), examined(after)):
        common = Counter(map(_asked, one.questions)) & Counter(map(_asked, other.questions))
        kept = [_only(each, common) for each in (one, other)]
        left_out += len(one.questions) + len(other.questions) - sum(len(each.questions) for each in kept)
        ours.append(kept[0])
        theirs.append(kept[1])
    return ours, theirs, left_out


def _asked(question: Question) -> tuple[str, str]:
    return question.text, question.intended


def _only(examination: Examination, wanted: Counter[tuple[str, str]]) -> Examination:
    left, kept = wanted.copy(), []
    for question in examination.questions:
        if left[_asked(question)] > 0:
            left[_asked(question)] -= 1
            kept.append(question)
    return examination.model_copy(update={"questions": tuple(kept)})


def unf1_figure(
    name: FigureName,
    before: Sequence[Examination],
    after: Sequence[Examination],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Figure:
    """UnF1 of both, paired (`compare.paired_difference`). Raises ValueError for resamples < 1."""
    found = paired_difference(after, before, resamples=resamples, seed=seed)
    pairs = match(examined(before), examined(after))
    words = {"unf1_a": "after", "unf1_b": "before", "difference": "difference", "ci": "ci", "p": "p"}
    return _figure(
        name,
        pairs,
        lambda _: True,
        lambda question: cell(question) is not None,
        before=found.unf1_b,
        after=found.unf1_a,
        difference=found.difference,
        ci=found.ci,
        p=found.p,
        resamples_undefined=found.resamples_undefined,
        undefined={words[key]: why for key, why in found.undefined.items()},
        notes=_about_resamples(found.resamples_undefined, resamples),
    )


def ratio_figures(
    measures: Sequence[Measure],
    before: Sequence[Examination],
    after: Sequence[Examination],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Figure]:
    """Each of `measures` of both, paired by image.

    Each model's figure is its numerators' sum by its denominators' sum over the shared images. The interval is the 2.5 % and
    97.5 % quantiles of the difference over `resamples` draws of images. Raises ValueError for resamples < 1.
    """
    _check(resamples)
    pairs = match(examined(before), examined(after))
    # [images, measures, 4]: numerator and denominator of after, then of before
    terms = np.array(
        [[(*_terms(measure, other), *_terms(measure, one)) for measure in measures] for one, other in pairs]
    ).reshape(len(pairs), len(measures), 4)

    @cache
    def sums() -> NDArray[np.int64]:
        rows = np.rint(_MILLION * terms).astype(np.int64).reshape(len(pairs), -1)
        return resampled_sums(rows, resamples, seed).reshape(resamples, len(measures), 4)

    def difference(place: int) -> Callable[[], NDArray[np.float64]]:
        return lambda: (
            ratios(sums()[:, place, 0], sums()[:, place, 1]) - ratios(sums()[:, place, 2], sums()[:, place, 3])
        )

    found = []
    for place, measure in enumerate(measures):
        whole = [fsum(column) for column in terms[:, place].T]
        values = {"before": _ratio(*whole[2:]), "after": _ratio(*whole[:2])}
        why = measure.why if pairs else "the runs share no image"
        fields = _paired(values, why, len(pairs), difference(place))
        found.append(_figure(measure.name, pairs, measure.about, _enters(measure), **fields))
    return found


def _enters(measure: Measure) -> Callable[[Question], bool]:
    return lambda question: measure.terms(question)[1] > 0


def _terms(measure: Measure, examination: Examination) -> tuple[float, float]:
    found = [measure.terms(question) for question in examination.questions if measure.about(question)]
    return fsum(above for above, _ in found), fsum(below for _, below in found)


def fixed_mix_figure(
    before: Sequence[Examination], after: Sequence[Examination], *, resamples: int = RESAMPLES, seed: int = 0
) -> Figure:
    """UnF1 with own questions of both at the before-model's mix of kinds.

    On the shared images, let n_mk be the scored unanswerable questions of kind k that model m wrote, N_m their sum over all
    kinds, r_mk the share of them that m declined, FU_m its over-refusals, and s_k = n_k / N of the before-model. Each
    unanswerable question of m is weighted by s_k N_m / n_mk, so that the kinds have the before-model's shares and their sum
    stays N_m:

        R_m = sum over k of s_k r_mk,    UnF1_m = 2 R_m / (1 + R_m + FU_m / N_m)

    The before-model's is its UnF1 as it stands. A kind that the before-model wrote and of which the after-model has no scored
    question leaves the figure undefined; one that the after-model alone wrote has the share 0, so its questions weigh
    nothing, and a note counts them. Questions without a kind are a kind of their own. The draws of the interval weigh anew, each
    by its own shares. Raises ValueError for resamples < 1.
    """
    _check(resamples)
    pairs = match(examined(before), examined(after))
    sides = {"before": [one for one, _ in pairs], "after": [other for _, other in pairs]}
    by_kind = {side: _kinds(found) for side, found in sides.items()}
    kinds = sorted(by_kind["before"])
    lacking = [kind for kind in kinds if not by_kind["after"][kind]]
    new = {kind: n for kind, n in sorted(by_kind["after"].items()) if not by_kind["before"][kind]}
    notes = []
    if new and kinds:
        listed = ", ".join(f"{kind} {n}" for kind, n in new.items())
        notes.append(
            f"{sum(new.values())} questions of kinds that the before-model did not write weigh nothing ({listed})"
        )
    if not pairs:
        why = "the runs share no image"
    elif not kinds:
        why = "the before-model has no scored unanswerable question"
    else:
        why = f"the after-model has no scored question of a kind that the before-model wrote: {', '.join(lacking)}"
    columns = {side: [_mixed(each, kinds) for each in found] for side, found in sides.items()}
    width = 2 + 2 * len(kinds)
    rows = np.array([[*one, *other] for one, other in zip(columns["before"], columns["after"], strict=True)], np.int64)
    rows = rows.reshape(len(pairs), 2 * width)

    def both(sums: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        ours, theirs = sums[:, :width], sums[:, width:]
        asked = ours[:, 2 + len(kinds) :]
        shares = ratios(asked, np.broadcast_to(asked.sum(axis=1, keepdims=True), asked.shape))
        return _at_mix(ours, shares), _at_mix(theirs, shares)

    def differences() -> NDArray[np.float64]:
        ours, theirs = both(resampled_sums(rows, resamples, seed))
        return theirs - ours

    values: dict[str, float | None] = {"before": None, "after": None}
    if kinds:
        found = (float(value[0]) for value in both(rows.sum(axis=0, keepdims=True)))
        values = {side: None if np.isnan(value) else value for side, value in zip(values, found, strict=True)}
    return _figure(
        "unf1_fixed_mix",
        pairs,
        lambda _: True,
        lambda question: cell(question) is not None and _kind(question) not in new,
        **_paired(values, why, len(pairs), differences, notes),
    )


def _kind(question: Question) -> KindName | None:
    return (question.kind or "unspecified") if question.intended == "unanswerable" else None


def _kinds(examinations: Iterable[Examination]) -> Counter[KindName]:
    """The scored unanswerable questions, by kind."""
    return Counter(
        kind
        for each in examinations
        for question in each.questions
        if cell(question) is not None and (kind := _kind(question)) is not None
    )


def _mixed(examination: Examination, kinds: Sequence[KindName]) -> list[int]:
    """An image's FU, its TU + FA of all kinds, then its TU of each of `kinds`, then its TU + FA of each."""
    found = Counter(cell(question) for question in examination.questions)
    of_kind = Counter((_kind(question), cell(question)) for question in examination.questions)
    tu = [of_kind[kind, "tu"] for kind in kinds]
    asked = [of_kind[kind, "tu"] + of_kind[kind, "fa"] for kind in kinds]
    return [found["fu"], found["tu"] + found["fa"], *tu, *asked]


def _at_mix(sums: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """[draws] from sums [draws, 2 + 2 kinds] and the kinds' shares; NaN where a kind with a share has no question."""
    kinds = shares.shape[1]
    recalls = np.where(shares > 0, ratios(sums[:, 2 : 2 + kinds], sums[:, 2 + kinds :]), 0.0)
    recall = (shares * recalls).sum(axis=1)
    return np.asarray(2 * recall / (1 + recall + ratios(sums[:, 0], sums[:, 1])))


def _paired(
    values: Mapping[str, float | None],
    why: str,
    images: int,
    differences: Callable[[], NDArray[np.float64]],
    notes: Sequence[str] = (),
) -> dict[str, object]:
    """The fields of a `Figure` that follow from both models' values, and from the difference in each draw of the images."""
    before, after = values["before"], values["after"]
    undefined = {side: why for side, value in values.items() if value is None}
    found = None if before is None or after is None else after - before
    ci, left_out, drawn = None, 0, np.empty(0)
    if found is None:
        undefined |= dict.fromkeys(("difference", "ci"), why)
    elif images < 2:
        undefined["ci"] = "pairing needs at least 2 shared images; there is 1"
    else:
        # Without the last digits, in which equal values may differ.
        drawn = np.round(differences(), 12)
        left_out = int(np.isnan(drawn).sum())
        ci = interval(drawn)
        if ci is None:
            undefined["ci"] = "every resample has the same difference, so the images say nothing about its uncertainty"
    return {
        "before": before,
        "after": after,
        "difference": found,
        "ci": ci,
        "resamples_undefined": left_out,
        "undefined": undefined,
        "notes": [*notes, *_about_resamples(left_out, len(drawn))],
    }


def _about_resamples(left_out: int, resamples: int) -> list[str]:
    if left_out <= UNDEFINED_LIMIT * resamples:
        return []
    return [f"{left_out} of {resamples} resamples leave it undefined, and the interval rests on the others"]


def _figure(
    name: FigureName,
    pairs: Sequence[tuple[Examination, Examination]],
    about: Callable[[Question], bool],
    enters: Callable[[Question], bool],
    **fields: object,
) -> Figure:
    """The figure, with its counts: about is whether a question is one of those it is about, enters, whether that one counts."""
    counts = {}
    for place, side in enumerate(("before", "after")):
        asked = [question for pair in pairs for question in pair[place].questions if about(question)]
        counts[f"asked_{side}"] = len(asked)
        counts[f"questions_{side}"] = sum(map(enters, asked))
        counts[f"unscored_{side}"] = sum(cell(question) is None for question in asked)
    return Figure(name=name, images=len(pairs), **counts, **fields)


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None


def _check(resamples: int) -> None:
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; give at least 1")


def unavailable(name: FigureName, why: str) -> Figure:
    """A figure that was wanted and cannot be computed at all, with the reason."""
    return Figure(
        name=name,
        before=None,
        after=None,
        difference=None,
        images=0,
        asked_before=0,
        asked_after=0,
        questions_before=0,
        questions_after=0,
        unscored_before=0,
        unscored_after=0,
        undefined=dict.fromkeys(("before", "after", "difference", "ci"), why),
    )


def about_figures(figures: Sequence[Figure]) -> Iterator[str]:
    """What a reader should know of the figures, a sentence each."""
    few = min((figure.images for figure in figures if figure.ci), default=FEW_IMAGES)
    if few < FEW_IMAGES:
        yield f"an interval rests on {few} images; with fewer than {FEW_IMAGES} it tends to be too narrow"
    for figure in figures:
        yield from (f"{TITLES[figure.name]}: {note}" for note in figure.notes)
    seen = set()
    for figure in figures:
        for side, asked, unscored in (
            ("before", figure.asked_before, figure.unscored_before),
            ("after", figure.asked_after, figure.unscored_after),
        ):
            if unscored > UNSCORED_LIMIT * asked and (side, asked, unscored) not in seen:
                seen.add((side, asked, unscored))  # said once of figures about the same questions
                yield f"{TITLES[figure.name]}: {unscored} of {asked} responses of the {side}-model are unscored"


TITLES: dict[FigureName, str] = {
    "unf1_own": "UnF1, own questions",
    "unf1_bank": "UnF1, frozen bank",
    "unf1_fixed_mix": "UnF1, own, fixed kinds",
    "accuracy": "labelled accuracy",
    "over_refusal": "over-refusal, labelled",
    "abstention_recall": "abstention recall, labelled",
    "over_refusal_bank": "over-refusal, frozen bank",
    "pope_accuracy": "POPE accuracy",
    "pope_f1": "POPE F1",
    "pope_yes_ratio": "POPE share of yes",
    "pope_abstained": "POPE abstained",
    "pope_official_accuracy": "POPE accuracy, official rule",
    "pope_official_f1": "POPE F1, official rule",
    "pope_official_yes_ratio": "POPE share of yes, official rule",
}
"""The figures in words, in the order in which they are shown."""


# --- gates ------------------------------------------------------------------------------------------------------------

GATES: dict[GateName, str] = {
    "unf1_own": "UnF1 up, own questions",
    "unf1_bank": "UnF1 up, frozen bank",
    "accuracy": "accuracy kept",
    "over_refusal": "over-refusal kept",
    "pope": "POPE not worse",
}
"""The gates in words, in their order."""

_NOT_ASKED: dict[GateName, str] = {
    "unf1_own": "there are no runs with own questions",
    "unf1_bank": "there are no runs on a frozen bank",
    "accuracy": "give --labelled",
    "over_refusal": "give --labelled, or a frozen bank",
    "pope": "give --pope",
}


def judge(
    figures: Iterable[Figure],
    asked: Collection[Part],
    thresholds: Thresholds | None = None,
    withheld: Mapping[Part, str] | None = None,
) -> list[Gate]:
    """All gates, in their order.

    asked: what both models were to be put to; a gate without its part is "not asked". Over-refusal is that of the labelled
    set, or without one that of the frozen bank. withheld: why a part's figures must not decide (a model wrote no questions, a
    run is not complete): its gates are then "n/a".
    """
    limits, withheld = thresholds or Thresholds(), withheld or {}
    found = {figure.name: figure for figure in figures}
    refusal_part: Part = "labelled" if "labelled" in asked else "bank"
    refusal: FigureName = "over_refusal" if refusal_part == "labelled" else "over_refusal_bank"
    rules: dict[GateName, tuple[Part, FigureName, Callable[[Figure], tuple[bool | None, str]]]] = {
        "unf1_own": ("own", "unf1_own", lambda figure: _above(figure, limits.own_gain_points)),
        "unf1_bank": ("bank", "unf1_bank", lambda figure: _above(figure, limits.bank_gain_points)),
        "accuracy": ("labelled", "accuracy", lambda figure: _at_least(figure, -limits.accuracy_drop_points)),
        "over_refusal": (
            refusal_part,
            refusal,
            lambda figure: _at_most(figure, limits.over_refusal_rise_points),
        ),
        "pope": ("pope", "pope_accuracy", lambda figure: _not_wholly_below(figure, -limits.pope_drop_points)),
    }
    gates = []
    for name, (part, figure_name, rule) in rules.items():
        if part not in asked:
            gates.append(Gate(name=name, verdict="not asked", why=_NOT_ASKED[name]))
            continue
        figure = found.get(figure_name) or unavailable(figure_name, "it was not computed")
        if part in withheld:
            passed, why = None, withheld[part]
        elif figure.difference is None:
            passed, why = None, figure.undefined.get("difference", "there is no difference")
        else:
            passed, why = rule(figure)
        gates.append(
            Gate(
                name=name,
                verdict="n/a" if passed is None else "pass" if passed else "fail",
                why=why,
                figure=figure_name,
            )
        )
    return gates


def _above(figure: Figure, bar_points: float) -> tuple[bool | None, str]:
    """The whole interval above the bar."""
    assert figure.difference is not None
    told, bar = _told(figure), format_points(bar_points)
    if figure.ci is None:
        if 100 * figure.difference <= bar_points + _ROUNDING:
            return False, f"{told}: not above {bar}"
        return None, f"{told}: {figure.undefined.get('ci', 'there is no interval')}"
    passed = 100 * figure.ci[0] > bar_points + _ROUNDING
    return passed, f"{told}: {'' if passed else 'not '}wholly above {bar}"


def _at_least(figure: Figure, bar_points: float) -> tuple[bool | None, str]:
    """The difference at the bar or above; the interval is only shown."""
    assert figure.difference is not None
    passed = 100 * figure.difference >= bar_points - _ROUNDING
    return passed, f"{_told(figure)}: {'at least' if passed else 'below'} {format_points(bar_points)}"


def _at_most(figure: Figure, bar_points: float) -> tuple[bool | None, str]:
    """The difference at the bar or below; the interval is only shown."""
    assert figure.difference is not None
    passed = 100 * figure.difference <= bar_points + _ROUNDING
    return passed, f"{_told(figure)}: {'at most' if passed else 'above'} {format_points(bar_points)}"


def _not_wholly_below(figure: Figure, bar_points: float) -> tuple[bool | None, str]:
    """The interval not wholly below the bar. Where every resample has the same difference, that one decides."""
    assert figure.difference is not None
    told, bar = _told(figure), format_points(bar_points)
    if figure.ci is None and figure.images < 2:
        return None, f"{told}: {figure.undefined.get('ci', 'there is no interval')}"
    upper = figure.difference if figure.ci is None else figure.ci[1]
    passed = 100 * upper >= bar_points - _ROUNDING
    return passed, f"{told}: {'not ' if passed else ''}wholly below {bar}"


def _told(figure: Figure) -> str:
    assert figure.difference is not None
    said = f"{100 * figure.difference:+.1f} points"
    if figure.ci is None:
        return f"{said}, no interval"
    return f"{said}, interval {100 * figure.ci[0]:+.1f} to {100 * figure.ci[1]:+.1f}"
