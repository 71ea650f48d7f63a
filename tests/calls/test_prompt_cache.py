"""Which calls about an image begin alike, and when their provider's cache of prompts is told so."""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256

import pytest
from doubles import profile

from unsaf_async.calls.adapted import Adapted
from unsaf_async.calls.backends.anthropic_wire import AnthropicWire
from unsaf_async.calls.backends.error_status import refused_parameter
from unsaf_async.calls.backends.openai_wire import OpenAIWire
from unsaf_async.calls.cost import CostModel
from unsaf_async.calls.prompt_cache import pays, without_prompt_cache
from unsaf_async.calls.request import RequestBuilder
from unsaf_async.calls.stored_reply import key_parts
from unsaf_async.examine.extras import ExtraMeasures
from unsaf_async.prompts import CONFIDENCE, QUESTIONS
from unsaf_async.providers.prices import Price
from unsaf_async.providers.profile import Limits, PromptCacheRules, Takes
from unsaf_async.providers.resolve import resolve
from unsaf_async.records import EncodedImage, Reply, Usage

IMAGE = EncodedImage(b"pixels", "image/jpeg", 1024, 768, "ab" * 32)
CLAUDE = Price(
    input_usd_per_mtok=3.0,
    output_usd_per_mtok=15.0,
    cached_input_usd_per_mtok=0.3,
    cache_write_usd_per_mtok=3.75,
    cache_write_1h_usd_per_mtok=6.0,
)


known = cache(resolve)


def model(name="claude-sonnet-4-5", **fields):
    return known(name).model_copy(update=fields)


def built(subject, role="answer", *, questions=12, extras=None, image=IMAGE, schema=None, written=True):
    calls = (extras or ExtraMeasures()).calls(questions, written=written)
    return RequestBuilder(subject, 6, 0, calls).request(role, "What is it?", image=image, schema=schema)


def test_answers_are_marked_and_share_their_beginning_with_samples_alone():
    extras = ExtraMeasures(stated=True, samples=2)
    answer = built(model(), extras=extras).prompt_cache
    assert answer.writes
    assert (answer.tokens, answer.calls) == (37 * 28 + 8, 36)
    assert built(model(), "sample", extras=extras).prompt_cache == answer
    stated = built(model(), "confidence", extras=extras, schema=CONFIDENCE).prompt_cache
    assert (stated.calls, stated.prefix != answer.prefix) == (12, True)


def test_a_list_of_questions_shares_its_beginning_with_none_since_its_schema_stands_before_it():
    for label in QUESTIONS:
        assert built(model(), "ask", schema=QUESTIONS[label]).prompt_cache is None


def test_without_schemas_all_calls_about_an_image_begin_alike():
    plain = model(takes=Takes(json_schema=False))
    asks = [built(plain, "ask", schema=QUESTIONS[label]).prompt_cache for label in QUESTIONS]
    assert asks == [built(plain).prompt_cache] * 2
    assert asks[0].calls == 14


@pytest.mark.parametrize(
    ("subject", "size", "questions", "marked"),
    [
        ("claude-sonnet-4-5", (1024, 768), 12, True),
        ("claude-sonnet-4-5", (1024, 683), 12, False),  # 933 tokens
        ("claude-sonnet-5-5", (1024, 683), 12, True),  # from 512 on
        ("claude-haiku-4-5", (1024, 768), 12, False),  # from 4,096 on
        ("claude-sonnet-4-5", (1024, 768), 1, False),  # writes and never reads
        ("claude-sonnet-4-5", (1024, 768), 2, True),
    ],
)
def test_what_is_too_short_for_the_model_or_read_by_nobody_is_not_marked(subject, size, questions, marked):
    width, height = size
    image = EncodedImage(b"", "image/jpeg", width, height, "")
    found = built(model(subject), questions=questions, image=image, written=False).prompt_cache
    assert (found is not None) == marked


def test_a_price_that_does_not_say_what_writing_costs_or_reading_saves_marks_nothing():
    for lacking in ("cached_input_usd_per_mtok", "cache_write_usd_per_mtok"):
        assert built(model(price=CLAUDE.model_copy(update={lacking: None}))).prompt_cache is None
    assert built(model(price=None)).prompt_cache is None


def test_where_a_limit_keeps_an_images_calls_apart_they_are_kept_for_an_hour_if_that_pays():
    slow = model(limits=Limits(concurrency=32, requests_per_minute=50))
    assert built(slow).prompt_cache.an_hour
    assert not built(model(limits=Limits(concurrency=32, requests_per_minute=4000))).prompt_cache.an_hour
    assert built(slow, questions=2, written=False).prompt_cache is not None  # 64 calls a round: within five minutes
    crowded = model(limits=Limits(concurrency=200, requests_per_minute=50))
    assert built(crowded, questions=2, written=False).prompt_cache is None  # 2 + 0.1 prices for 2


@pytest.mark.parametrize(
    ("calls", "an_hour", "worth"), [(1, False, False), (2, False, True), (2, True, False), (3, True, True)]
)
def test_writing_pays_from_the_second_call_on_and_for_an_hour_from_the_third(calls, an_hour, worth):
    assert pays(CLAUDE, 1000, calls, by_mark=True, an_hour=an_hour) == worth


def test_an_automatic_cache_is_told_by_a_key_alone_and_a_judges_call_says_nothing():
    found = built(model("gpt-4o-mini")).prompt_cache
    assert (found.writes, found.by_key, found.calls) == (False, True, 12)
    assert built(model("gpt-4o")).prompt_cache is None  # 773 tokens
    assert built(model("gpt-4o-mini"), "judge", image=None).prompt_cache is None


def test_a_model_that_would_bill_every_prompt_as_written_is_told_to_keep_only_what_is_marked():
    short, judged = (
        built(model("gpt-5.6-luna"), role, image=image) for role, image in (("answer", IMAGE), ("judge", None))
    )
    for each in (short, judged):
        assert (each.prompt_cache.prefix, each.prompt_cache.writes, each.prompt_cache.by_mark) == ("", False, True)
    large = EncodedImage(b"", "image/jpeg", 1024, 1024, "")
    assert built(model("gpt-5.6-luna"), image=large).prompt_cache.writes


def test_off_and_an_unknown_cache_say_nothing_at_all():
    assert built(without_prompt_cache(model())).prompt_cache is None
    assert built(without_prompt_cache(model("gpt-5.6-luna"))).prompt_cache is None
    assert built(profile(price=CLAUDE)).prompt_cache is None


@pytest.mark.parametrize(("rpm", "write"), [(None, 3_750), (50, 6_000)])
def test_the_worst_case_of_a_marked_call_is_all_of_its_input_written_and_no_bill_is_above_it(rpm, write):
    subject = model(price=CLAUDE, limits=Limits(concurrency=32, requests_per_minute=rpm))
    cost, wanted, plain = CostModel(subject, CLAUDE), built(subject), built(without_prompt_cache(subject))
    output = wanted.sampling.max_output_tokens
    tokens = (cost.worst_nano_usd(plain) - 15_000 * output) // 3_000
    assert cost.worst_nano_usd(wanted) == tokens * write + 15_000 * output
    for read, written in ((0, tokens), (tokens, 0), (5, tokens - 5), (0, 0)):
        usage = Usage(tokens, read, written, output)
        billed, booked = cost.cost_nano_usd(wanted, Reply("ok", "A cat.", usage=usage))
        assert booked == usage
        assert billed == 3_000 * (tokens - read - written) + 300 * read + write * written + 15_000 * output
        assert billed <= cost.worst_nano_usd(wanted)
        assert cost.saved_nano_usd(wanted, usage) == 2_700 * read - (write - 3_000) * written
    assert cost.worst_nano_usd(plain) == 3_000 * tokens + 15_000 * output  # nothing was written that no mark asked for


def test_the_expectation_is_one_write_and_reads_for_all_others():
    subject = model(price=CLAUDE)
    cost, wanted = CostModel(subject, CLAUDE), built(subject)
    plain = cost.uncached_nano_usd(wanted, 40)
    kept = (3_750 + 11 * 300) * 1044
    assert cost.expected_nano_usd(wanted, 40) == plain - (12 * 3_000 * 1044 - kept) // 12


def test_a_reply_that_counts_the_cached_beside_the_input_is_not_taken_for_dearer():
    subject = model("gpt-4o-mini")
    cost, wanted = CostModel(subject, subject.price), built(subject)
    beside = Usage(input_tokens=100, cached_input_tokens=1000, output_tokens=1)
    assert cost.saved_nano_usd(wanted, beside) == 1000 * 75


def test_every_shipped_model_with_a_cache_says_from_how_many_tokens_on():
    for name in ("claude-opus-5-5", "gpt-4o", "gemini-3.8-flash"):
        rules = known(name).prompt_cache
        assert rules.kind != "none"
        assert rules.min_tokens
    assert known("vllm").prompt_cache == PromptCacheRules()


def marks(subject, **fields):
    """What a request's body says to a cache of prompts: (of the image's block, of the whole)."""
    wire = AnthropicWire() if subject.backend == "anthropic" else OpenAIWire(vendor="openai")
    body = wire.outgoing(built(subject, **fields)).body
    image = body["messages"][0]["content"][0]
    of_block = {name: image[name] for name in ("cache_control", "prompt_cache_breakpoint") if name in image}
    return of_block, {name: value for name, value in body.items() if "cache" in name}


def test_the_wires_mark_the_image_and_nothing_before_it():
    assert marks(model()) == ({"cache_control": {"type": "ephemeral"}}, {})
    slow = model(limits=Limits(concurrency=32, requests_per_minute=50))
    assert marks(slow) == ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, {})
    key = sha256(f"{IMAGE.pixels_sha256}:".encode()).hexdigest()[:32]
    assert marks(model("gpt-4o-mini")) == ({}, {"prompt_cache_key": key})
    luna, options = model("gpt-5.6-luna"), {"prompt_cache_options": {"mode": "explicit"}}
    large = EncodedImage(b"", "image/jpeg", 1024, 1024, IMAGE.pixels_sha256)
    assert marks(luna, image=large) == (
        {"prompt_cache_breakpoint": {"mode": "explicit"}},
        options | {"prompt_cache_key": key},
    )
    assert marks(luna) == ({}, options)
    for subject in (model("gpt-4o"), without_prompt_cache(luna), without_prompt_cache(model())):
        assert marks(subject) == ({}, {})


def test_marks_change_neither_the_stored_replys_key_nor_what_is_asked():
    marked, plain = built(model()), built(without_prompt_cache(model()))
    assert marked != plain
    assert key_parts(marked) == key_parts(plain)


@pytest.mark.parametrize(
    "words",
    [
        "Unrecognized request argument supplied: prompt_cache_key",
        "messages.0.content.0.image.cache_control: Extra inputs are not permitted",
        "Unknown parameter: 'prompt_cache_options'.",
    ],
)
def test_an_endpoint_that_refuses_the_marks_gets_its_requests_without(words):
    assert refused_parameter(400, json.dumps({"error": {"message": words}})) == "prompt_cache"
    adapted = Adapted(model())
    adapted.drop("prompt_cache", words)
    assert adapted.apply(built(model())).prompt_cache is None
