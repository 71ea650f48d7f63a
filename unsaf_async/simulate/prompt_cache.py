"""The vendors' caches of prompts: what they keep of a request, for how long, and what another one reads of it.

A beginning can be read once the reply to the request that brought it has begun, until nobody has read it for its lifetime.
Sources, read on 2026-11-27: platform.claude.com/docs/en/build-with-claude/prompt-caching (floors by model, 5 minutes and an hour,
what is marked is written); developers.openai.com/api/docs/guides/prompt-caching and its cookbook "Prompt Caching 201" (1,024
tokens, steps of 128, schemas before the messages; from 5.6 on breakpoints, 30 minutes); ai.google.dev/gemini-api/docs/caching.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256
from typing import TYPE_CHECKING

from unsaf_async.simulate.settings import exact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from unsaf_async.simulate.settings import CachePrice
    from unsaf_async.simulate.wire import Block, Call, Vendor

STEP = 128
"""Tokens: where nothing is marked, beginnings are kept in lengths that differ by so many."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a model's vendor keeps. by_mark: what is marked, and nothing else. lifetime_s: since it was last read."""

    pattern: str
    floor: int
    by_mark: bool
    lifetime_s: float


RULES: Mapping[Vendor, tuple[Rules, ...]] = {
    "openai": (
        Rules(r"gpt-(5\.[6-9]|6).*", 1024, by_mark=True, lifetime_s=1800),
        Rules(r".*", 1024, by_mark=False, lifetime_s=600),
    ),
    "anthropic": (
        Rules(r"claude-((opus|fable|mythos)-5|(haiku|sonnet)-5-[5-9]).*", 512, by_mark=True, lifetime_s=300),
        Rules(r"claude-(sonnet-(4|5)|opus-4-(8|1)|opus-4-2).*", 1024, by_mark=True, lifetime_s=300),
        Rules(r"claude-opus-4-7.*", 2048, by_mark=True, lifetime_s=300),
        Rules(r".*", 4096, by_mark=True, lifetime_s=300),
    ),
    "gemini": (  # it says no lifetime
        Rules(r"gemini-3-flash.*", 1024, by_mark=False, lifetime_s=300),
        Rules(r"gemini-2.*", 2048, by_mark=False, lifetime_s=300),
        Rules(r".*", 4096, by_mark=False, lifetime_s=300),
    ),
}
"""By vendor; of a model's the first that fits its name."""

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Use:
    """What a request reads and writes, in tokens of its input. written_1h: what is kept for an hour."""

    read: int = 0
    written: int = 0
    written_1h: int = 0


@dataclass(frozen=True, slots=True)
class Visit:
    """A request's visit: its use, and what becomes readable once its reply begins (seconds of life by beginning)."""

    use: Use = Use()
    keep: Mapping[bytes, float] = field(default_factory=dict)


class PromptCaches:
    """The caches of all models of one simulated provider.

    Args:
        price: Of what is read and written; None: nothing is kept.
        input_usd: USD per million tokens of other input.
        lifetime_s: How long what is kept lives, in place of the vendors' times; None: as they say.
    """

    def __init__(self, price: CachePrice | None, input_usd: Fraction, lifetime_s: float | None = None) -> None:
        self._price = price
        self._input_usd = input_usd
        self._lifetime_s = lifetime_s
        self._until: dict[bytes, float] = {}
        """Until when each beginning lives that can be read."""

    def visit(self, vendor: Vendor, call: Call, now: float) -> Visit:
        """What a request that arrives reads and writes.

        Args:
            vendor: Whose model it asks.
            call: The request.
            now: The time in seconds.

        Returns:
            The visit; call `keep` with it when its reply begins.
        """
        if self._price is None:
            return Visit()
        rules = next(each for each in RULES[vendor] if re.fullmatch(each.pattern, call.model))
        beginnings = list(_marked(call) if rules.by_mark else _steps(call.model, call.blocks, rules.floor))
        beginnings = [each for each in beginnings if each.tokens >= rules.floor]
        read = max((each.tokens for each in beginnings if self._until.get(each.digest, 0.0) > now), default=0)
        keep = {each.digest: self._lifetime_s or each.lifetime_s or rules.lifetime_s for each in beginnings}
        for digest in keep.keys() & self._until.keys():
            if self._until[digest] > now:
                self._until[digest] = now + keep[digest]
        if not rules.by_mark:
            return Visit(Use(read), keep)
        new = [each for each in beginnings if each.tokens > read]
        hour = max((each.tokens for each in new if each.lifetime_s == HOUR_S), default=read) - read
        return Visit(Use(read, max((each.tokens for each in new), default=read) - read - hour, hour), keep)

    def keep(self, visit: Visit, now: float) -> None:
        """The reply to a request begins: others can read what it brought.

        Args:
            visit: The request's.
            now: The time in seconds.
        """
        for digest, lifetime_s in visit.keep.items():
            self._until[digest] = now + lifetime_s

    def saved_usd(self, use: Use) -> Fraction:
        """What a request costs less by its use than by its tokens alone.

        Args:
            use: The request's.

        Returns:
            US dollars, exactly; below 0 where writing costs more than reading saves.
        """
        if self._price is None:
            return Fraction(0)
        prices = (exact(each) for each in (self._price.read, self._price.write, self._price.write_1h))
        tokens = (use.read, use.written, use.written_1h)
        less = sum((count * (self._input_usd - usd) for count, usd in zip(tokens, prices, strict=True)), Fraction(0))
        return less / 1_000_000


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The beginning of a prompt that a cache can hold. lifetime_s: where the request says it; 0: it does not."""

    digest: bytes
    tokens: int
    lifetime_s: float = 0.0


def _marked(call: Call) -> Iterator[_Beginning]:
    """The beginnings that end where a request has a mark."""
    digest, tokens = sha256(call.model.encode()).digest(), 0
    for block in call.blocks:
        digest, tokens = sha256(digest + block.content).digest(), tokens + block.tokens
        if block.mark:
            yield _Beginning(digest, tokens, HOUR_S if block.mark == "1h" else 0.0)


def _steps(model: str, blocks: Sequence[Block], floor: int) -> Iterator[_Beginning]:
    """The beginnings of all lengths from the floor on in steps, whatever is in them."""
    digest, begun, wanted = sha256(model.encode()).digest(), 0, floor
    for block in blocks:
        while wanted <= begun + block.tokens:
            inside = wanted - begun
            part = block.content[: 4 * inside] if block.is_text else block.content + str(inside).encode()
            yield _Beginning(sha256(digest + part).digest(), wanted)
            wanted += STEP
        digest, begun = sha256(digest + block.content).digest(), begun + block.tokens
