"""Answers that another run obtained, and those to its controls, judged anew: nothing is asked, and no image is read."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unsaf_async.calls.backends.outcome import is_lost
from unsaf_async.examine.examiner import is_unfinished
from unsaf_async.examine.judge import Judge
from unsaf_async.examine.unread import UnreadVerdicts
from unsaf_async.records import Examination
from unsaf_async.runs.one_image import NO_OTHERS, Others, record_of, whole
from unsaf_async.runs.quote import Priced, quote_verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from unsaf_async.calls.session import Session
    from unsaf_async.inputs.sources import ImageSource
    from unsaf_async.prompts import Pack
    from unsaf_async.records import CallRecord, Control, Question
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.runs.journal import Kept


def answers_alone(examination: Examination) -> Examination:
    """What a judge anew begins with: an examination without what its own judge said.

    Extra measures stay, but whether answers are borne out, which was asked of those that the first judge took for answers.
    Controls stay as they were answered: which questions were asked again, that judge had a part in.

    Args:
        examination: Of the run that asked and answered.

    Returns:
        The same with every call marked as taken from before, as it costs nothing now; measures whose calls failed are left out.
    """
    return examination.model_copy(
        update={
            "questions": tuple(map(_answer_alone, examination.questions)),
            "asks": tuple(map(_taken, examination.asks)),
            "judged_together": (),
            "wall_s": 0.0,
        }
    )


def has_whole_answers(examination: Examination) -> bool:
    """Whether the answers about an image can be judged: none would be asked for again if their run went on.

    Args:
        examination: Of the image.

    Returns:
        Whether the image was examined, and no call that asked or answered failed.
    """
    return not is_unfinished(answers_alone(examination))


_NO_VERDICT: dict[str, object] = {"act": None, "decided_by": None, "judge": None, "votes": ()}


def _answer_alone(question: Question) -> Question:
    once = {
        name: part.model_copy(update={"call": _taken(part.call)}) if part is not None and _came(part.call) else None
        for name, part in (("choice", question.choice), ("stated", question.stated), ("p_true", question.p_true))
    }
    several = {
        name: tuple(each.model_copy(update={"call": _taken(each.call)}) for each in parts if _came(each.call))
        for name, parts in (("audits", question.audits), ("samples", question.samples))
    }
    scored = question.answer.outcome == "ok"
    return question.model_copy(
        update={
            **once,
            **several,
            **_NO_VERDICT,
            "answer": _taken(question.answer),
            "support": None,
            "control": _control_alone(question.control),
            "unscored": None if scored else question.unscored,
        }
    )


def _control_alone(control: Control | None) -> Control | None:
    if control is None or not _came(control.call):
        return None
    unscored = None if control.call.outcome == "ok" else control.unscored
    return control.model_copy(update={**_NO_VERDICT, "call": _taken(control.call), "unscored": unscored})


def _came(call: CallRecord) -> bool:
    return call.outcome != "failed" and not is_lost(call)


def _taken(call: CallRecord) -> CallRecord:
    return call.model_copy(update={"cached": True})


@dataclass(frozen=True)
class Rejudger:
    """Judges the answers about a run's images, each image with money of its own. Stands where an `ImageExaminer` does."""

    manifest: Manifest
    session: Session
    pack: Pack
    answers: Kept
    """Of the run that asked and answered."""
    unread: UnreadVerdicts = field(default_factory=UnreadVerdicts)

    @classmethod
    def of(cls, manifest: Manifest, session: Session, pack: Pack, answers: Kept) -> Rejudger:
        """The judge of a run's images.

        Args:
            manifest: The judging run's.
            session: Its judges.
            pack: Its prompts.
            answers: The examinations of the run that asked and answered.

        Returns:
            A judge that tells the session's listeners of replies without a verdict.
        """
        return cls(manifest, session, pack, answers, UnreadVerdicts(session.announce, session.redact))

    async def examine(
        self,
        source: ImageSource,
        *,
        suspect: bool = False,
        others: Others = NO_OTHERS,  # noqa: ARG002 - the seam's
    ) -> Examination:
        """The examination of an image, with verdicts anew.

        Args:
            source: The image.
            suspect: As for `ImageExaminer.examine`.
            others: As for `ImageExaminer.examine`; none is shown.

        Returns:
            The examination; with `failure` where its run no longer holds answers about it.

        Raises:
            RunStopped: No call may leave any more, or none works.
        """
        began_s = asyncio.get_running_loop().time()
        if source.id not in self.answers:
            return Examination(image=record_of(source), failure="the run that is judged holds no answers about it")
        examination = answers_alone(self.answers[source.id])
        if not self.manifest.controls:  # begun when controls were left out
            bare = tuple(each.model_copy(update={"control": None}) for each in examination.questions)
            examination = examination.model_copy(update={"questions": bare})
        with self._judge(examination.questions, examination.questions, suspect=suspect) as judge:
            questions, calls = await judge.judge_answers(examination.questions)
            questions = await judge.judge_controls(questions)
        wall_s = asyncio.get_running_loop().time() - began_s
        judged = examination.model_copy(
            update={"questions": tuple(questions), "judged_together": calls, "wall_s": wall_s}
        )
        return whole(judged, self.session)

    async def complete(
        self,
        source: ImageSource,  # noqa: ARG002 - the seam's
        examination: Examination,
        *,
        others: Others = NO_OTHERS,  # noqa: ARG002 - the seam's
    ) -> Examination:
        """An examination with the verdicts on its controls that failed: such a run takes no extra measures.

        Args:
            source: The image.
            examination: What is known of it.
            others: None is shown.

        Returns:
            The examination.

        Raises:
            RunStopped: No call may leave any more, or none works.
        """
        with self._judge((), examination.questions) as judge:
            questions = await judge.judge_controls(examination.questions)
        return whole(examination.model_copy(update={"questions": tuple(questions)}), self.session)

    @contextmanager
    def _judge(
        self, answers: Sequence[Question], controls: Sequence[Question], *, suspect: bool = False
    ) -> Iterator[Judge]:
        """A judge with money for its verdicts on these answers, and on those of the controls that have none."""
        judges, models = self.manifest.judges, self.session.models
        priced = tuple(Priced(models[name].builder, models[name].planned_cost) for name in judges)
        quote = quote_verdicts(priced, self.pack, answers, self.manifest.judge_together, controls=controls)
        with self.session.budget.for_image(quote.worst_nano_usd) as image_budget:
            members = tuple((name, self.session.client(name, image_budget, suspect=suspect)) for name in judges)
            yield Judge(self.pack, members, self.unread, self.manifest.judge_together)
