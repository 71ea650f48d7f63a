"""Which questions a figure is about, and what each adds to it: a ratio of sums over questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from unsaf_async.score.labelled import contained
from unsaf_async.score.metrics import official_pope_counts, yes_no
from unsaf_async.score.unf1 import cell
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.records import Question

FigureName = Literal[
    "unf1_own", "unf1_bank", "unf1_fixed_mix", "accuracy", "over_refusal", "abstention_recall", "decline_auroc",
    "over_refusal_bank",
    "pope_accuracy", "pope_f1", "pope_yes_ratio", "pope_abstained", "pope_official_accuracy", "pope_official_f1",
    "pope_official_yes_ratio",
]  # fmt: skip


@dataclass(frozen=True)
class Measure:
    """A ratio of sums over questions."""

    name: FigureName
    about: Callable[[Question], bool]
    """Whether the figure is about the question."""
    terms: Callable[[Question], tuple[float, float]]
    """What the question adds to numerator and denominator; (0, 0) if it does not enter."""
    why: str
    """The reason where the denominator is empty."""
    exact: bool = False
    """Whether its difference has exact bounds: it is a share of questions, and a gate against harm rests on it."""
    heaviest: float = 1.0
    """How much more than any image that was seen another can add to the denominator, as a factor: 2 of an F1, to which a
    question adds 0 to 2."""


def _is_answerable(question: Question) -> bool:
    return question.intended == "answerable"


def _is_unanswerable(question: Question) -> bool:
    return question.intended == "unanswerable"


def _abstained(question: Question) -> tuple[float, float]:
    """Of the scored ones of one label, the share that was declined."""
    response_type = cell(question)
    return (float(response_type in ("fu", "tu")), 1.0) if response_type else (0.0, 0.0)


def _has_answers(question: Question) -> bool:
    return _is_answerable(question) and question.given is not None and bool(question.given.answers)


def _is_probe(question: Question) -> bool:
    return question.given is not None and question.given.answers in (("yes",), ("no",))


def _yes_no_or_abstained(question: Question) -> Literal["yes", "no", "abstained"] | None:
    """The answer to a yes/no question as `findings.labelled` reads it: the judge decides what abstains."""
    return "abstained" if question.act == "abstained" else yes_no(final_text(question.response).answer)


def _official_yes_no(question: Question) -> Literal["yes", "no"]:
    """The answer to a yes/no question by the rule of POPE's own script, which knows yes and no alone."""
    return "yes" if official_pope_counts(["yes"], [final_text(question.response).answer]).tp else "no"


def _accuracy_of(reading: Callable[[Question], str | None]) -> Callable[[Question], tuple[float, float]]:
    return lambda question: (float(reading(question) == _truth(question)), 1.0)


def _f1_of(reading: Callable[[Question], str | None]) -> Callable[[Question], tuple[float, float]]:
    def terms(question: Question) -> tuple[float, float]:
        word, truth = reading(question), _truth(question)
        if word not in ("yes", "no") or (word, truth) == ("no", "no"):
            return 0.0, 0.0
        return (2.0, 2.0) if word == truth else (0.0, 1.0)

    return terms


def _yes_ratio_of(reading: Callable[[Question], str | None]) -> Callable[[Question], tuple[float, float]]:
    def terms(question: Question) -> tuple[float, float]:
        word = reading(question)
        return (float(word == "yes"), 1.0) if word in ("yes", "no") else (0.0, 0.0)

    return terms


def _truth(question: Question) -> str:
    return question.given.answers[0] if question.given else ""


_NO_ANSWERABLE = "no answerable question was scored"

OVER_REFUSAL = Measure("over_refusal", _is_answerable, _abstained, _NO_ANSWERABLE, exact=True)
"""FU / (TA + FU)."""

OVER_REFUSAL_BANK = Measure("over_refusal_bank", _is_answerable, _abstained, _NO_ANSWERABLE, exact=True)
"""The same, of the frozen bank."""

LABELLED: tuple[Measure, ...] = (
    # What the response contains, as sentences do; declining is wrong, and so is what is unscored.
    Measure(
        "accuracy",
        _has_answers,
        lambda question: (contained(question), 1.0),
        "the labelled set accepts no answer to any answerable question",
        exact=True,
    ),
    OVER_REFUSAL,
    Measure("abstention_recall", _is_unanswerable, _abstained, "no unanswerable question was scored"),
)
"""Of a labelled set. Abstention recall: TU / (TU + FA)."""

_NO_PROBE = "no probe is answered by yes or no"
_NO_YES = "no answer said yes, and no thing that is there was missed"

POPE: tuple[Measure, ...] = (
    Measure("pope_accuracy", _is_probe, _accuracy_of(_yes_no_or_abstained), _NO_PROBE, exact=True),
    Measure("pope_f1", _is_probe, _f1_of(_yes_no_or_abstained), _NO_YES, heaviest=2.0),
    Measure("pope_yes_ratio", _is_probe, _yes_ratio_of(_yes_no_or_abstained), _NO_PROBE),
    Measure(
        "pope_abstained",
        _is_probe,
        lambda question: (float(_yes_no_or_abstained(question) == "abstained"), 1.0),
        _NO_PROBE,
    ),
    Measure("pope_official_accuracy", _is_probe, _accuracy_of(_official_yes_no), _NO_PROBE),
    Measure("pope_official_f1", _is_probe, _f1_of(_official_yes_no), _NO_YES, heaviest=2.0),
    Measure("pope_official_yes_ratio", _is_probe, _yes_ratio_of(_official_yes_no), _NO_PROBE),
)
"""The figures of `PopeCounts`: by the judge and the answer's words, and by the rule of POPE's own script."""
