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
from unsaf_async.examine.examiner import Examiner
from unsaf_async.examine.judge import Judge
from unsaf_async.prompts import load_pack
from unsaf_async.providers.prices import Price
from unsaf_async.providers.profile import OutputTokens, Takes
from unsaf_async.records import EncodedImage, ImageRecord
from unsaf_async.runs.quote import BYTES_PER_TOKEN, QUESTION_BYTES, Planner, Priced

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
