"""What can go wrong on demand, and when it does: a function of the request and of how often it was seen."""

from __future__ import annotations

from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "429": "turned away: too many requests; not billed",
        "500": "an internal error; not billed",
        "503": "unavailable; not billed",
        "529": "overloaded; not billed",
        "quota": "the provider's answer for an exhausted quota; not billed",
        "policy": "turned away: the provider's policy forbids the prompt or the image; not billed",
        "disconnect": "the connection is cut before anything was processed; not billed",
        "disconnect_after": "processed and billed, then the connection is cut",
        "truncated_body": "processed and billed, then cut in the middle of the body",
        "garbage": "200 with a body that is no JSON; billed",
        "hang": "processed and billed, but no answer until the client leaves",
        "safety": "200 with the provider's safety block; the input is billed",
        "refusal": "200 with the provider's refusal by the model; billed",
        "length": "200 with half of the text, stopped by length; billed",
        "empty": "200 with no content; the input is billed",
        "abort": "200 with half of the text, given up by the server (finish reason `abort`, or the vendor's like); billed",
        "error": "200 with half of the text, ended by an error of the server; billed",
        "repetition": "200 with half of the text, ended for repeating itself; billed",
        "sensitive": "200 with half of the text, ended by a filter of the server's own; billed",
        "think": "200 with an abstention in [THINK] tags before the answer; billed",
        "sse": "200 as a stream of events, although none was asked for; billed",
    }
)
"""Every fault's name, and what it does."""

BATCH_FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "row_500": "a row fails with an internal error; not billed",
        "row_400": "a row fails as an invalid request; not billed",
        "row_expired": "a row is not begun before the window ends, when the batch expires; not billed",
        "failed": "the batch fails as a whole before a row is begun; at Anthropic, all of its rows fail; not billed",
        "lost_reply": "the batch is accepted, and the connection cut before its creation is answered",
        "create_500": "an internal error instead of the batch's creation",
        "poll_500": "an internal error instead of the batch's state",
        "results_404": "the first two requests for the batch's results find none",
        "results_500": "the first two requests for the batch's results get an internal error",
    }
)
"""Every fault of batches by name, and what it does. Probabilities are per row, batch, creation or request for a state."""

UNBILLED = frozenset({"429", "500", "503", "529", "quota", "policy", "disconnect"})
"""Faults that come before any processing."""

CUT = frozenset({"length", "abort", "error", "repetition", "sensitive"})
"""Faults of content that leave half of the text."""

WHOLE = frozenset({"safety", "refusal", "empty", "think", "sse"}) | CUT
"""Faults of content: the reply itself is a whole, valid 200."""


def uniform(*about: object) -> float:
    """A number in [0, 1) that depends on `about` and nothing else.

    Args:
        about: Values, of which the texts count.

    Returns:
        The number, a multiple of 2^-56.
    """
    digest = sha256("\x1f".join(map(str, about)).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def draw(faults: Mapping[str, float], seed: int, digest: str, seen: int) -> str | None:
    """The fault that a request gets.

    Args:
        faults: Probabilities by name, in [0, 1], together at most 1.
        seed: Of the draw.
        digest: The request's.
        seen: How often the request has come, this time included.

    Returns:
        The fault's name; None for no fault. The order of `faults` does not matter.
    """
    if not faults:
        return None
    place = uniform("fault", seed, digest, seen)
    for name in FAULTS:  # the order of the table, so that the order of `faults` does not matter
        place -= faults.get(name, 0.0)
        if place < 0:
            return name
    return None
