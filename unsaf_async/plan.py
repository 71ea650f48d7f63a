"""What one image will cost before any of it is known: the same requests that `examine` makes, with stand-ins for the texts.

The worst case is what the budget holds for a whole image. It counts every call, repeated question-writing included, at its
output limit. The expectation is a planning figure and promises nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.packs import QUESTIONS, VERDICT, Pack
from unsaf_async.records import EncodedImage, Request, Role

if TYPE_CHECKING:
    from unsaf_async.calls import Caller
    from unsaf_async.meter import Meter

QUESTION_BYTES = 300
"""The longest question that is asked (`parse.MAX_CHARS` characters), if it is ASCII; others have up to 4 bytes a character.

So an image may need more than its quote, and the cap holds all the same: each call reserves its own worst case, by the bytes
that it really sends. What it needs beyond what is left of its image's money is asked of the budget; if that has none, the
call does not leave, and fails (`Unfunded`). Quoting 1,200 bytes instead would bound questions in every script, and make the
worst case of an image dearer, by 4 % (gpt-4o-mini) to 29 % (gpt-4o), so that fewer would be begun under a cap.
"""
BYTES_PER_TOKEN = 4
"""Of a response as the judge reads it back. For a denser one, the same holds as for a longer question."""

EXPECTED_OUTPUT: dict[Role, int] = {"ask": 25, "answer": 40, "judge": 10}
"""Tokens written per question. Assumed; what a run really writes stands in its score."""
EXPECTED_REASONING_SHARE = 0.25
"""Of the room that a profile gives a thinking model, how much it is expected to use."""
EXPECTED_JUDGED_SHARE = 0.4
"""Of the responses, how many the rules leave to the LLM judge."""


@dataclass(frozen=True)
class Quote:
    """One image's price and number of calls. worst: an upper bound, for texts within `QUESTION_BYTES` and `BYTES_PER_TOKEN`.
    expected: a planning figure. In nano-dollars."""

    worst_nano_usd: int
    expected_nano_usd: int
    calls: int


@dataclass(frozen=True)
class Priced:
    """One model with its prices."""

    caller: Caller
    meter: Meter


@dataclass(frozen=True)
class Planner:
    """Quotes images. judge: None where no LLM judges."""

    subject: Priced
    judge: Priced | None
    pack: Pack
    questions: int

    def quote(self, width: int, height: int) -> Quote:
        """What an image sent at `width` x `height` pixels costs, whole."""
        image = EncodedImage(b"", "image/jpeg", width, height, "")
        question = "x" * QUESTION_BYTES
        limit = self.subject.caller.profile.output_tokens.limit("answer")
        worst = expected = 0.0
        for label in QUESTIONS:
            for written in ([], [question] * self.questions):  # the list, and the one repetition where it falls short
                prompt = self.pack.ask(label, self.questions, written)
                ask = self.subject.caller.request("ask", prompt, image=image, schema=self.pack.schema(label))
                worst += self.subject.meter.worst_nano_usd(ask)
                if not written:
                    expected += self._expected(self.subject, ask, self.questions)
        answer = self.subject.caller.request("answer", self.pack.answer(question), image=image)
        likely = self.subject.caller.request("answer", self.pack.answer("x" * 60), image=image)
        number = 2 * self.questions
        worst += number * self.subject.meter.worst_nano_usd(answer)
        expected += number * self._expected(self.subject, likely)
        if self.judge:
            prompt = self.pack.judge(question, "x" * (BYTES_PER_TOKEN * limit))
            verdict = self.judge.caller.request("judge", prompt, schema=VERDICT)
            likely = self.judge.caller.request("judge", self.pack.judge("x" * 60, "x" * 160), schema=VERDICT)
            worst += number * self.judge.meter.worst_nano_usd(verdict)
            expected += number * EXPECTED_JUDGED_SHARE * self._expected(self.judge, likely)
        calls = 2 + number + (round(number * EXPECTED_JUDGED_SHARE) if self.judge else 0)
        return Quote(int(worst), int(expected), calls)

    @staticmethod
    def _expected(model: Priced, request: Request, questions: int = 1) -> int:
        reasoning = model.caller.profile.output_tokens.reasoning
        output = questions * EXPECTED_OUTPUT[request.role] + int(EXPECTED_REASONING_SHARE * reasoning)
        return model.meter.expected_nano_usd(request, output)
