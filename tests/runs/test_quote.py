"""The plan: what an image can cost at worst is never less than what its calls can cost, added up."""

from __future__ import annotations

import asyncio
import json
from random import Random

import pytest
from doubles import Function, profile, reply
from hypothesis import given, settings
from hypothesis import strategies as st

from unsaf_async.calls.cost import CostModel
from unsaf_async.calls.request import ModelClient, RequestBuilder
from unsaf_async.examine.controls import Controls, Wanted
from unsaf_async.examine.examiner import Examiner
from unsaf_async.examine.extras import ExtraMeasures, Extras
from unsaf_async.examine.judge import Judge
from unsaf_async.prompts import QUESTIONS, load_pack
from unsaf_async.providers.prices import Price
from unsaf_async.providers.profile import OutputTokens, Takes
from unsaf_async.records import EncodedImage, Examination, GivenQuestion, ImageRecord, Request
from unsaf_async.runs.quote import BYTES_PER_TOKEN, QUESTION_BYTES, Planner, Priced, Quote

PACK = load_pack("unsaf")


def priced(price=None, **fields) -> Priced:
    model = profile(price=price or Price(input_usd_per_mtok=2.5, output_usd_per_mtok=10.0), **fields)
    return Priced(RequestBuilder(model, 0, 0), CostModel(model, model.price))


def planner(questions, judge=True, **fields) -> Planner:
    one = priced(**fields)
    one = Priced(RequestBuilder(one.builder.profile, questions, 0), one.cost_model)
    return Planner(one, (one,) if judge else (), PACK, questions)


def sentence(random: Random, size: int) -> str:
    """A question of exactly `size` bytes, unlike any other."""
    start = f"What is thing number {random.randrange(10**9)} of "
    return start + "x" * (size - len(start) - 1) + "?"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), questions=st.integers(1, 8), schema=st.booleans())
def test_no_image_can_need_more_than_its_quote(seed, questions, schema):
    """The worst image: lists that fall short, the longest questions and responses, every response for the LLM judge."""
    random = Random(seed)
    plan = planner(questions, takes=Takes(json_schema=schema))
    limit = plan.subject.builder.profile.output_tokens.limit("answer")
    needed = calls = 0

    def model(request):
        nonlocal needed, calls
        needed += plan.subject.cost_model.worst_nano_usd(request)
        calls += 1
        match request.role:
            case "ask":
                count = random.randint(0, questions)
                return reply(
                    json.dumps({"questions": [{"question": sentence(random, QUESTION_BYTES)} for _ in range(count)]})
                )
            case "answer":
                return reply(
                    "Hard to say, perhaps this, perhaps that, on balance " + "y" * (BYTES_PER_TOKEN * limit - 60) + "."
                )
            case _:
                return reply('{"verdict": "answered"}')

    async def main():
        builder = plan.subject.builder
        image = EncodedImage(b"", "image/jpeg", 640, 480, "")
        subject = ModelClient(builder, Function(model))
        examiner = Examiner(subject, Judge(PACK, (("self", subject),)), PACK, questions)
        return await examiner.examine(ImageRecord(id="a", path="a"), image)

    examination = asyncio.run(main())
    quote = plan.quote(640, 480)
    assert needed <= quote.worst_nano_usd
    assert len(examination.questions) <= 2 * questions
    assert quote.expected_nano_usd <= quote.worst_nano_usd


def test_a_judge_and_more_questions_and_thinking_make_an_image_dearer():
    plain = planner(6, judge=False).quote(640, 480)
    assert planner(6).quote(640, 480).worst_nano_usd > plain.worst_nano_usd
    assert planner(7, judge=False).quote(640, 480).worst_nano_usd > plain.worst_nano_usd
    thinking = planner(6, judge=False, output_tokens=OutputTokens(reasoning=4000)).quote(640, 480)
    assert thinking.worst_nano_usd > plain.worst_nano_usd
    assert thinking.expected_nano_usd > plain.expected_nano_usd
    assert planner(6).quote(640, 480).expected_nano_usd > plain.expected_nano_usd


def test_a_quote_counts_an_images_calls():
    assert planner(6, judge=False).quote(64, 64).calls == 2 + 12
    assert planner(6).quote(64, 64).calls == 2 + 12 + 5


def test_a_quote_is_reckoned_anew_where_a_call_has_cost_more_than_its_bound():
    plan = planner(3)
    before = plan.quote(100, 100)
    assert plan.quote(100, 100) is before
    assert plan.quote(2000, 1000) is not before
    request = plan.subject.builder.request("answer", PACK.answer("What is this?"))
    plan.subject.cost_model.bound_broken(request, 2 * plan.subject.cost_model.worst_nano_usd(request))
    assert plan.quote(100, 100).worst_nano_usd == pytest.approx(2 * before.worst_nano_usd, rel=1e-6)


def test_a_free_model_costs_nothing():
    quote = planner(6, price=Price(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)).quote(640, 480)
    assert (quote.worst_nano_usd, quote.expected_nano_usd) == (0, 0)


def test_a_dear_judge_is_reckoned_at_its_own_price():
    cheap = planner(6)
    dear = Planner(cheap.subject, (priced(Price(input_usd_per_mtok=250.0, output_usd_per_mtok=1000.0)),), PACK, 6)
    free = Planner(cheap.subject, (priced(Price(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)),), PACK, 6)
    alone = planner(6, judge=False).quote(64, 64).worst_nano_usd
    assert free.quote(64, 64).worst_nano_usd == alone
    judged = cheap.quote(64, 64).worst_nano_usd - alone
    assert dear.quote(64, 64).worst_nano_usd - alone == pytest.approx(100 * judged, rel=1e-6)


# --- to the nano-dollar: a quote is what the calls of an image come to, added up --------------------------------------

IMAGE = EncodedImage(b"", "image/jpeg", 640, 480, "")
JUDGES = ("judge-a", "self", "judge-b")
CONTROLS = Wanted(("blank", "other"), per_image=2)
"""All answerable questions of an image once more, as there are four of them or fewer."""
WANTED = ExtraMeasures(
    auditors=("auditor-a", "auditor-b"), grounded=True, stated=True, p_true=True, samples=3, controls=CONTROLS
)
NOTHING = ExtraMeasures()
MODELS = {
    name: priced(Price(input_usd_per_mtok=cost, output_usd_per_mtok=7 * cost), output_tokens=OutputTokens(reasoning=room))
    for name, cost, room in (
        ("self", 1.0, 0), ("judge-a", 2.1, 0), ("judge-b", 4.3, 40), ("auditor-a", 8.9, 0), ("auditor-b", 17.3, 400),
    )
}  # fmt: skip
"""Each at a price of its own; two of them think."""
REPLIES = {
    "judge": '{"verdict": "answered"}',
    "ground": '{"verdict": "supported"}',
    "audit": '{"verdict": "answerable"}',
    "confidence": '{"confidence": 90}',
    "p-true": "A",
}
TOKENS = {
    "ask": 25,
    "answer": 40,
    "judge": 10,
    "ground": 10,
    "audit": 10,
    "confidence": 10,
    "p-true": 1,
    "sample": 40,
} | {"control": 40}
"""Expected of each reply; an ask: of each question."""
OPEN = "Hard to say, perhaps this, perhaps that, on balance "
LONGEST = OPEN + "y" * (4 * 300 - len(OPEN))
"""As long as the limit of an answer, at four bytes a token, and left open by the rules."""
LIKELY = OPEN + "y" * (160 - len(OPEN))

Call = tuple[Priced, Request]


def questions(*sizes: int, intended: str = "answerable") -> list[GivenQuestion]:
    return [GivenQuestion(text=sentence(Random(n), size), intended=intended) for n, size in enumerate(sizes)]


GIVEN = [
    *questions(300, 300, 420),
    *questions(300, 510, 510, intended="unanswerable"),
    GivenQuestion(text="Où est-ce " + "é" * 200 + " ?", intended="answerable"),
]
"""No shorter than a question of the model's own may be; the last has fewer characters than bytes."""
LIKELY_GIVEN = [*questions(60, 60, 60), *questions(60, 60, intended="unanswerable")]


def asked(given: list[GivenQuestion], response: str, wanted: ExtraMeasures) -> tuple[Examination, list[Call]]:
    """The examination of an image with these questions, each answered so and left to all judges, and its calls."""
    calls: list[Call] = []
    return asyncio.run(
        _examiner(calls, response, wanted).examine_given(ImageRecord(id="a", path="a"), IMAGE, given)
    ), calls


def completed(examination: Examination, wanted: ExtraMeasures, response: str) -> list[Call]:
    """The calls that bring what is wanted of an examination and is not there, with this response to each question."""
    calls: list[Call] = []
    asyncio.run(_examiner(calls, response, wanted).complete(examination, IMAGE))
    return calls


def _examiner(calls: list[Call], response: str, wanted: ExtraMeasures) -> Examiner:
    def client(name: str) -> ModelClient:
        def answer(request: Request):
            calls.append((MODELS[name], request))
            return reply(REPLIES.get(request.role, response), logprobs=(-0.1,))

        return ModelClient(MODELS[name].builder, Function(answer))

    clients = {name: client(name) for name in MODELS}
    auditors = {name: clients[name] for name in wanted.auditors}
    extras = Extras(wanted, PACK, clients["self"], auditors, (JUDGES[0], clients[JUDGES[0]]))
    judge = Judge(PACK, tuple((name, clients[name]) for name in JUDGES))
    return Examiner(
        clients["self"], judge, PACK, 2, extras, Controls(wanted.controls, clients["self"], judge, PACK, shown)
    )


async def shown(_: object) -> tuple[EncodedImage, str]:
    return IMAGE, ""


def worst(calls: list[Call]) -> int:
    return sum(model.cost_model.worst_nano_usd(request) for model, request in calls)


def expected(calls: list[Call], shares: dict[str, float]) -> float:
    """What the calls will probably cost, if of those of a role only a share is made."""
    return sum(
        shares.get(request.role, 1.0)
        * model.cost_model.expected_nano_usd(
            request, TOKENS[request.role] + model.builder.profile.output_tokens.reasoning // 4
        )
        for model, request in calls
    )


def of_all(wanted: ExtraMeasures) -> Planner:
    return Planner.of(MODELS.__getitem__, JUDGES, PACK, 2, wanted)


@pytest.mark.parametrize("wanted", [WANTED, NOTHING, ExtraMeasures(stated=True), ExtraMeasures(controls=CONTROLS)])
def test_given_questions_are_quoted_at_what_their_longest_calls_cost(wanted):
    examination, calls = asked(GIVEN, LONGEST, wanted)
    assert sum(request.role == "judge" for _, request in calls) == 3 * len(
        [*examination.questions, *(each for each in examination.questions if each.control)]
    )
    assert of_all(wanted).quote_given(640, 480, GIVEN).worst_nano_usd == worst(calls)


@pytest.mark.parametrize("wanted", [WANTED, NOTHING, ExtraMeasures(p_true=True), ExtraMeasures(controls=CONTROLS)])
def test_given_questions_are_expected_to_cost_what_likely_calls_of_them_do(wanted):
    """Of two in five responses the rules leave the judging to the judges; nine in ten answerable questions are answered."""
    _, calls = asked(LIKELY_GIVEN, LIKELY, wanted)
    quote = of_all(wanted).quote_given(640, 480, LIKELY_GIVEN)
    shares = {"judge": 0.4, "ground": 0.9}
    assert quote.expected_nano_usd == pytest.approx(expected(calls, shares), abs=1)
    assert quote.calls == round(sum(shares.get(request.role, 1.0) for _, request in calls))


def test_a_short_given_question_is_quoted_as_one_that_the_model_may_write():
    plan = of_all(WANTED)
    quote = plan.quote_given(640, 480, questions(60))
    assert quote is plan.quote_given(640, 480, questions(300)), "quoted once"
    assert quote != plan.quote_given(640, 480, questions(60, 60))


def test_questions_that_the_model_writes_are_quoted_as_given_ones_and_the_writing_of_two_lists_a_label():
    """The second list is asked for where the first falls short; that is not expected."""
    plan, model = of_all(WANTED), MODELS["self"]
    ask = [
        [
            model.builder.request("ask", PACK.ask(label, 2, written), image=IMAGE, schema=QUESTIONS[label])
            for label in QUESTIONS
        ]
        for written in ([], ["x" * 300] * 2)
    ]
    given = plan.quote_given(640, 480, [*questions(300, 300), *questions(300, 300, intended="unanswerable")])
    quote = plan.quote(640, 480)
    first, again = ([(model, request) for request in requests] for requests in ask)
    assert quote.worst_nano_usd == given.worst_nano_usd + worst(first + again)
    listed = sum(model.cost_model.expected_nano_usd(request, 2 * TOKENS["ask"]) for _, request in first)
    assert quote.expected_nano_usd == pytest.approx(given.expected_nano_usd + listed, abs=1)
    assert quote.calls == given.calls + 2


MISSING = [WANTED, ExtraMeasures(auditors=("auditor-b",)), ExtraMeasures(grounded=True), ExtraMeasures(samples=3)]
MISSING.append(ExtraMeasures(controls=CONTROLS))


@pytest.mark.parametrize("wanted", MISSING)
def test_what_is_missing_of_answered_questions_is_quoted_at_what_its_calls_cost(wanted):
    examination, _ = asked(GIVEN, LONGEST, NOTHING)
    quote = of_all(wanted).quote_missing(640, 480, examination)
    assert quote.worst_nano_usd == worst(completed(examination, wanted, LONGEST)) > 0
    likely, _ = asked(LIKELY_GIVEN, LIKELY, NOTHING)
    calls = completed(likely, wanted, LIKELY)
    quote = of_all(wanted).quote_missing(640, 480, likely)
    shares = {"judge": 0.4}  # of controls
    assert quote.expected_nano_usd == pytest.approx(expected(calls, shares), abs=1)
    assert quote.calls == round(sum(shares.get(request.role, 1.0) for _, request in calls))


def test_what_is_there_is_not_quoted_again():
    had = ExtraMeasures(auditors=("auditor-a",), stated=True, samples=2, controls=CONTROLS)
    examination, _ = asked(GIVEN, LONGEST, had)
    assert of_all(had).quote_missing(640, 480, examination) == Quote(0, 0, 0)
    quote = of_all(WANTED).quote_missing(640, 480, examination)
    assert quote.worst_nano_usd == worst(completed(examination, WANTED, LONGEST)) > 0
