"""What one image will cost before any of it is known: the same requests that `examine` makes, with stand-ins for the texts.

The worst case is what the budget holds for a whole image. It counts every call, repeated question-writing included, at its
output limit. The expectation is a planning figure and promises nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TYPE_CHECKING

from unsaf_async.examine.extras import ExtraMeasures
from unsaf_async.examine.judge import call_groups, group_sizes, lacks_verdict, left_open
from unsaf_async.examine.options import MOST, MOST_CHARS
from unsaf_async.prompts import AUDIT, CONFIDENCE, QUESTIONS, SUPPORT, Pack
from unsaf_async.records import EncodedImage, Label, Request, Role, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from unsaf_async.calls.cost import CostModel
    from unsaf_async.calls.request import RequestBuilder
    from unsaf_async.records import Examination, GivenQuestion, Question

QUESTION_BYTES = 300
"""The longest question that is asked (`parse.MAX_CHARS` characters), if it is ASCII; others have up to 4 bytes a character.

So an image may need more than its quote, and the cap holds all the same: each call reserves its own worst case, by the bytes
that it really sends. What it needs beyond what is available of its image's money is asked of the budget; if that has none, the
call does not leave, and fails (`Unfunded`). Quoting 1,200 bytes instead would bound questions in every script, and make the
worst case of an image dearer, by 4 % (gpt-4o-mini) to 29 % (gpt-4o), so that fewer would be begun under a cap.
"""
BYTES_PER_TOKEN = 4
"""Of a response as the judge reads it back. For a denser one, the same holds as for a longer question."""

EXPECTED_OUTPUT: dict[Role, int] = {
    "ask": 25, "answer": 40, "choice": 5, "judge": 10, "ground": 10, "audit": 10, "confidence": 10, "p-true": 1, "sample": 40,
    "control": 40,
}  # fmt: skip
"""Tokens written per question. Assumed; what a run really writes stands in its score."""
EXPECTED_OPTIONS = 30
"""Tokens written per question besides, where it comes with options."""
EXPECTED_REASONING_SHARE = 0.25
"""Of the room that a profile gives a thinking model, how much it is expected to use."""
EXPECTED_JUDGED_SHARE = 0.4
"""Of the responses, how many the rules leave to the LLM judge."""


EXPECTED_ANSWERED_SHARE = 0.9
"""Of the answerable questions, how many are expected to be answered, so that a grounded judge looks at the answer."""


@dataclass(frozen=True)
class Quote:
    """One image's price, in nano-dollars, and number of calls.

    worst: an upper bound, for texts within `QUESTION_BYTES` and `BYTES_PER_TOKEN`. expected: a planning figure. saved: what the
    provider's cache of prompts is expected to take off it, which it lacks already.
    """

    worst_nano_usd: int
    expected_nano_usd: int
    calls: int
    saved_nano_usd: int = 0


@dataclass(frozen=True)
class Priced:
    """One model with its prices."""

    builder: RequestBuilder
    cost_model: CostModel


@dataclass
class _Bill:
    """What a number of calls comes to."""

    worst: float = 0.0
    expected: float = 0.0
    calls: float = 0.0
    saved: float = 0.0

    def add(
        self,
        model: Priced,
        worst: Request,
        likely: Request,
        most: int,
        expected: float,
        questions: int = 1,
        more: int = 0,
    ) -> None:
        """At most `most` calls, `expected` of which are expected. questions: how many each writes, each with `more` tokens."""
        reasoning = model.builder.profile.output_tokens.reasoning
        output = questions * (EXPECTED_OUTPUT[likely.role] + more) + int(EXPECTED_REASONING_SHARE * reasoning)
        self.worst += most * model.cost_model.worst_nano_usd(worst)
        one = model.cost_model.expected_nano_usd(likely, output)
        self.expected += expected * one
        self.saved += expected * (model.cost_model.uncached_nano_usd(likely, output) - one)
        self.calls += expected

    @property
    def quote(self) -> Quote:
        return Quote(int(self.worst), int(self.expected), round(self.calls), int(self.saved))


@dataclass(frozen=True)
class Planner:
    """Quotes images.

    judges: of what the rules leave open; () where no LLM judges. together: about how many responses each of them is asked in one
    call, at most. extras, auditors, grounder: what is asked in addition to the
    answers, and of whom.
    """

    subject: Priced
    judges: tuple[Priced, ...]
    pack: Pack
    questions: int
    extras: ExtraMeasures = field(default_factory=ExtraMeasures)
    auditors: tuple[Priced, ...] = ()
    grounder: Priced | None = None
    together: int = 1
    _known: dict[tuple[object, ...], Quote] = field(default_factory=dict, init=False, repr=False, compare=False)
    """By the image's size and what the bounds go by: many images of a run have the same."""

    @classmethod
    def of(
        cls,
        priced: Callable[[str], Priced],
        judges: Sequence[str],
        pack: Pack,
        questions: int,
        extras: ExtraMeasures,
        *,
        together: int = 1,
    ) -> Planner:
        """The planner of a run.

        Args:
            priced: Gives the model with a name; "self" is the measured one.
            judges: The names of those that judge.
            pack: The prompts.
            questions: K, per label.
            extras: What is asked in addition to the answers.
            together: About how many responses a judge is asked in one call, at most.

        Returns:
            The planner.
        """
        return cls(
            priced("self"),
            tuple(map(priced, judges)),
            pack,
            questions,
            extras,
            tuple(map(priced, extras.auditors)),
            priced(judges[0]) if extras.grounded else None,
            together,
        )

    def quote(self, width: int, height: int) -> Quote:
        """What an image costs, whole, if the model writes the questions.

        Args:
            width: Pixels, as sent.
            height: Pixels, as sent.

        Returns:
            The quote.
        """
        calls = self.extras.calls(2 * self.questions, written=True)
        return self._once((width, height), lambda: self._for_calls(calls)._quote(_stand_in(width, height)))  # noqa: SLF001

    def _once(self, image: tuple[object, ...], quote: Callable[[], Quote]) -> Quote:
        """What `quote` gives, the same for all images of which `image` says the same."""
        key = (*image, *(model.cost_model.state for model in self._models))
        if key not in self._known:
            self._known[key] = quote()
        return self._known[key]

    def _for_calls(self, calls: Mapping[Role, int]) -> Planner:
        """This planner for an image about which so many calls are made, by role."""

        def told(model: Priced) -> Priced:
            return replace(model, builder=replace(model.builder, calls=calls))

        return replace(
            self,
            subject=told(self.subject),
            judges=tuple(map(told, self.judges)),
            auditors=tuple(map(told, self.auditors)),
            grounder=self.grounder and told(self.grounder),
        )

    @property
    def _models(self) -> tuple[Priced, ...]:
        return (self.subject, *self.judges, *self.auditors, *((self.grounder,) if self.grounder else ()))

    def _quote(self, image: EncodedImage) -> Quote:
        bill = _Bill()
        for label in QUESTIONS:
            first, again = (
                self.subject.builder.request(
                    "ask",
                    self.pack.ask(label, self.questions, written),
                    image=image,
                    schema=self.pack.schema(label),
                )
                for written in ([], [_text()] * self.questions)  # the list, and the one repetition where it falls short
            )
            more = EXPECTED_OPTIONS * (self.pack.form != "open")
            bill.add(self.subject, first, first, most=1, expected=1, questions=self.questions, more=more)
            bill.add(self.subject, again, again, most=1, expected=0)
        self._questions(
            bill, image, Counter(dict.fromkeys(((label, QUESTION_BYTES) for label in QUESTIONS), self.questions))
        )
        return bill.quote

    def quote_given(self, width: int, height: int, given: Sequence[GivenQuestion]) -> Quote:
        """What an image costs with given questions, whose lengths are known.

        Args:
            width: Pixels, as sent.
            height: Pixels, as sent.
            given: The questions.

        Returns:
            The quote.
        """
        asked = Counter((each.intended, _bytes(each.text)) for each in given)

        def quote() -> Quote:
            bill = _Bill()
            planner = self._for_calls(self.extras.calls(len(given), written=False))
            planner._questions(bill, _stand_in(width, height), asked)  # noqa: SLF001 - this very class's
            return bill.quote

        return self._once((width, height, frozenset(asked.items())), quote)

    def quote_missing(self, width: int, height: int, examination: Examination) -> Quote:
        """What it costs to ask what is wanted of an image's answered questions and is not there yet.

        Args:
            width: Pixels, as sent.
            height: Pixels, as sent.
            examination: The image's, with what is known of its questions.

        Returns:
            The quote; all 0 if nothing is missing.
        """
        bill, questions = _Bill(), examination.questions
        planner = self._for_calls(self.extras.calls(len(questions), written=False))
        missing = Counter(
            (what, which if what == "audit" else "", _bytes(question.text))
            for question in questions
            for what, which in self.extras.pending(question)
        )
        for (what, which, size), number in missing.items():
            planner._extra(bill, _stand_in(width, height), what, which, size, number)  # noqa: SLF001 - this very class's
        again = Counter(_bytes(questions[place].text) for place in self.extras.controls.due(examination))
        for size, number in again.items():
            planner._answers(bill, _stand_in(width, height), "control", size, number)  # noqa: SLF001
        return bill.quote

    def _questions(self, bill: _Bill, image: EncodedImage, asked: Counter[tuple[Label, int]]) -> None:
        """Answers, verdicts and all extra measures, for so many questions of each label and length in bytes."""
        extras = self.extras
        if self.together > 1:
            self._judged_together(bill, [size for (_, size), number in asked.items() for _ in range(number)])
        for (label, size), number in asked.items():
            if self.pack.form != "open":
                self._extra(bill, image, "choice", "", size, number)
            if self.pack.form != "choice":
                # Where several are judged in one call, at worst no verdict can be read in its reply, and each is asked alone.
                self._answers(bill, image, "answer", size, number, EXPECTED_JUDGED_SHARE if self.together == 1 else 0.0)
            for name in extras.auditors:
                self._extra(bill, image, "audit", name, size, number)
            if extras.grounded and label == "answerable":
                self._extra(bill, image, "support", "", size, number, EXPECTED_ANSWERED_SHARE)
            for what, times in (("stated", extras.stated), ("p_true", extras.p_true), ("sample", extras.samples)):
                self._extra(bill, image, what, "", size, int(times) * number)
        again = {size: number for (label, size), number in asked.items() if label == "answerable"}
        left = extras.controls.number(sum(again.values()))
        for size in sorted(again, reverse=True):  # the longest ones at worst
            if number := min(left, again[size]):
                self._answers(bill, image, "control", size, number)
                left -= number

    def _answers(
        self,
        bill: _Bill,
        image: EncodedImage,
        role: Role,
        size: int,
        number: int,
        judged_share: float = EXPECTED_JUDGED_SHARE,
    ) -> None:
        """Answers to so many questions, and a call about each for its verdict. A control's picture counts as its image.

        judged_share: of the verdicts, how many are expected to need that call. Each image is shown once in another's place.
        """
        subject, pack = self.subject, self.pack
        texts = (_text(size), _LIKELY)
        answer, likely = (subject.builder.request(role, pack.answer(text), image=image) for text in texts)
        bill.add(subject, answer, likely, most=number, expected=number)
        for judge in self.judges:
            verdict, likely = (
                judge.builder.request("judge", pack.judge(*pair), schema=pack.verdict) for pair in self._pairs(size)
            )
            bill.add(judge, verdict, likely, most=number, expected=judged_share * number)

    def _judged_together(self, bill: _Bill, sizes: Sequence[int]) -> None:
        """The calls about several responses, of questions of these lengths in bytes."""
        pairs = [self._pairs(size)[0] for size in sizes]
        likely = EXPECTED_JUDGED_SHARE * len(sizes)
        expected = max(1, round(likely / ceil(likely / self.together))) if sizes else 0
        for judge in self.judges:
            usual = _about_several(judge, self.pack, [(_LIKELY, _LIKELY_RESPONSE)] * expected)
            begin = 0
            for number in group_sizes(len(sizes), self.together):
                worst = _about_several(judge, self.pack, pairs[begin : begin + number])
                bill.add(judge, worst, usual, most=1, expected=0)
                begin += number
            if sizes:
                bill.add(judge, usual, usual, most=0, expected=likely / expected, questions=expected)

    def _extra(
        self, bill: _Bill, image: EncodedImage, what: str, which: str, size: int, number: int, share: float = 1.0
    ) -> None:
        """So many calls of one extra measure (see `ExtraMeasures.pending`), `share` of which are expected."""
        pack, model = self.pack, self.subject
        role: Role
        schema: Schema | None
        match what:
            case "audit":
                model = self.auditors[self.extras.auditors.index(which)]
                prompts = tuple(pack.audit(text) for text in (_text(size), _LIKELY))
                role, schema = "audit", AUDIT
            case "choice":
                pairs = ((_text(size), _LONG_OPTIONS), (_LIKELY, _LIKELY_OPTIONS))
                prompts = tuple(pack.choose(*pair) for pair in pairs)
                role, schema = "choice", None
            case "support":
                assert self.grounder is not None
                model = self.grounder
                prompts = tuple(pack.ground(*pair) for pair in self._pairs(size))
                role, schema = "ground", SUPPORT
            case "stated":
                prompts = tuple(pack.confidence(*pair) for pair in self._pairs(size))
                role, schema = "confidence", CONFIDENCE
            case "p_true":
                prompts = tuple(pack.p_true(*pair) for pair in self._pairs(size))
                role, schema = "p-true", None
            case _:
                prompts = tuple(pack.answer(text) for text in (_text(size), _LIKELY))
                role, schema = "sample", None
        worst, likely = (model.builder.request(role, prompt, image=image, schema=schema) for prompt in prompts)
        bill.add(model, worst, likely, most=number, expected=share * number)

    def _pairs(self, size: int) -> tuple[tuple[str, str], tuple[str, str]]:
        """A question of `size` bytes with the longest response, and a likely pair."""
        return (_text(size), self._long_response), (_LIKELY, _LIKELY_RESPONSE)

    @property
    def _long_response(self) -> str:
        return "x" * (BYTES_PER_TOKEN * self.subject.builder.profile.output_tokens.limit("answer"))


def quote_verdicts(
    judges: Sequence[Priced],
    pack: Pack,
    questions: Sequence[Question],
    together: int = 1,
    *,
    controls: Sequence[Question] = (),
) -> Quote:
    """What it costs to have answers judged that are known.

    Args:
        judges: Who judges what the rules leave open.
        pack: The prompts.
        questions: An image's, with their responses.
        together: About how many responses a judge is asked in one call, at most.
        controls: Those whose controls are judged as well, each alone, where they have no verdict.

    Returns:
        The quote, from the very prompts; all 0 where the rules decide, or nobody judges.
    """
    bill = _Bill()
    pairs, texts = [], []
    for question in questions:
        text = left_open(question.text, question.response, question.answer.finish_reason)
        if question.answer.outcome == "ok" and text is not None:
            pairs.append((question.text, question.response))
            texts.append((question.text, text))
    alone = []
    for question in controls:
        if (control := question.control) is not None and lacks_verdict(control):
            text = left_open(question.text, control.response, control.call.finish_reason)
            alone += [(question.text, text)] if text is not None else []
    for judge in judges:
        for each in alone:
            request = judge.builder.request("judge", pack.judge(*each), schema=pack.verdict)
            bill.add(judge, request, request, most=1, expected=1)
        for group in call_groups(pairs, together):
            several = len(group) > 1
            if several:
                request = _about_several(judge, pack, [texts[place] for place in group])
                bill.add(judge, request, request, most=1, expected=1, questions=len(group))
            for place in group:  # at worst no verdict can be read in the reply, and each is asked alone
                request = judge.builder.request("judge", pack.judge(*texts[place]), schema=pack.verdict)
                bill.add(judge, request, request, most=1, expected=0 if several else 1)
    return bill.quote


def _about_several(judge: Priced, pack: Pack, pairs: Sequence[tuple[str, str]]) -> Request:
    """The call about these questions and responses; of one the call about it alone."""
    if len(pairs) == 1:
        return judge.builder.request("judge", pack.judge(*pairs[0]), schema=pack.verdict)
    return judge.builder.request("judge", pack.judge_together(pairs), schema=pack.verdicts, verdicts=len(pairs))


def _text(size: int = QUESTION_BYTES) -> str:
    return "x" * size


def _bytes(question: str) -> int:
    """How long a known question counts: never less than one that the model may write."""
    return max(QUESTION_BYTES, len(question.encode()))


_LIKELY = "x" * 60
_LONG_OPTIONS = ("x" * MOST_CHARS,) * (MOST + 1)
_LIKELY_OPTIONS = ("x" * 20,) * 5
_LIKELY_RESPONSE = "x" * 160


def _stand_in(width: int, height: int) -> EncodedImage:
    return EncodedImage(b"", "image/jpeg", width, height, "")
