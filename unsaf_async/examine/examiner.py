"""One image, whole: ask, answer, judge, take the extra measures. No stage waits for another question, let alone another image.

But for two cases: responses that are judged several in one call wait for each other, and the extra measures for their verdicts.
Controls are drawn from all questions of the image, and wait for its answers.

What is expected to fail becomes a value on the record: a call that failed, a list that could not be read, an item that is no
question. Only what stops the run is raised (no money, no provider).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from unsaf_async.calls.backends.outcome import is_lost
from unsaf_async.calls.request import ModelClient, failed, record_of
from unsaf_async.errors import CallError
from unsaf_async.examine import parse
from unsaf_async.examine.judge import unscored_of
from unsaf_async.examine.options import act_by_option, options_shown
from unsaf_async.normalize import normal_form
from unsaf_async.records import (
    CallRecord,
    Dropped,
    EncodedImage,
    Examination,
    GivenQuestion,
    ImageRecord,
    JudgedTogether,
    Kind,
    Label,
    Options,
    Question,
    Reply,
    Role,
    TokenConfidence,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.examine.controls import Controls
    from unsaf_async.examine.extras import Extras
    from unsaf_async.examine.judge import Judge
    from unsaf_async.examine.parse.items import Item
    from unsaf_async.prompts import Pack
    from unsaf_async.records import Request

LABELS: tuple[Label, Label] = ("answerable", "unanswerable")

LEAST_LOGPROB = -100.0
"""A token's log-probability is taken for this where it is lower: nothing that is sampled is less likely."""


@dataclass(frozen=True)
class Examiner:
    """Examines one image with one subject, one judge and one prompt pack.

    questions: K, per label. extras: takes the extra measures; None: none are wanted. controls: asks questions again without what
    answers them; None: none are wanted.
    """

    subject: ModelClient
    judge: Judge
    pack: Pack
    questions: int
    extras: Extras | None = None
    controls: Controls | None = None

    async def examine(self, record: ImageRecord, image: EncodedImage) -> Examination:
        """The examination of an image, with questions that the subject writes.

        Args:
            record: The image's record.
            image: The image.

        Returns:
            The questions are in the order in which the model wrote them, answerable ones first, whatever came back first.

        Raises:
            RunStopped: When no call may leave or none works.
        """
        began_s = asyncio.get_running_loop().time()
        work = {label: _List(self, label, image) for label in LABELS}
        async with asyncio.TaskGroup() as group:
            for part in work.values():
                group.create_task(part.fill(group))
        questions: list[Question] = []
        dropped: list[Dropped] = []
        asked: set[str] = set()
        for part in work.values():
            dropped += part.dropped
            for task in part.asked:
                question = task.result()
                # The same words under both labels contradict each other: the later list yields.
                normal = normal_form(question.text)
                if normal in asked:
                    dropped.append(Dropped(text=question.text, intended=question.intended, reason="duplicate"))
                else:
                    asked.add(normal)
                    questions.append(question)
        questions, judged_together = await self._judged(questions, image)
        asks = [call for part in work.values() for call in part.calls]
        examination = Examination(
            image=record,
            questions=tuple(questions),
            dropped=tuple(dropped),
            missing=2 * self.questions - len(questions),
            asks=tuple(asks),
            judged_together=judged_together,
            # A model that wrote something, if no question, has been measured: the score's gates show it.
            failure=None if questions or dropped else _why_nothing(asks),
        )
        return await self._controlled(examination, began_s)

    async def examine_given(
        self, record: ImageRecord, image: EncodedImage, given: Sequence[GivenQuestion]
    ) -> Examination:
        """The examination of an image, with questions that the subject did not write; none is dropped.

        Args:
            record: The image's record.
            image: The image.
            given: The questions.

        Returns:
            The questions are in the order given.

        Raises:
            RunStopped: When no call may leave or none works.
        """
        began_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.answer(each.text, each.intended, each.kind, image, each, each.options))
                for each in given
            ]
        questions, judged_together = await self._judged([task.result() for task in tasks], image)
        examination = Examination(image=record, questions=tuple(questions), judged_together=judged_together)
        return await self._controlled(examination, began_s)

    async def _controlled(self, examination: Examination, began_s: float) -> Examination:
        """`examination` with its controls, and the time that all of it took."""
        if self.controls is not None:
            examination = await self.controls.take(examination)
        return examination.model_copy(update={"wall_s": asyncio.get_running_loop().time() - began_s})

    async def complete(self, examination: Examination, image: EncodedImage) -> Examination:
        """An examination with the extra measures that it does not have yet.

        Args:
            examination: Of the image.
            image: The image.

        Returns:
            The examination; the same if no extra measures are wanted.

        Raises:
            RunStopped: When no call may leave or none works.
        """
        questions = await self._measured(examination.questions, image)
        examination = examination.model_copy(update={"questions": tuple(questions)})
        return examination if self.controls is None else await self.controls.take(examination)

    async def _measured(self, questions: Sequence[Question], image: EncodedImage) -> list[Question]:
        if self.extras is None:
            return list(questions)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.extras.measure(each, image)) for each in questions]
        return [task.result() for task in tasks]

    async def _judged(
        self, questions: list[Question], image: EncodedImage
    ) -> tuple[list[Question], tuple[JudgedTogether, ...]]:
        """An image's questions, all of them judged and measured; and the calls about several responses, if there are such."""
        if self.judge.together == 1:
            return questions, ()  # each was judged as soon as it was answered
        judged, calls = await self.judge.judge_answers(questions)
        return await self._measured(judged, image), calls

    async def answer(
        self,
        text: str,
        intended: Label,
        kind: Kind | None,
        image: EncodedImage,
        given: GivenQuestion | None = None,
        options: Options | None = None,
    ) -> Question:
        """One question answered, judged and measured. A call that failed is a value on the record.

        Where several responses are judged in one call, that and the measures are left for later.

        Args:
            text: The question.
            intended: Its label.
            kind: Of an unanswerable question; None if there is none.
            image: The image it is about.
            given: Where the question is from; None: the subject wrote it.
            options: What it offers; None where it is put for an answer in free words alone.

        Returns:
            The question with its response.
        """
        put = Question(text=text, intended=intended, kind=kind, options=options, given=given, answer=_NONE_YET)
        question = await (self._chosen(put, image) if self.pack.form == "choice" else self._answered(put, image))
        if self.extras is None or self.judge.together > 1:
            return question
        return await self.extras.measure(question, image)

    async def _answered(self, put: Question, image: EncodedImage) -> Question:
        """In free words, judged."""
        try:
            reply = await self.subject.ask("answer", self.pack.answer(put.text), image=image)
        except CallError as error:
            return put.model_copy(update={"answer": failed("answer", error), "unscored": "failed"})
        asked = put.model_copy(update=_of_reply("answer", reply))
        if reply.outcome != "ok":
            return asked
        if self.judge.together > 1:
            return asked
        judgement = await self.judge.judge(put.text, reply.text, reply.finish_reason)
        return asked.model_copy(update=judgement.on_question)

    async def _chosen(self, put: Question, image: EncodedImage) -> Question:
        """By one of the options, read by rules."""
        assert put.options is not None
        try:
            reply = await self.subject.ask("choice", self.pack.choose(put.text, put.options.texts), image=image)
        except CallError as error:
            return put.model_copy(update={"answer": failed("choice", error), "unscored": "failed"})
        asked = put.model_copy(update=_of_reply("choice", reply))
        if reply.outcome != "ok":
            return asked
        act = act_by_option(put.text, reply.text, reply.finish_reason, put.options)
        return asked.model_copy(update={"act": act, "decided_by": "rule", "unscored": unscored_of(act)})


_NONE_YET = CallRecord(role="answer", outcome="failed")
"""Stands for the answering call until it is made."""


def _of_reply(role: Role, reply: Reply) -> dict[str, object]:
    """The fields of a `Question` that its reply decides before it is read."""
    return {
        "response": reply.text,
        "answer": record_of(role, reply),
        "token_confidence": _token_confidence(reply),
        "unscored": None if reply.outcome == "ok" else reply.outcome,
    }


def _token_confidence(reply: Reply) -> TokenConfidence | None:
    if not reply.logprobs:
        return None
    # Some servers report -inf, which JSON cannot hold, of a token that a filter had forced.
    logprobs = [max(logprob, LEAST_LOGPROB) for logprob in reply.logprobs]
    return TokenConfidence(
        mean_logprob=round(sum(logprobs) / len(logprobs), 6), min_logprob=round(min(logprobs), 6), tokens=len(logprobs)
    )


@dataclass
class _List:
    """One label's questions about one image: written, asked again once where short, answered and judged as they come."""

    examiner: Examiner
    label: Label
    image: EncodedImage
    asked: list[asyncio.Task[Question]] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    calls: list[CallRecord] = field(default_factory=list)
    _seen: list[str] = field(default_factory=list)
    _normal: set[str] = field(default_factory=set)

    async def fill(self, group: asyncio.TaskGroup) -> None:
        wanted = self.examiner.questions
        for again in (False, True):  # the second time: what was malformed, repeated or missing, once
            short = wanted - len(self.asked)
            if short <= 0:
                return
            items, others = parse.of_label(await self._write(short, again=again), self.label)
            self.dropped += [Dropped(text=item.text, intended=self.label, reason="other_label") for item in others]
            for item in items:
                if len(self.asked) == wanted:
                    return  # more than asked for: the first ones count
                if self._is_good(item):
                    kind = item.kind if self.label == "unanswerable" else None
                    options = self._options(item)
                    answer = self.examiner.answer(item.text, self.label, kind, self.image, options=options)
                    self.asked.append(group.create_task(answer))

    async def _write(self, count: int, *, again: bool) -> tuple[Item, ...]:
        examiner = self.examiner
        prompt = examiner.pack.ask(self.label, count, self._seen)
        subject = examiner.subject
        request = subject.builder.request("ask", prompt, image=self.image, schema=examiner.pack.schema(self.label))
        request = _redrawn(request) if again else request
        try:
            reply = await subject.provider.complete(request)
        except CallError as error:
            self.calls.append(failed("ask", error))
            return ()
        # A list that was cut off still holds whole questions; a refusal or a block holds none.
        items = parse.question_items(reply.text) if reply.outcome in ("ok", "truncated", "interrupted") else ()
        call = record_of("ask", reply)
        if reply.outcome == "ok" and not items:
            call = call.model_copy(update={"outcome": "unreadable", "detail": "no list of questions in the reply"})
        self.calls.append(call)
        return items

    def _options(self, item: Item) -> Options | None:
        """What is shown of an item's options; None where none are wanted, or they are not fit to choose from."""
        pack = self.examiner.pack
        if pack.form == "open":
            return None
        return options_shown(item.options, pack.undetermined, self.examiner.subject.builder.seed, item.text)

    def _is_good(self, item: Item) -> bool:
        normal = normal_form(item.text)
        without = self.examiner.pack.form != "open" and self._options(item) is None
        if without or not parse.is_question(item.text, named=item.named):
            reason = "malformed"
        elif normal in self._normal:
            reason = "duplicate"
        else:
            self._normal.add(normal)
            self._seen.append(item.text)
            return True
        self.dropped.append(Dropped.model_validate({"text": item.text, "intended": self.label, "reason": reason}))
        return False


def _redrawn(request: Request) -> Request:
    """`request` as another draw, for where nothing good was written.

    The request is the first one word for word, so the cache, or a server that takes a seed, would say the same again.
    """
    seed = request.sampling.seed
    sampling = replace(request.sampling, seed=None if seed is None else 2**31 - 1 - seed)  # seeds have 31 bits
    return replace(request, draw=~request.draw, sampling=sampling)  # negative: no run's first draw


def _why_nothing(asks: list[CallRecord]) -> str:
    if not asks:
        return "no question was obtained"
    last = asks[-1]
    detail = f": {last.detail}" if last.detail else ""
    return f"no question was obtained (the question-writing calls ended {', '.join(call.outcome for call in asks)}{detail})"


def has_failed_calls(examination: Examination) -> bool:
    """Whether any call of an examination ended without a reply.

    Args:
        examination: The examination.

    Returns:
        False if no call was made.
    """
    return any(call.outcome == "failed" for call in examination.calls)


def is_unfinished(examination: Examination) -> bool:
    """Whether resuming should examine the image again: it failed, or a call to write, answer or judge its questions did.

    So did one whose reply the server lost on its way, however often it was asked for. Extra measures that failed are taken again
    without that.

    Args:
        examination: The examination.

    Returns:
        False if only extra measures failed.
    """
    own = [*examination.asks, *(call for each in examination.questions for call in (each.answer, each.judge) if call)]
    own += [vote.call for each in examination.questions for vote in each.votes if vote.call]
    # Of a call that was refused, all was asked for again alone.
    own += [part.call for part in examination.judged_together if part.asked_alone < part.responses]
    return examination.failure is not None or any(call.outcome == "failed" or is_lost(call) for call in own)
