"""One image, whole: ask, answer, judge. No stage waits for another question, let alone another image.

What is expected to fail becomes a value on the record: a call that failed, a list that could not be read, an item that is no
question. Only what stops the run is raised (no money, no provider).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from unsaf_async import parse
from unsaf_async.calls import Caller, complete_schema, record_of
from unsaf_async.errors import CallError
from unsaf_async.records import CallRecord, Dropped, EncodedImage, Examination, ImageRecord, Label, Question, Reply

if TYPE_CHECKING:
    from unsaf_async.judge import Judge
    from unsaf_async.packs import Pack
    from unsaf_async.parse import Item
    from unsaf_async.provider import Provider
    from unsaf_async.records import Request

LABELS: tuple[Label, Label] = ("answerable", "unanswerable")


@dataclass(frozen=True)
class Examiner:
    """Examines images with one subject, one judge and one prompt pack. questions: K, per label."""

    subject: Caller
    judge: Judge
    pack: Pack
    questions: int

    async def examine(
        self, record: ImageRecord, image: EncodedImage, provider: Provider, judge_provider: Provider | None
    ) -> Examination:
        """The examination of `image`. Raises RunStopped when no call may leave or none works.

        The questions stand in the order in which the model wrote them, answerable ones first, whatever came back first.
        """
        began_s = asyncio.get_running_loop().time()
        work = {label: _List(self, label, image, provider, judge_provider) for label in LABELS}
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
                normal = parse.normal(question.text)
                if normal in asked:
                    dropped.append(Dropped(text=question.text, intended=question.intended, reason="duplicate"))
                else:
                    asked.add(normal)
                    questions.append(question)
        asks = [call for part in work.values() for call in part.calls]
        return Examination(
            image=record,
            questions=tuple(questions),
            dropped=tuple(dropped),
            missing=2 * self.questions - len(questions),
            asks=tuple(asks),
            failure=None if questions else _why_nothing(asks),
            wall_s=asyncio.get_running_loop().time() - began_s,
        )


@dataclass
class _List:
    """One label's questions about one image: written, asked again once where short, answered and judged as they come."""

    examiner: Examiner
    label: Label
    image: EncodedImage
    provider: Provider
    judge_provider: Provider | None
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
            for item in await self._write(short, again=again):
                if len(self.asked) == wanted:
                    return  # more than asked for: the first ones count
                if self._is_good(item):
                    self.asked.append(group.create_task(self._answer(item)))

    async def _write(self, count: int, *, again: bool) -> tuple[Item, ...]:
        examiner = self.examiner
        prompt = examiner.pack.ask(self.label, count, self._seen)
        request = examiner.subject.request("ask", prompt, image=self.image, schema=examiner.pack.schema(self.label))
        request = _redrawn(request) if again else request
        try:
            reply = await complete_schema(self.provider, request)
        except CallError as error:
            self.calls.append(CallRecord(role="ask", outcome="failed", detail=str(error)))
            return ()
        # A list that was cut off still holds whole questions; a refusal or a block holds none.
        items = parse.question_items(reply.text) if reply.outcome in ("ok", "truncated") else ()
        call = record_of("ask", reply)
        if reply.outcome == "ok" and not items:
            call = call.model_copy(update={"outcome": "unreadable", "detail": "no list of questions in the reply"})
        self.calls.append(call)
        return items

    def _is_good(self, item: Item) -> bool:
        normal = parse.normal(item.text)
        if not parse.is_question(item.text):
            reason = "malformed"
        elif normal in self._normal:
            reason = "duplicate"
        else:
            self._normal.add(normal)
            self._seen.append(item.text)
            return True
        self.dropped.append(Dropped.model_validate({"text": item.text, "intended": self.label, "reason": reason}))
        return False

    async def _answer(self, item: Item) -> Question:
        examiner = self.examiner
        kind = item.kind if self.label == "unanswerable" else None
        request = examiner.subject.request("answer", examiner.pack.answer(item.text), image=self.image)
        try:
            reply: Reply = await self.provider.complete(request)
        except CallError as error:
            failed = CallRecord(role="answer", outcome="failed", detail=str(error))
            return Question(text=item.text, intended=self.label, kind=kind, answer=failed, unscored="failed")
        call = record_of("answer", reply)
        if reply.outcome != "ok":
            return Question(
                text=item.text, intended=self.label, kind=kind, response=reply.text, answer=call, unscored=reply.outcome
            )
        judgement = await examiner.judge.judge(item.text, reply.text, reply.finish_reason, self.judge_provider)
        return Question(
            text=item.text,
            intended=self.label,
            kind=kind,
            response=reply.text,
            answer=call,
            act=judgement.act,
            decided_by=judgement.decided_by,
            judge=judgement.call,
            unscored=judgement.unscored,
        )


def _redrawn(request: Request) -> Request:
    """`request` as another draw: where nothing good was written, it is the first one word for word, and the cache, or a
    server that takes a seed, would say the same again."""
    seed = request.sampling.seed
    sampling = replace(request.sampling, seed=None if seed is None else 2**31 - 1 - seed)  # seeds have 31 bits
    return replace(request, draw=~request.draw, sampling=sampling)  # negative: no run's first draw


def _why_nothing(asks: list[CallRecord]) -> str:
    if not asks:
        return "no question was obtained"
    last = asks[-1]
    detail = f": {last.detail}" if last.detail else ""
    return f"no question was obtained (the question-writing calls ended {', '.join(call.outcome for call in asks)}{detail})"
