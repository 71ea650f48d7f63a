"""What is true of a run's questions by the oracle of its world, and the figures that follow.

Shared by the studies of docs/validity.md: what the instruction says of a question beside what the scene says of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, cast

import numpy as np

import unsaf_async
from unsaf_async.score.declining import PROPENSITIES
from unsaf_async.score.label_errors import LabelTally, TrustedLabel
from unsaf_async.score.label_sample import label_order, question_key
from unsaf_async.score.metrics import auroc
from unsaf_async.score.run_score import score
from unsaf_async.score.signals import CONFIDENCE_OF
from unsaf_async.world.worlds import SHAPES, WORLDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from unsaf_async.records import Examination, Question
    from unsaf_async.runs.findings import Findings
    from unsaf_async.score.label_errors import LabelCorrected, Verdict
    from unsaf_async.world.oracle import Finding

TRUSTED = 200
"""Labels for the corrected figure."""

NORMAL = NormalDist()


def measured(folder: Path, work: Path, **options: Any) -> tuple[list[Examination], Findings]:
    """A run of the model in `folder`: its examinations and its findings."""
    asyncio.run(unsaf_async.evaluate("tiny", model=str(folder), out=work, cache=None, **options))
    _, examinations, result = unsaf_async.load(work)
    return examinations, result


Truth = Callable[[str], "Finding | None"]
"""What is true of a question about one picture; None if it is not understood."""


def truth_of(examination: Examination) -> Truth:
    """The oracle of the picture's world, about its scene. Runs that name no world are of the first."""
    told = examination.image.metadata
    world = WORLDS[str(told.get("world", SHAPES.name))]
    return partial(world.oracle, world.read(str(told["scene"])))


def relabelled(
    examinations: Sequence[Examination], label_of: Callable[[Truth, Question], str | None]
) -> list[Examination]:
    """The examinations with other labels; a question whose label is None is left out."""
    results = []
    for examination in examinations:
        truth = truth_of(examination)
        labelled = [(question, label_of(truth, question)) for question in examination.questions]
        kept = tuple(question.model_copy(update={"intended": label}) for question, label in labelled if label)
        results.append(examination.model_copy(update={"questions": kept}))
    return results


def true_label(truth: Truth, question: Question) -> str | None:
    """What the oracle says of a question: "answerable", "unanswerable", or None if it does not understand it."""
    finding = truth(question.text)
    return None if finding is None else "answerable" if finding.answerable else "unanswerable"


def audited(truth: Truth, question: Question) -> str | None:
    """The intended label where the oracle agrees with it, else None: what an audit would keep."""
    return question.intended if true_label(truth, question) == question.intended else None


def scored(examinations: Sequence[Examination]) -> dict[str, Any]:
    """UnF1 and its interval over `examinations`."""
    result = score(examinations, questions_per_label=6, accounts=None, provider="tiny", judge="rules")
    return {"f1": result.unf1, "ci": result.unf1_ci, "counts": result.counts.model_dump()}


def fidelity(examinations: Sequence[Examination]) -> dict[str, Any]:
    """By intended label: the share that the oracle agrees with, that it contradicts, and that it does not understand."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for examination in examinations:
        truth = truth_of(examination)
        for question in examination.questions:
            true = true_label(truth, question)
            counts[question.intended][
                "unreadable" if true is None else "true" if true == question.intended else "false"
            ] += 1
    return {
        label: {name: count / of_label.total() for name, count in of_label.items()}
        for label, of_label in counts.items()
    }


def kinds(examinations: Sequence[Examination]) -> dict[str, Any]:
    """By the true kind of the self-written questions: how many, and the share that was declined."""
    declined: dict[str, list[bool]] = defaultdict(list)
    for examination in examinations:
        truth = truth_of(examination)
        for question in examination.questions:
            finding = truth(question.text)
            if finding is not None and question.act in ("answered", "abstained"):
                declined[finding.kind or "answerable"].append(question.act == "abstained")
    return {kind: {"n": len(acts), "declined": float(np.mean(acts))} for kind, acts in sorted(declined.items())}


def confidence(examinations: Sequence[Examination], findings: Findings) -> dict[str, Any]:
    """By sign of confidence, its AUROC for telling unanswerable questions: by the intended label, and by the oracle's.

    A model that declines confidently defeats such a detector: a declining answer has a high probability, too.
    """
    asked = [
        (true_label(truth_of(examination), question), question)
        for examination in examinations
        for question in examination.questions
    ]
    results: dict[str, Any] = {}
    for name, (value_of, surer) in CONFIDENCE_OF.items():
        known = [(true, value_of(question)) for true, question in asked if true is not None]
        doubts = [(true, -surer * value) for true, value in known if value is not None]
        results[name] = {
            "intended": findings.signals[name].auroc,
            "oracle": auroc([doubt for _, doubt in doubts], [true == "unanswerable" for true, _ in doubts])
            if doubts
            else None,
        }
    return results


def verdicts(examination: Examination) -> list[str | None]:
    """What the oracle says of each question; None where it does not understand it."""
    truth = truth_of(examination)
    return [true_label(truth, question) for question in examination.questions]


def asked(examinations: Sequence[Examination]) -> Iterator[tuple[int, Examination, Question, str]]:
    """Every question that was answered or declined and of which the oracle knows the truth: image, examination, it, truth."""
    for number, examination in enumerate(sorted(examinations, key=lambda each: each.image.id)):
        for question, true in zip(examination.questions, verdicts(examination), strict=True):
            if true and question.act in ("answered", "abstained"):
                yield number, examination, question, true


def corrected(examinations: Sequence[Examination], seed: int) -> LabelCorrected:
    """UnF1 corrected by the oracle's labels of the first questions in the random order."""
    labels = {
        question_key(examination.image, question.text): TrustedLabel(cast("Verdict", true or "cannot-say"))
        for examination in examinations
        for question, true in zip(examination.questions, verdicts(examination), strict=True)
    }
    tally = LabelTally({each.key: labels[each.key] for each in label_order(examinations, seed)[:TRUSTED]}, seed)
    for examination in examinations:
        tally.add(examination)
    return tally.corrected()


def detection(declined: NDArray[np.bool_], unanswerable: NDArray[np.bool_]) -> tuple[float, float]:
    """d' and criterion c of declining, with half a question added to each cell (Hautus, 1995).

    M. J. Hautus, "Corrections for extreme proportions and their biasing effects on estimated values of d'", Behavior Research
    Methods, Instruments, & Computers 27 (1995).
    """
    hit, false = (
        NORMAL.inv_cdf((float(declined[side].sum()) + 0.5) / (float(side.sum()) + 1))
        for side in (unanswerable, ~unanswerable)
    )
    return hit - false, -(hit + false) / 2


def propensity(examinations: Sequence[Examination], name: Any) -> float | None:
    """AUROC of a propensity to decline, with the instruction as the label."""
    known = [
        (value, question.intended == "unanswerable")
        for examination in examinations
        for question in examination.questions
        if question.answer.outcome == "ok" and (value := PROPENSITIES[name](question)) is not None
    ]
    return auroc([value for value, _ in known], [label for _, label in known])
