"""Token counts: each image formula against figures that others published or measured, and the bounds above them."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unsaf_async.providers.tokens import (
    CONSTANTS,
    ImageTokens,
    TokenRules,
    expected_input_tokens,
    image_tokens,
    text_tokens_bound,
    text_tokens_expected,
    worst_input_tokens,
)
from unsaf_async.records import EncodedImage, Message, Schema

GPT_4O: dict[str, Any] = {"formula": "openai-tile", "base": 85, "per_tile": 170}
GPT_4O_MINI: dict[str, Any] = {"formula": "openai-tile", "base": 2833, "per_tile": 5667}
GPT_4_1_MINI: dict[str, Any] = {"formula": "openai-patch", "multiplier": 1.62, "max_patches": 1536}
GPT_6: dict[str, Any] = {"formula": "openai-patch", "multiplier": 1.2, "max_patches": 20000}
CLAUDE: dict[str, Any] = {"formula": "claude", "max_side_px": 1568, "max_tokens": 1600}
GEMINI_2: dict[str, Any] = {"formula": "gemini-tile", "per_tile": 258}
FIXED: dict[str, Any] = {"formula": "fixed", "tokens": 1120}
EACH = [GPT_4O, GPT_4O_MINI, GPT_4_1_MINI, GPT_6, CLAUDE, GEMINI_2, FIXED]

sides = st.integers(min_value=1, max_value=20_000)


@pytest.mark.parametrize(
    ("rule", "width", "height", "tokens"),
    [
        (GPT_4O, 1024, 1024, 765),  # OpenAI's guide
        (GPT_4O, 2048, 4096, 1105),  # OpenAI's guide
        (GPT_4O, 128, 64, 255),  # measured: 267 with 12 tokens of text
        (GPT_4O, 512, 512, 255),
        (GPT_4O, 513, 512, 425),
        (GPT_4O_MINI, 128, 64, 8500),  # measured: 8,512 with 12 tokens of text
        (GPT_4_1_MINI, 1024, 1024, 1659),  # OpenAI's guide: 1,024 patches
        (GPT_4_1_MINI, 1800, 2400, 2489),  # above the cap of 1,536 patches
        (GPT_6, 256, 256, 77),  # measured
        (GPT_6, 1024, 1024, 1229),  # measured
        (GPT_6, 1920, 1080, 2448),  # measured
        (CLAUDE, 1024, 1024, 1369),  # measured: 1,434 with 65 tokens of text
        (CLAUDE, 256, 256, 100),  # measured: 165 with 65 tokens of text
        (CLAUDE, 8000, 8000, 1600),
        (GEMINI_2, 384, 384, 258),
        (GEMINI_2, 960, 540, 1548),  # Google's guide: 6 crops
        (GEMINI_2, 1024, 1024, 1032),
        (FIXED, 3, 5, 1120),
    ],
)
def test_each_formula_gives_the_published_figure(rule: dict[str, Any], width: int, height: int, tokens: int) -> None:
    assert image_tokens(width=width, height=height, **rule) == tokens


@given(st.sampled_from(EACH), sides, sides)
def test_turning_an_image_by_a_quarter_changes_no_count(rule: dict[str, Any], width: int, height: int) -> None:
    assert image_tokens(width=width, height=height, **rule) == image_tokens(width=height, height=width, **rule) >= 1


@given(sides, sides)
def test_no_image_has_more_than_eight_openai_tiles(width: int, height: int) -> None:
    assert image_tokens(width=width, height=height, **GPT_4O) <= 85 + 8 * 170


@given(st.sampled_from([GPT_4_1_MINI, GPT_6, CLAUDE]), sides, sides)
def test_patches_are_capped(rule: dict[str, Any], width: int, height: int) -> None:
    most = rule.get("max_tokens") or rule["max_patches"] * rule["multiplier"]
    assert image_tokens(width=width, height=height, **rule) <= most + 1


@given(st.integers(1, 1024), st.integers(1, 1024))
def test_no_image_of_1024_pixels_has_more_than_eight_gemini_tiles(width: int, height: int) -> None:
    assert image_tokens(width=width, height=height, **GEMINI_2) <= 8 * 258


def test_a_formula_wants_its_constants_and_no_others() -> None:
    with pytest.raises(ValueError, match="base, per_tile"):
        image_tokens("openai-tile", 10, 10, base=85)
    with pytest.raises(ValueError, match="takes the constants tokens"):
        image_tokens("fixed", 10, 10, tokens=5, per_tile=1)
    with pytest.raises(ValueError, match="no image-token formula"):
        image_tokens("guess", 10, 10)  # type: ignore[arg-type]


def test_an_image_without_pixels_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 x 10"):
        image_tokens("fixed", 0, 10, tokens=5)


def test_the_worst_case_is_the_greater_of_the_ceiling_and_the_formula_with_its_safety() -> None:
    rule = ImageTokens(formula="claude", constants={"max_side_px": 1568, "max_tokens": 1600}, safety=1.1, ceiling=50)
    assert rule.expected(28, 28) == 1
    assert rule.worst(28, 28) == 50
    assert rule.worst(28 * 10, 28 * 10) == 110  # 100 * 1.1 is 110.00000000000001 in floats


@pytest.mark.parametrize("safety", [0.5, float("nan"), float("inf")])
def test_a_safety_below_one_is_refused(safety: float) -> None:
    with pytest.raises(ValueError, match="safety"):
        ImageTokens(formula="fixed", constants={"tokens": 1}, safety=safety)


@pytest.mark.parametrize(("text", "most"), [("", 0), ("word", 4), ("größe", 7), ("漢字", 6), ("🦜", 4), ("\ud800", 3)])
def test_a_text_has_at_most_as_many_tokens_as_bytes(text: str, most: int) -> None:
    assert text_tokens_bound(text) == most


def test_a_text_is_expected_to_have_a_token_for_four_bytes_and_at_least_one() -> None:
    assert [text_tokens_expected(text) for text in ("", "a", "a" * 8, "a" * 403)] == [1, 1, 2, 100]


RULES = TokenRules(image=ImageTokens(formula="fixed", constants={"tokens": 100}, safety=2.0), per_message=5, per_call=7)
IMAGE = EncodedImage(b"x", "image/png", 10, 10, "0" * 64)


def test_the_input_is_the_sum_of_texts_images_schema_and_overheads() -> None:
    messages = (Message("system", "abcd" * 4), Message("user", "efgh" * 2, IMAGE))
    schema = Schema("name", {"a": 1})  # 4 bytes of name, {"a":1} is 7 bytes
    assert worst_input_tokens(messages, schema, RULES) == 7 + 2 * 5 + 16 + 8 + 200 + 11
    assert expected_input_tokens(messages, schema, RULES) == 7 + 2 * 5 + 4 + 2 + 100 + 2
    assert worst_input_tokens(messages, None, RULES) == 7 + 2 * 5 + 16 + 8 + 200


def test_a_call_without_messages_has_only_its_overhead() -> None:
    assert worst_input_tokens((), None, RULES) == expected_input_tokens((), None, RULES) == 7


def test_a_schema_may_be_any_mapping() -> None:
    inner = MappingProxyType({"type": "object"})
    plain = worst_input_tokens((), Schema("s", {"a": {"type": "object"}}), RULES)
    assert worst_input_tokens((), Schema("s", MappingProxyType({"a": inner})), RULES) == plain


@given(st.lists(st.text(min_size=1), max_size=4), st.booleans())
def test_the_bound_is_never_below_the_expectation(texts: list[str], picture: bool) -> None:
    messages = tuple(Message("user", text, IMAGE if picture else None) for text in texts)
    schema = Schema("s", {"type": "object"})
    assert worst_input_tokens(messages, schema, RULES) >= expected_input_tokens(messages, schema, RULES)


def test_every_formula_lists_its_constants() -> None:
    assert {rule["formula"]: tuple(key for key in rule if key != "formula") for rule in EACH} == CONSTANTS
