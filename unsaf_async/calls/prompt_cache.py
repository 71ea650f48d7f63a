"""Which calls about one image begin alike, and whether their provider's cache of prompts makes them cheaper.

The image stands first in every prompt, and what makes a reply follow a schema stands before the image: calls begin alike where
they have the same image and the same schema. Where that pays by the price, and the beginning is as long as the provider keeps,
the request says so (`records.PromptCache`), and the wires tell the provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from unsaf_async.records import EncodedImage, PromptCache, Role, Schema, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unsaf_async.providers.prices import Price
    from unsaf_async.providers.profile import Profile

FREE_TEXT: tuple[Role, ...] = ("answer", "choice", "sample", "p-true")
"""The roles whose replies follow no schema."""

KEPT_S = 240.0
"""What is kept for five minutes is counted on for so long."""


def prompt_cache_of(
    profile: Profile, calls: Mapping[Role, int], role: Role, image: EncodedImage | None, schema: Schema | None
) -> PromptCache | None:
    """What a request has to do with its provider's cache of prompts.

    Args:
        profile: The model's.
        calls: How many calls about this image the model gets, by role; empty where that is not known.
        role: What the request is for.
        image: What stands first in it; None for no image.
        schema: What the reply is to follow, as it is sent; None for free text.

    Returns:
        None where nothing is known of such a cache, and where the request need not say anything to it.
    """
    rules = profile.prompt_cache
    if rules.kind == "none":
        return None
    by_mark = rules.kind == "marked"
    # OpenAI's models from 5.6 on would keep every prompt, at a price, if nothing were said.
    nothing = PromptCache(by_mark=by_mark, by_key=rules.takes_key).unshared
    tokens = None if image is None else shared_tokens(profile, image.width, image.height)
    price, alike = profile.price, calls_alike(profile, calls, role, schema)
    if role == "control":  # its picture is shown in a call or two
        return nothing
    if image is None or tokens is None or price is None or rules.min_tokens is None or tokens < rules.min_tokens:
        return nothing
    an_hour = by_mark and profile.backend == "anthropic" and _far_apart(profile, calls)
    if not pays(price, tokens, alike, by_mark=by_mark, an_hour=an_hour):
        return nothing
    named = orjson.dumps(schema.schema).decode() if schema else ""
    return PromptCache(f"{image.pixels_sha256}:{named}", tokens, alike, by_mark, an_hour, rules.takes_key)


def shared_tokens(profile: Profile, width: int, height: int) -> int:
    """About how many tokens of a prompt stand in all calls about an image: those of the image, and of the turn's opening.

    Args:
        profile: The model's.
        width: Pixels, as sent.
        height: Pixels, as sent.

    Returns:
        Tokens, >= 1.
    """
    return profile.tokens.per_message + profile.tokens.image.expected(width, height)


def calls_alike(profile: Profile, calls: Mapping[Role, int], role: Role, schema: Schema | None) -> int:
    """In how many calls about an image the beginning of one stands.

    Args:
        profile: The model's.
        calls: How many calls about the image the model gets, by role.
        role: What the one is for.
        schema: What its reply is to follow; None for free text.

    Returns:
        The number, its own included; of a list of questions 1, since each label's has a schema of its own.
    """
    if schema is not None:
        return min(1, calls.get(role, 0)) if role == "ask" else calls.get(role, 0)
    roles = FREE_TEXT if profile.takes.json_schema else tuple(calls)
    return sum(calls.get(each, 0) for each in roles)


def pays(price: Price, tokens: int, calls: int, *, by_mark: bool, an_hour: bool = False) -> bool:
    """Whether it is cheaper to have a beginning kept than to send it anew.

    Args:
        price: The model's.
        tokens: How long it is.
        calls: In how many calls it stands.
        by_mark: Whether what is kept is billed as written.
        an_hour: Whether for an hour.

    Returns:
        Whether; never where the price of what is read, or of what is written, is not known.
    """
    if price.cached_input_usd_per_mtok is None or (by_mark and price.cache_write_usd_per_mtok is None):
        return False
    if an_hour and price.cache_write_1h_usd_per_mtok is None:
        return False
    kept = Usage(calls * tokens, (calls - 1) * tokens, tokens if by_mark else 0)
    return calls > 1 and price.cost_nano_usd(kept, kept_an_hour=an_hour) < price.cost_nano_usd(Usage(calls * tokens))


def without_prompt_cache(profile: Profile) -> Profile:
    """A profile whose requests say nothing to a cache of prompts.

    Args:
        profile: Any.

    Returns:
        The same one otherwise.
    """
    return profile.model_copy(update={"prompt_cache": type(profile.prompt_cache)()})


def _far_apart(profile: Profile, calls: Mapping[Role, int]) -> bool:
    """Whether a limit of requests lets more time pass between two calls about an image than a beginning is kept.

    As many images are under way as calls; what is behind an image's first call in the line is theirs.
    """
    limits = profile.total_limits
    per_minute = limits.requests_per_minute
    return per_minute is not None and limits.concurrency * sum(calls.values()) > per_minute * KEPT_S / 60
