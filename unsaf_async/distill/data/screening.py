"""Which of the questions that the teacher got right are taken: those whose answer it is sure of, and that others agree on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from unsaf_async.errors import UserError, as_option, setting
from unsaf_async.score.signals import self_consistency, stated
from unsaf_async.text import format_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from unsaf_async.distill.data.agreement import Agreement
    from unsaf_async.distill.data.build_rows import Item, TrainingRow
    from unsaf_async.distill.data.options import Filters, Options
    from unsaf_async.records import Label, Question
    from unsaf_async.runs.saved import SavedRun

ROUNDED = 0.01
"""A least share that is by less than this above a share of the draws was probably meant to be that share."""


@dataclass(frozen=True, slots=True)
class Screening:
    """What was left out for want of consistency, confidence or agreement, by label: such filters shift the mix of labels."""

    before: Counter[Label] = field(default_factory=Counter)
    """Questions that the teachers got right, by label."""
    after: Counter[Label] = field(default_factory=Counter)
    """Those of them that pass these filters."""
    left_out: Counter[tuple[str, Label]] = field(default_factory=Counter)
    """The others, by reason and label."""
    in_rows: Counter[Label] | None = None
    """Those of `after` that a row is about; None: the rows are not taken yet."""

    def with_rows(self, rows: Iterable[TrainingRow]) -> Screening:
        """The same, once it is known which rows are taken.

        Args:
            rows: Those of all splits. The student's own, which are replayed, pass by these filters.

        Returns:
            A copy with `in_rows`.
        """
        taught = {id(row.item): row.item.label for row in rows if not row.item.replay}
        return replace(self, in_rows=Counter(taught.values()))

    def in_words(self) -> str:
        """What became of the mix of labels, in a sentence."""
        before, after = _share(self.before), _share(self.after)
        rows = "" if self.in_rows is None else f", {_share(self.in_rows)} in the rows"
        return f"Unanswerable questions: {before} before these filters, {after} after{rows}."

    def rows(self) -> Iterator[tuple[str, int, int]]:
        """What was left out, and what is left.

        Yields:
            (why it was left out, the most frequent reason first, or what is left; answerable questions; unanswerable ones).
        """
        reasons: Counter[str] = Counter()
        for (why, _), n in self.left_out.items():
            reasons[why] += n
        for why, _ in sorted(reasons.items(), key=lambda each: (-each[1], each[0])):
            yield why, self.left_out[why, "answerable"], self.left_out[why, "unanswerable"]
        yield "pass these filters", self.after["answerable"], self.after["unanswerable"]
        if self.in_rows is not None:
            later = self.after - self.in_rows
            yield "left out later, for other reasons", later["answerable"], later["unanswerable"]
            yield "in the rows", self.in_rows["answerable"], self.in_rows["unanswerable"]


def _share(counts: Counter[Label]) -> str:
    return f"{format_part(counts['unanswerable'], counts.total())} of {counts.total()}"


def check_shares(filters: Filters) -> None:
    """Checks the least consistency and confidence.

    Args:
        filters: What is asked for.

    Raises:
        UserError: One is no share above 0 and up to 1.
    """
    for name, value in (("min_consistency", filters.min_consistency), ("min_confidence", filters.min_confidence)):
        if value is not None and not 0 < value <= 1:
            raise UserError(f"is {value:g}; give a share above 0 and up to 1, such as 0.8", field=name)


def check_measured(run: SavedRun, filters: Filters) -> None:
    """Checks that a run holds the figures that the filters go by.

    Args:
        run: A teacher's run.
        filters: What is asked for.

    Raises:
        UserError: No response of it has such a figure.
    """
    questions = [question for each in run.examinations for question in each.questions]
    if filters.min_consistency is not None and not any(question.samples for question in questions):
        raise UserError(
            f": in {run.folder} no answer was drawn again; {_with(run)} {setting('samples')} 5 first",
            field="min_consistency",
        )
    if filters.min_confidence is not None and not any(question.stated for question in questions):
        raise UserError(
            f": in {run.folder} the model was not asked how sure it is; {_with(run)} {setting('confidence')} first",
            field="min_confidence",
        )


def notes(run: SavedRun, filters: Filters) -> Iterator[str]:
    """What a user should know of a run's figures, a line each.

    Args:
        run: A teacher's run.
        filters: What is asked for.

    Yields:
        Whether the least consistency is a share of the draws that was rounded up, so that this share does not reach it.
    """
    least = filters.min_consistency
    draws = max((len(question.samples) for each in run.examinations for question in each.questions), default=0)
    if least is None or not draws:
        return
    just_below = ceil(least * draws) - 1
    if just_below > 0 and least - just_below / draws < ROUNDED:
        yield (
            f"{just_below} of {draws} draws are a share of {just_below / draws:.4f}, which is below "
            f"{as_option('min_consistency')} {least:g}; give {floor(just_below / draws * 100) / 100:g} to take them"
        )


def _with(run: SavedRun) -> str:
    return "resume it with" if run.manifest.judged_anew is None else "judge anew a run that was made with"


def screened(
    items: Iterable[Item], filters: Filters, agreement: Agreement | None
) -> tuple[list[Item], Counter[str], Screening | None]:
    """The questions that the teacher is sure enough of, and that enough models agree on.

    Args:
        items: Questions that the teachers got right.
        filters: What is asked for.
        agreement: How other models did on them; None: it does not matter.

    Returns:
        (the questions in their order, how many others there are by reason, the same by label; None if nothing is asked for).
    """
    if filters.min_consistency is None and filters.min_confidence is None and agreement is None:
        return list(items), Counter(), None
    kept: list[Item] = []
    found = Screening()
    for item in items:
        found.before[item.label] += 1
        why = _why_not(item.question, filters) or (agreement.why_not(item) if agreement else None)
        if why is None:
            kept.append(item)
            found.after[item.label] += 1
        else:
            found.left_out[why, item.label] += 1
    left_out: Counter[str] = Counter()
    for (why, _), n in found.left_out.items():
        left_out[why] += n
    return kept, left_out, found


def _why_not(question: Question, filters: Filters) -> str | None:
    asked: tuple[tuple[str, float | None, Callable[[Question], float | None], str], ...] = (
        ("consistency", filters.min_consistency, self_consistency, _why_no_consistency(question)),
        ("confidence", filters.min_confidence, stated, _why_no_confidence(question)),
    )
    for name, least, figure, why_none in asked:
        if least is None:
            continue
        value = figure(question)
        if value is None:
            return f"{name}: not known, {why_none}"
        if value < least:
            return f"{name}: below {least:g}"
    return None


def _why_no_consistency(question: Question) -> str:
    return "no further draw of the answer came back" if question.samples else "the answer was not drawn again"


def _why_no_confidence(question: Question) -> str:
    return question.stated.why if question.stated else "the model was not asked for it"


def figures_dict(item: Item, agreement: Agreement | None) -> dict[str, Any]:
    """The figures that these filters go by, of one question, whether or not it was filtered by them.

    Args:
        item: The question.
        agreement: How other models did on the teachers' questions; None: no run of another model was given.

    Returns:
        Plain data for JSON. What is not known is None, and `why_unknown` has the reason by the figure's name.
    """
    question = item.question
    consistency, confidence = self_consistency(question), stated(question)
    why_unknown: dict[str, str] = {}
    if consistency is None:
        why_unknown["consistency"] = _why_no_consistency(question)
    if confidence is None:
        why_unknown["confidence"] = _why_no_confidence(question)
    agreed: dict[str, int] | None = None
    if item.replay:
        why_unknown["agreement"] = "it is the student's own"
    elif agreement is None:
        why_unknown["agreement"] = "no run of another model was given"
    else:
        agreed = dict(zip(("models", "agreeing"), agreement.counts(item), strict=True))
    return {"consistency": consistency, "confidence": confidence, "agreement": agreed, "why_unknown": why_unknown}


def in_words(options: Options) -> Iterator[str]:
    """What these filters ask of a question.

    Args:
        options: What is asked for.

    Yields:
        A sentence or two for each filter.
    """
    filters = options.filters
    if filters.min_consistency is not None:
        yield (
            f"Of the further draws of the answer a share of {filters.min_consistency:g} or more mean the same "
            f"(`{as_option('min_consistency')}`). Meanings are told by wording, and a draw declines where the rules say so."
        )
    if filters.min_confidence is not None:
        yield (
            f"The teacher's own confidence in its response, asked for in words, is {filters.min_confidence:g} or more "
            f"(`{as_option('min_confidence')}`)."
        )
    if options.agreed_by or filters.agree is not None:
        who = f"{filters.agree} models at least" if filters.agree else "all models that were asked it, two at least,"
        yield (
            f"Of the same question about the same image {who} did as its label has it, the teacher among them "
            f"(`{as_option('agreed_by')}`). What is compared is who answered and who declined: models that answered need not "
            "have answered the same. Each was asked in the prompts of its own run, and judged by that run's judge."
        )
