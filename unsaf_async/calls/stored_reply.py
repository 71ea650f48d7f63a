"""A reply as it is stored, and the key that it is stored under: everything that can change the answer."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

import orjson

from unsaf_async.calls.backends.wire import logprobs_of
from unsaf_async.records import Outcome, Reply, Usage

if TYPE_CHECKING:
    from unsaf_async.records import Request

KEY_VERSION = 1
"""Part of every key: raise it when a change in the engine changes what an equal request means."""

_STORED: dict[str, type | tuple[type, ...]] = {
    "outcome": str,
    "text": str,
    "finish_reason": (str, NoneType),
    "usage": dict,
    "cost_usd": (float, int),
    "detail": str,
    "model": str,
    "logprobs": (list, NoneType),
    "latency_s": (float, int),
}
"""What a stored reply holds."""
_OUTCOMES = frozenset(get_args(Outcome))

MAX_STORED = 10**9
"""Tokens, dollars or seconds. No call has so many."""


def key_parts(request: Request) -> dict[str, Any]:
    """Everything that can change the answer to a request, as plain JSON data.

    Images stand in by the hash of their pixels as sent. Not in it: the key, timeouts, retries, the role, the provider's local
    name.

    Args:
        request: The call.

    Returns:
        The parts, by name.
    """
    sampling = request.sampling
    return {
        "version": KEY_VERSION,
        "endpoint": request.target.endpoint,
        "model": request.target.model,
        "extra": dict(request.target.extra),
        "messages": [
            {"role": message.role, "text": message.text}
            | ({"pixels": message.image.pixels_sha256, "encoding": message.image.media_type} if message.image else {})
            for message in request.messages
        ],
        "schema": {"name": request.schema.name, "schema": dict(request.schema.schema)} if request.schema else None,
        "max_output_tokens": sampling.max_output_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "logprobs": sampling.logprobs,
        "draw": request.draw,
    } | ({"headers": dict(request.target.headers)} if request.target.headers else {})


def key_of(parts: dict[str, Any]) -> str:
    """The cache key: the sha256 of the parts' canonical JSON.

    Args:
        parts: As `key_parts` gives them.

    Returns:
        64 hex digits.
    """
    return sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def packed(parts: dict[str, Any], reply: Reply) -> bytes:
    """A reply as it is stored, with the digest of every part of its key, so that a miss can be explained later.

    Args:
        parts: Of the key.
        reply: What came.

    Returns:
        JSON on one line.
    """
    return packed_with(digests_of(parts), reply)


def packed_with(digests: dict[str, str], reply: Reply) -> bytes:
    """A reply as `packed` stores it.

    Args:
        digests: As `digests_of` gives them.
        reply: What came.

    Returns:
        JSON on one line.
    """
    kept = {
        "outcome": reply.outcome,
        "text": reply.text,
        "finish_reason": reply.finish_reason,
        "usage": reply.usage,  # orjson writes dataclasses; asdict copies deeply, at half the price of the whole call
        "cost_usd": reply.cost_usd,
        "detail": reply.detail,
        "model": reply.model,
        "logprobs": reply.logprobs,
        "latency_s": reply.latency_s,
    }
    return orjson.dumps({"parts": digests, "reply": kept})


def unpacked(data: bytes) -> Reply:
    """A stored reply, marked as cached.

    Args:
        data: What `packed` wrote.

    Returns:
        The reply.

    Raises:
        ValueError: It is no reply that `packed` wrote.
    """
    try:
        stored = orjson.loads(data)
        kept, parts = stored["reply"], stored["parts"]
        for name, kind in _STORED.items():
            if not isinstance(kept[name], kind):
                raise TypeError("a part of it has the wrong type")
        if not isinstance(parts, dict):
            raise TypeError("a part of it has the wrong type")
        logprobs, usage = kept["logprobs"], kept["usage"]
        if kept.keys() != _STORED.keys() or kept["outcome"] not in _OUTCOMES:
            raise TypeError("a part of it has no possible value")
        for tokens in usage.values():
            if type(tokens) is not int or not 0 <= tokens <= MAX_STORED:
                raise TypeError("a figure in it has no possible value")
        if not (0 <= kept["cost_usd"] <= MAX_STORED and 0 <= kept["latency_s"] <= MAX_STORED):
            raise TypeError("a figure in it has no possible value")
        kept["usage"] = Usage(**usage)
        kept["logprobs"] = None if logprobs is None else logprobs_of(logprobs) or ()
        if logprobs and not kept["logprobs"]:
            raise TypeError("a log-probability in it has no possible value")
        return Reply(**kept, cached=True)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no stored reply: {error!r}") from None


def digests_of(parts: dict[str, Any]) -> dict[str, str]:
    """The digests that `packed` stores: by these two requests are compared.

    Args:
        parts: Of the key.

    Returns:
        16 hex digits a part; the messages' texts and images are two parts.
    """
    digests = {name: _digest(value) for name, value in parts.items() if name != "messages"}
    digests["text"] = _digest([message["text"] for message in parts["messages"]])
    digests["pixels"] = _digest([message.get("pixels") for message in parts["messages"]])
    return digests


def _digest(value: Any) -> str:
    return _short_sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


@lru_cache(maxsize=1024)  # a run's calls differ in their text and image, and share all their other parts
def _short_sha256(data: bytes) -> str:
    return sha256(data).hexdigest()[:16]
