"""What one image will cost before any of it is known: the same requests that `examine` makes, with stand-ins for the texts.

The worst case is what the budget holds for a whole image. It counts every call, repeated question-writing included, at its
output limit. The expectation is a planning figure and promises nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unsaf_async.followup import Wanted
from unsaf_async.packs import AUDIT, CONFIDENCE, QUESTIONS, SUPPORT, VERDICT, Pack
from unsaf_async.records import EncodedImage, Request, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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

EXPECTED_OUTPUT: dict[Role, int] = {
    "ask": 25, "answer": 40, "judge": 10, "ground": 10, "audit": 10, "confidence": 10, "p-true": 1, "sample": 40,
}  # fmt: skip
"""Tokens written per question. Assumed; what a run really writes stands in its score."""
EXPECTED_REASONING_SHARE = 0.25
"""Of the room that a profile gives a thinking model, how much it is expected to use."""
EXPECTED_JUDGED_SHARE = 0.4
"""Of the responses, how many the rules leave to the LLM judge."""


EXPECTED_ANSWERED_SHARE = 0.9
"""Of the answerable questions, how many are expected to be answered, so that a grounded judge looks at the answer."""


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


@dataclass
class _Bill:
    """What a number of calls comes to."""

    worst: float = 0.0
    expected: float = 0.0
    calls: float = 0.0

    def add(
        self, model: Priced, worst: Request, likely: Request, most: int, expected: float, questions: int = 1
    ) -> None:
        """At most `most` calls, `expected` of which are expected. questions: how many each writes."""
        reasoning = model.caller.profile.output_tokens.reasoning
        output = questions * EXPECTED_OUTPUT[likely.role] + int(EXPECTED_REASONING_SHARE * reasoning)
        self.worst += most * model.meter.worst_nano_usd(worst)
        self.expected += expected * model.meter.expected_nano_usd(likely, output)
        self.calls += expected

    @property
    def quote(self) -> Quote:
        return Quote(int(self.worst), int(self.expected), round(self.calls))


@dataclass(frozen=True)
class Planner:
    """Quotes images. judges: of what the rules leave open; () where no LLM judges. wanted, auditors, grounder: what is asked
    beside the answers, and of whom."""

    subject: Priced
    judges: tuple[Priced, ...]
    pack: Pack
    questions: int
    wanted: Wanted = field(default_factory=Wanted)
    auditors: tuple[Priced, ...] = ()
    grounder: Priced | None = None

    @classmethod
    def of(
        cls, priced: Callable[[str], Priced], judges: Sequence[str], pack: Pack, questions: int, wanted: Wanted
    ) -> Planner:
        """The planner of a run. priced: the model with a name; "self" is the measured one."""
        return cls(
            priced("self"),
            tuple(map(priced, judges)),
            pack,
            questions,
            wanted,
            tuple(map(priced, wanted.auditors)),
            priced(judges[0]) if wanted.grounded else None,
        )

    def quote(self, width: int, height: int) -> Quote:
        """What an image sent at `width` x `height` pixels costs, whole, if the model writes the questions."""
        bill, image = _Bill(), _stand_in(width, height)
        for label in QUESTIONS:
            first, again = (
                self.subject.caller.request(
                    "ask",
                    self.pack.ask(label, self.questions, written),
                    image=image,
                    schema=self.pack.schema(label),
                )
                for written in ([], [_LONG] * self.questions)  # the list, and the one repetition where it falls short
            )
            bill.add(self.subject, first, first, most=1, expected=1, questions=self.questions)
            bill.add(self.subject, again, again, most=1, expected=0)
        self._answers(bill, image, 2 * self.questions)
        self._beside(bill, image, self.questions, self.questions)
        return bill.quote

    def quote_given(self, width: int, height: int, answerable: int, unanswerable: int) -> Quote:
        """What an image costs with so many questions that are given."""
        bill, image = _Bill(), _stand_in(width, height)
        self._answers(bill, image, answerable + unanswerable)
        self._beside(bill, image, answerable, unanswerable)
        return bill.quote

    def quote_beside(self, width: int, height: int, answerable: int, unanswerable: int) -> Quote:
        """What is asked beside the answers costs for an image with so many answered questions."""
        bill = _Bill()
        self._beside(bill, _stand_in(width, height), answerable, unanswerable)
        return bill.quote

    def _answers(self, bill: _Bill, image: EncodedImage, number: int) -> None:
        subject, pack = self.subject, self.pack
        answer, likely = (subject.caller.request("answer", pack.answer(text), image=image) for text in (_LONG, _LIKELY))
        bill.add(subject, answer, likely, most=number, expected=number)
        for judge in self.judges:
            verdict, likely = (
                judge.caller.request("judge", pack.judge(*texts), schema=VERDICT)
                for texts in ((_LONG, self._long_response), (_LIKELY, _LIKELY_RESPONSE))
            )
            bill.add(judge, verdict, likely, most=number, expected=EXPECTED_JUDGED_SHARE * number)

    def _beside(self, bill: _Bill, image: EncodedImage, answerable: int, unanswerable: int) -> None:
        number = answerable + unanswerable
        subject, pack, wanted = self.subject, self.pack, self.wanted
        for auditor in self.auditors:
            audit, likely = (
                auditor.caller.request("audit", pack.audit(text), image=image, schema=AUDIT)
                for text in (_LONG, _LIKELY)
            )
            bill.add(auditor, audit, likely, most=number, expected=number)
        pairs = ((_LONG, self._long_response), (_LIKELY, _LIKELY_RESPONSE))
        if self.grounder:
            caller = self.grounder.caller
            worst, likely = (
                caller.request("ground", pack.ground(*pair), image=image, schema=SUPPORT) for pair in pairs
            )
            bill.add(self.grounder, worst, likely, most=answerable, expected=EXPECTED_ANSWERED_SHARE * answerable)
        if wanted.stated:
            worst, likely = (
                subject.caller.request("confidence", pack.confidence(*pair), image=image, schema=CONFIDENCE)
                for pair in pairs
            )
            bill.add(subject, worst, likely, most=number, expected=number)
        if wanted.p_true:
            worst, likely = (subject.caller.request("p-true", pack.p_true(*pair), image=image) for pair in pairs)
            bill.add(subject, worst, likely, most=number, expected=number)
        worst, likely = (subject.caller.request("sample", pack.answer(text), image=image) for text in (_LONG, _LIKELY))
        bill.add(subject, worst, likely, most=wanted.samples * number, expected=wanted.samples * number)

    @property
    def _long_response(self) -> str:
        return "x" * (BYTES_PER_TOKEN * self.subject.caller.profile.output_tokens.limit("answer"))


_LONG = "x" * QUESTION_BYTES
_LIKELY = "x" * 60
_LIKELY_RESPONSE = "x" * 160


def _stand_in(width: int, height: int) -> EncodedImage:
    return EncodedImage(b"", "image/jpeg", width, height, "")
