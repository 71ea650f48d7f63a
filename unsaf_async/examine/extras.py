"""Extra measures of a question: is its label right, does the image support the answer, how sure is the model of it?

Each measure is a call of its own, kept with the question. A measure that is there is not taken again, so that a finished run
can be extended, and a call that failed can be tried once more.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from functools import cached_property
from math import exp
from typing import TYPE_CHECKING

from unsaf_async.calls.backends.outcome import is_open
from unsaf_async.calls.request import ModelClient, failed, record_of
from unsaf_async.errors import CallError
from unsaf_async.examine import parse
from unsaf_async.examine.controls import NONE, Wanted
from unsaf_async.examine.judge import MAX_RESPONSE_CHARS, lacks_verdict
from unsaf_async.examine.options import act_by_option
from unsaf_async.examine.rules import rule
from unsaf_async.prompts import AUDIT, CONFIDENCE, SUPPORT, Pack
from unsaf_async.records import Audit, Choice, Confidence, EncodedImage, Form, Question, Role, Sample, Support
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unsaf_async.records import Examination


@dataclass(frozen=True)
class ExtraMeasures:
    """Which extra measures of each question are wanted.

    auditors: the names of the models that say whether the image answers the question. grounded: whether a judge that sees the
    image says if it supports the answer. stated, p_true: whether the model is asked how sure it is. samples: how many further
    draws of the answer. controls: which questions are asked again without what answers them. verdicts: whether such as were
    asked again are judged anew. form: how questions are put; in both forms, the answer by option is taken beside that in free
    words.
    """

    auditors: tuple[str, ...] = ()
    grounded: bool = False
    stated: bool = False
    p_true: bool = False
    samples: int = 0
    controls: Wanted = NONE
    verdicts: bool = False
    form: Form = "open"

    @cached_property
    def _any(self) -> bool:
        asked = self.auditors or self.grounded or self.stated or self.p_true or self.samples
        return bool(asked) or self.form == "both"

    def calls(self, questions: int, *, written: bool) -> dict[Role, int]:
        """About how many calls an image takes whose prompts begin with it, by what they are for; no question is asked twice.

        Args:
            questions: Of the image, of both labels together.
            written: Whether the model writes them.

        Returns:
            The numbers, of all models together; a grounded judge looks at about half of the answers. Controls show another
            picture.
        """
        return {
            "ask": 2 * written,
            "answer": questions * (self.form != "choice"),
            "choice": questions * (self.form != "open"),
            "sample": questions * self.samples,
            "p-true": questions * self.p_true,
            "confidence": questions * self.stated,
            "audit": questions * bool(self.auditors),
            "ground": questions // 2 * self.grounded,
        }

    def lacks(self, examination: Examination) -> bool:
        """Whether anything that is wanted of an image's questions has to be asked, or asked again.

        Args:
            examination: With its answers, and what was measured so far.

        Returns:
            False where nothing is left.
        """
        unjudged = self.verdicts and any(lacks_verdict(each.control) for each in examination.questions)
        return unjudged or any(map(self.pending, examination.questions)) or bool(self.controls.due(examination))

    def pending(self, question: Question) -> list[tuple[str, str]]:
        """The measures of a question that have to be taken, or taken again.

        Args:
            question: With its answer, and the measures that were taken so far.

        Returns:
            (measure, which): "audit" with the auditor's name, "sample" with its number from "0", or "choice", "support",
            "stated" and "p_true" with "".
        """
        if not (self._any or question.samples):
            return []
        audits = {audit.auditor: audit.call for audit in question.audits}
        pending = [("audit", name) for name in self.auditors if is_open(audits.get(name))]
        if self.form == "both" and question.options and is_open(question.choice.call if question.choice else None):
            pending.append(("choice", ""))
        if question.answer.outcome != "ok" or question.unscored == "unreadable":
            return pending
        bears = question.intended == "answerable" and question.act == "answered" and question.unscored is None
        once = {
            "support": (self.grounded and bears, question.support),
            "stated": (self.stated, question.stated),
            "p_true": (self.p_true, question.p_true),
        }
        pending += [(what, "") for what, (wanted, got) in once.items() if wanted and is_open(got.call if got else None)]
        drawn = [sample.call for sample in question.samples]
        again = [number for number, call in enumerate(drawn) if is_open(call)]
        return pending + [("sample", str(number)) for number in (*again, *range(len(drawn), self.samples))]


@dataclass(frozen=True)
class Extras:
    """Takes the extra measures of a question.

    measures: which are wanted. subject: the model that answered. auditors: by name. grounder: name and model of the judge that
    sees the image; None: no grounded mode.
    """

    measures: ExtraMeasures
    pack: Pack
    subject: ModelClient
    auditors: Mapping[str, ModelClient] = field(default_factory=dict)
    grounder: tuple[str, ModelClient] | None = None

    async def measure(self, question: Question, image: EncodedImage) -> Question:
        """A question with all wanted measures. Those that are there stay; all calls go out at once.

        Args:
            question: With its answer.
            image: The image it is about.

        Returns:
            The question; a measure whose call failed is recorded as failed.
        """
        async with asyncio.TaskGroup() as group:
            tasks = {
                part: group.create_task(self._ask(*part, question, image))
                for part in self.measures.pending(question)
                if part[0] != "p_true" or not self.subject.refuses_logprobs
            }
        audits = {audit.auditor: audit for audit in question.audits}
        samples = dict(enumerate(question.samples))
        once: dict[str, Choice | Support | Confidence] = {}
        for (what, which), task in tasks.items():
            result = task.result()
            if isinstance(result, Audit):
                audits[result.auditor] = result
            elif isinstance(result, Sample):
                samples[int(which)] = result
            else:
                once[what] = result
        several = {"audits": tuple(audits.values()), "samples": tuple(samples[number] for number in sorted(samples))}
        return question.model_copy(update={**once, **several})

    async def _ask(self, what: str, which: str, question: Question, image: EncodedImage) -> _Measure:
        match what:
            case "audit":
                return await self._audit(which, self.auditors[which], question, image)
            case "choice":
                return await self._choice(question, image)
            case "support":
                return await self._support(question, image)
            case "stated":
                return await self._stated(question, image)
            case "p_true":
                return await self._p_true(question, image)
            case _:
                return await self._sample(int(which), question, image)

    async def _audit(self, name: str, client: ModelClient, question: Question, image: EncodedImage) -> Audit:
        prompt = self.pack.audit(question.text)
        try:
            reply = await client.ask("audit", prompt, image=image, schema=AUDIT)
        except CallError as error:
            return Audit(auditor=name, answerable=None, call=failed("audit", error))
        verdict = parse.choice(reply.text, ("answerable", "unanswerable")) if reply.outcome == "ok" else None
        call = record_of("audit", reply)
        return Audit(auditor=name, answerable=None if verdict is None else verdict == "answerable", call=call)

    async def _support(self, question: Question, image: EncodedImage) -> Support:
        assert self.grounder is not None
        name, client = self.grounder
        prompt = self.pack.ground(question.text, final_text(question.response).answer[:MAX_RESPONSE_CHARS])
        try:
            reply = await client.ask("ground", prompt, image=image, schema=SUPPORT)
        except CallError as error:
            return Support(judge=name, supported=None, call=failed("ground", error))
        verdict = parse.choice(reply.text, ("supported", "unsupported")) if reply.outcome == "ok" else None
        return Support(
            judge=name, supported=None if verdict is None else verdict == "supported", call=record_of("ground", reply)
        )

    async def _choice(self, question: Question, image: EncodedImage) -> Choice:
        assert question.options is not None
        prompt = self.pack.choose(question.text, question.options.texts)
        try:
            reply = await self.subject.ask("choice", prompt, image=image)
        except CallError as error:
            return Choice(call=failed("choice", error))
        whole = reply.outcome == "ok"
        act = act_by_option(question.text, reply.text, reply.finish_reason, question.options) if whole else None
        return Choice(response=reply.text, act=act, call=record_of("choice", reply))

    async def _stated(self, question: Question, image: EncodedImage) -> Confidence:
        prompt = self.pack.confidence(question.text, final_text(question.response).answer[:MAX_RESPONSE_CHARS])
        try:
            reply = await self.subject.ask("confidence", prompt, image=image, schema=CONFIDENCE)
        except CallError as error:
            return Confidence(value=None, call=failed("confidence", error), why="the call failed")
        call = record_of("confidence", reply)
        if reply.outcome != "ok":
            return Confidence(value=None, call=call, why=f"the reply was {reply.outcome}")
        percent = parse.percentage(reply.text)
        if percent is None:
            return Confidence(value=None, call=call, why="the reply names no number from 0 to 100")
        return Confidence(value=percent / 100, call=call)

    async def _p_true(self, question: Question, image: EncodedImage) -> Confidence:
        """P(True) of Kadavath et al., "Language Models (Mostly) Know What They Know" (2022), arXiv 2207.05221, section 3.

        The probability of the first token of the reply, "A" (true) or "B" (false): of the latter, its complement.
        """
        prompt = self.pack.p_true(question.text, final_text(question.response).answer[:MAX_RESPONSE_CHARS])
        try:
            reply = await self.subject.ask("p-true", prompt, image=image)
        except CallError as error:
            return Confidence(value=None, call=failed("p-true", error), why="the call failed")
        call = record_of("p-true", reply)
        if not reply.logprobs:
            return Confidence(value=None, call=call, why="the reply came without log-probabilities")
        letter = _LETTER.match(reply.text) if reply.outcome in ("ok", "truncated") else None
        if letter is None:
            return Confidence(value=None, call=call, why='the reply does not begin with the letter "A" or "B"')
        probability = min(1.0, exp(reply.logprobs[0]))
        return Confidence(value=probability if letter[1] == "A" else 1 - probability, call=call)

    async def _sample(self, number: int, question: Question, image: EncodedImage) -> Sample:
        prompt = self.pack.answer(question.text)
        try:
            reply = await self.subject.ask("sample", prompt, image=image, sample=number + 1)
        except CallError as error:
            return Sample(text="", act=None, call=failed("sample", error))
        whole = reply.outcome == "ok"
        act = rule(question.text, reply.text, reply.finish_reason) if whole else None
        return Sample(text=reply.text if whole else "", act=act, call=record_of("sample", reply))


_Measure = Audit | Choice | Support | Confidence | Sample

_LETTER = re.compile(r"([AB])(?:[).:,]|\s*\Z|\s+(?:True|False)\b)")
"""The letter as the reply's very first character, or the first log-probability would be another token's; and no article."""
