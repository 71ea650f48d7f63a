"""How many tokens a call's input will be: a bound for the budget, an expectation for the estimate and the limits.

Pure functions. Vendors publish no tokenizer for images, and change their rules: the image formulas are what vendors'
guides and other people's measurements say, so each carries a safety factor and a ceiling in the profile, and what
counts in the end is the usage that the provider returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Annotated, Literal

import orjson
from pydantic import Field, model_validator

from unsaf_async.records import Record

if TYPE_CHECKING:
    from typing import Self

    from unsaf_async.records import Message, Schema

Formula = Literal["openai-tile", "openai-patch", "claude", "gemini-tile", "fixed"]
"""The known ways of turning pixels into tokens."""

CONSTANTS: dict[Formula, tuple[str, ...]] = {
    "openai-tile": ("base", "per_tile"),
    "openai-patch": ("multiplier", "max_patches"),
    "claude": ("max_side_px", "max_tokens"),
    "gemini-tile": ("per_tile",),
    "fixed": ("tokens",),
}
"""The constants that each formula needs."""


def image_tokens(formula: Formula, width: int, height: int, **constants: float) -> int:
    """Tokens of an image by a formula.

    Args:
        formula: A key of `CONSTANTS`.
        width: Pixels, >= 1.
        height: Pixels, >= 1.
        constants: Those that `CONSTANTS` names for the formula.

    Returns:
        Tokens, rounded up, >= 1.

    Raises:
        ValueError: The formula is unknown, constants are missing or too many, or the image has no pixels.
    """
    if formula not in CONSTANTS:
        raise ValueError(f"{formula!r} is no image-token formula; known: {', '.join(CONSTANTS)}")
    if set(constants) != set(CONSTANTS[formula]):
        raise ValueError(f"{formula} takes the constants {', '.join(CONSTANTS[formula])}, not {', '.join(constants)}")
    if width < 1 or height < 1:
        raise ValueError(f"an image of {width} x {height} pixels has no tokens")
    long, short = max(width, height), min(width, height)
    match formula:
        case "openai-tile":
            tokens = _openai_tile(long, short, **constants)
        case "openai-patch":
            tokens = _openai_patch(long, short, **constants)
        case "claude":
            tokens = _claude(long, short, **constants)
        case "gemini-tile":
            tokens = _gemini_tile(long, short, **constants)
        case "fixed":
            tokens = constants["tokens"]
    return max(1, _ceil(tokens))


def _openai_tile(long: int, short: int, *, base: float, per_tile: float) -> float:
    """`base` + `per_tile` for each 512-pixel tile, after shrinking into 2048 x 2048 and then to a short side of 768.

    Source: OpenAI, "Images and vision", detail "high"; gpt-4o, 4.1 and 5. 1024 x 1024 is 4 tiles, 2048 x 4096 is 6.
    Images that are small enough are taken as not enlarged; should a model enlarge them, the most is 8 tiles
    (2048 x 768), which is what the profiles' ceilings hold.
    """
    numerator, denominator = 1, 1  # the scale, as an exact fraction: a side of 1024.0001 would be one tile too many
    if long > 2048:
        numerator, denominator = 2048, long
    if short * numerator > 768 * denominator:
        numerator, denominator = 768, short
    tiles = _ceil_div(long * numerator, 512 * denominator) * _ceil_div(short * numerator, 512 * denominator)
    return base + per_tile * tiles


def _openai_patch(long: int, short: int, *, multiplier: float, max_patches: float) -> float:
    """`multiplier` for each 32-pixel patch; there are at most `max_patches` (larger images are shrunk to that).

    Source: OpenAI, "Images and vision"; the mini and nano models and those after gpt-5.1. Multipliers: the guide's, or
    those measured in community.openai.com 1377015 and the image-token-cost data set, whichever is dearer.
    """
    return min(_ceil_div(long, 32) * _ceil_div(short, 32), max_patches) * multiplier


def _claude(long: int, short: int, *, max_side_px: float, max_tokens: float) -> float:
    """One token for each 28-pixel patch, after shrinking to a long side of `max_side_px`; at most `max_tokens`.

    Source: Anthropic, "Vision" (older pages: width * height / 750, within 3 % of this). Measured on Claude 4.5 and 5.5:
    1024 x 1024 adds 1,369 tokens to the text.
    """
    numerator, denominator = (int(max_side_px), long) if long > max_side_px else (1, 1)
    patches = _ceil_div(long * numerator, 28 * denominator) * _ceil_div(short * numerator, 28 * denominator)
    return min(patches, max_tokens)


def _gemini_tile(long: int, short: int, *, per_tile: float) -> float:
    """`per_tile` if both sides are at most 384 pixels, else `per_tile` for each crop.

    The side of a crop is the short side / 1.5, but at least 256 and at most 768 pixels. Source: Google, "Image understanding",
    Gemini 2.x. Descriptions that count plain 768-pixel tiles give the same or fewer.
    """
    if long <= 384:
        return per_tile
    crop = min(768, max(256, int(short / 1.5)))
    return per_tile * _ceil_div(long, crop) * _ceil_div(short, crop)


class ImageTokens(Record):
    """How a model counts an image."""

    formula: Formula
    constants: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]]
    """Those that the formula needs (providers/README.md lists them)."""
    safety: Annotated[float, Field(ge=1, allow_inf_nan=False, strict=True)] = 1.0
    """The worst case is the formula's figure times this."""
    ceiling: Annotated[int, Field(ge=0, strict=True)] = 0
    """Tokens. The worst case is never taken to be less than this."""

    @model_validator(mode="after")
    def _constants_fit(self) -> Self:
        needed = CONSTANTS[self.formula]
        if set(self.constants) != set(needed):
            present = ", ".join(self.constants) or "none"
            raise ValueError(f"the formula {self.formula!r} takes the constants {', '.join(needed)}, found: {present}")
        return self

    def expected(self, width: int, height: int) -> int:
        """Tokens of an image by the formula.

        Args:
            width: Pixels, >= 1.
            height: Pixels, >= 1.

        Returns:
            Tokens, >= 1.
        """
        return image_tokens(self.formula, width, height, **self.constants)

    def worst(self, width: int, height: int) -> int:
        """The most tokens that an image is taken to cost: what the budget reckons with.

        Args:
            width: Pixels, >= 1.
            height: Pixels, >= 1.

        Returns:
            The formula's tokens times `safety`, rounded up; at least `ceiling`.
        """
        return max(self.ceiling, _ceil(self.expected(width, height) * self.safety))


class TokenRules(Record):
    """How a model's endpoint counts a call's input."""

    image: ImageTokens
    per_message: Annotated[int, Field(ge=0, strict=True)] = 8
    """Tokens that each message costs beyond its text: role and separators."""
    per_call: Annotated[int, Field(ge=0, strict=True)] = 64
    """Tokens that each call costs beyond its messages: what the chat template and the schema's instructions add."""


def text_tokens_bound(text: str) -> int:
    """The most tokens that a text can be: its UTF-8 bytes.

    A byte-level BPE starts from the bytes and only joins them; a byte-fallback tokenizer breaks an unknown character
    into its bytes at worst. Neither makes more tokens than bytes, as long as it does not rewrite the text first. What
    the chat template adds comes on top (`TokenRules`).

    Args:
        text: Any text; lone surrogates count 3 bytes each.

    Returns:
        Tokens, >= 0; 0 for the empty text.
    """
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def text_tokens_expected(text: str) -> int:
    """About how many tokens a text is: a quarter of its UTF-8 bytes.

    Args:
        text: Any text.

    Returns:
        Tokens, >= 1.
    """
    return max(1, text_tokens_bound(text) // 4)


def worst_input_tokens(messages: tuple[Message, ...], schema: Schema | None, rules: TokenRules) -> int:
    """The most tokens that a call's input can be: the bytes of text and schema, images at their worst, overheads.

    Args:
        messages: The conversation.
        schema: The JSON schema that the reply is to follow; None without one.
        rules: How the model's endpoint counts.

    Returns:
        Tokens, >= 0.
    """
    tokens = rules.per_call + rules.per_message * len(messages)
    for message in messages:
        tokens += text_tokens_bound(message.text)
        if message.image is not None:
            tokens += rules.image.worst(message.image.width, message.image.height)
    return tokens + _schema_bytes(schema)


def expected_input_tokens(messages: tuple[Message, ...], schema: Schema | None, rules: TokenRules) -> int:
    """About how many tokens a call's input will be; never more than `worst_input_tokens`, but for empty texts.

    Args:
        messages: The conversation.
        schema: The JSON schema that the reply is to follow; None without one.
        rules: How the model's endpoint counts.

    Returns:
        Tokens, >= 0.
    """
    tokens = rules.per_call + rules.per_message * len(messages)
    for message in messages:
        tokens += text_tokens_expected(message.text)
        if message.image is not None:
            tokens += rules.image.expected(message.image.width, message.image.height)
    return tokens + _schema_bytes(schema) // 4


def _schema_bytes(schema: Schema | None) -> int:
    if schema is None:
        return 0
    return len(schema.name.encode()) + len(orjson.dumps(schema.schema, default=_plain))


def _plain(value: object) -> object:
    """orjson takes dicts; a schema may be any mapping."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _ceil(tokens: float) -> int:
    """`tokens` rounded up; what lies below a millionth is the dust of floating point (100 * 1.1 is not 111)."""
    return ceil(round(tokens, 6))


def _ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
