"""Reading what providers say about their limits: Retry-After in all its forms, and rate headers. Pure functions."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from unsaf_async.providers.masked_keys import without_masked
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PATIENCE_S = 31 * 86400.0
"""No wait is read as longer than this. How long one is obeyed is the pace's business: no longer than a call is tried."""


def seconds_of(text: str) -> float | None:
    """Seconds in a duration: "7", "0.5", "250ms", "34.07s", Go's "6m0s" and "1h2m3.5s".

    Args:
        text: The duration.

    Returns:
        Seconds, >= 0; None if it is no duration.
    """
    text = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or not re.fullmatch(r"(\d+(\.\d+)?(h|ms|m|s))+", text):
        return None
    unit_s = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(float(number) * unit_s[unit] for number, _, unit in re.findall(r"(\d+(\.\d+)?)(ms|h|m|s)", text))


def until(text: str, now: datetime) -> float | None:
    """Seconds until a moment.

    Args:
        text: The moment, as HTTP date or RFC 3339.
        now: From when on.

    Returns:
        Seconds, >= 0; None if `text` is neither.
    """
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


RESETS = {
    **{f"x-ratelimit-reset-{what}": f"x-ratelimit-remaining-{what}" for what in ("requests", "tokens")},
    **{
        f"anthropic-ratelimit-{what}-reset": f"anthropic-ratelimit-{what}-remaining"
        for what in ("requests", "tokens", "input-tokens", "output-tokens")
    },
}
"""Headers that say when a limit is whole again, with the one that says how much of it remains."""

_IN_WORDS = re.compile(r"(?:try again|retry) (?:in|after) ((?:\d+(?:\.\d+)?(?:ms|h|m|s)?)+)( seconds?)?", re.IGNORECASE)


def retry_after_s(headers: Mapping[str, str], body: str = "", now: datetime | None = None) -> float | None:
    """How long the provider asks us to wait.

    Looks at `retry-after-ms`, then `retry-after` (seconds, a duration, an HTTP date), then, in the body, Google's RetryInfo
    (`retryDelay`) and a sentence such as "Please try again in 7m12s", and last at the limits in `RESETS` of which nothing
    remains: the last one to come back counts. Nothing else is looked at, and what is no such time is passed over: a negative
    number, 1e9, NaN.

    Args:
        headers: Of the error's answer, names in lower case.
        body: Of the error's answer.
        now: When it came; None: now.

    Returns:
        Seconds, at most `MAX_PATIENCE_S`; None if it does not say.
    """
    now = now or datetime.now(UTC)
    seconds: float | None = None
    if (milliseconds := headers.get("retry-after-ms", "").strip()) and re.fullmatch(r"\d+(\.\d+)?", milliseconds):
        seconds = float(milliseconds) / 1000
    elif value := headers.get("retry-after", "").strip():
        seconds = _wait_s(value, now)
    if seconds is None and (match := re.search(r'"retryDelay"\s*:\s*"([\d.]+m?s)"', body)):
        seconds = seconds_of(match[1])
    if seconds is None and (match := _IN_WORDS.search(body)):
        seconds = seconds_of(match[1] + ("s" if match[2] else ""))
    if seconds is None:
        used_up = (reset for reset, remaining in RESETS.items() if headers.get(remaining, "").strip() == "0")
        waits = (_wait_s(headers.get(reset, ""), now) for reset in used_up)
        seconds = max((wait for wait in waits if wait is not None), default=None)
    return None if seconds is None else min(seconds, MAX_PATIENCE_S)


def _wait_s(text: str, now: datetime) -> float | None:
    """Seconds in a duration, or until a moment; None if it is neither."""
    seconds = seconds_of(text)
    return until(text, now) if seconds is None else seconds


LIMIT_HEADERS = {
    "x-ratelimit-limit-requests": "requests",
    "x-ratelimit-limit-tokens": "tokens",
    "anthropic-ratelimit-requests-limit": "requests",
    "anthropic-ratelimit-input-tokens-limit": "input tokens",
    "anthropic-ratelimit-output-tokens-limit": "output tokens",
}
"""Which header states which limit. (Anthropic's `-tokens-limit` only repeats the tighter of its two.)"""


LEAST_LIMIT = {"requests": 1.0, "tokens": 100.0}
"""A minute. A stated limit below it is not believed: it would hold up the run for hours without a word."""


def learned_limits(headers: Mapping[str, str]) -> dict[str, float]:
    """The limits per minute that headers state.

    Args:
        headers: Of a reply, names in lower case.

    Returns:
        Those of "requests", "tokens", "input tokens" and "output tokens" that are stated, from `LEAST_LIMIT` on; {} if none is.
    """
    limits: dict[str, float] = {}
    for header, limit in LIMIT_HEADERS.items():
        try:
            rate = float(headers[header])
        except (KeyError, ValueError):
            continue
        if LEAST_LIMIT[limit.split()[-1]] <= rate < float("inf"):
            limits[limit] = rate
    return limits


QUOTA_WORDS = (
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
    "billing_error",
    "billing_not_active",
    "credit balance is too low",
    "api usage limits",
    "prepayment credits",
    "spending cap",
    "insufficient credits",
    "insufficient balance",
    "key limit exceeded",
    "exceeded_current_quota",
    "arrearage",
    "perday",
)
"""What the vendors' bodies say when waiting does not help. OpenAI, Anthropic, Gemini; then OpenRouter, DeepSeek, Moonshot,
DashScope; Gemini's quota of a day."""

_NOTHING_ALLOWED = re.compile(r"\blimit: 0\b")
"""Gemini, of a model that the account's plan has no quota for."""


def is_exhausted_quota(body: str) -> bool:
    """Whether an error says that the account's quota is used up, so that waiting does not help.

    Google's per-day quota counts: it comes back at midnight, not within a run.

    Args:
        body: Of the error's answer.

    Returns:
        True if it does.
    """
    lowered = body.lower()
    return any(word in lowered for word in QUOTA_WORDS) or bool(_NOTHING_ALLOWED.search(lowered))


def error_text(body: str) -> str:
    """The message inside an error's body.

    Args:
        body: JSON of any vendor, or any text.

    Returns:
        One line of at most 300 characters that UTF-8 can write, without masked keys; the body itself if it holds no message.
    """
    try:
        parsed: Any = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    if isinstance(parsed, dict):
        inner = parsed.get("error", parsed)
        if isinstance(inner, dict):
            inner = inner.get("message", inner)
        body = inner if isinstance(inner, str) else json.dumps(inner)
    return one_line(without_masked(body), 300).encode("utf-8", "replace").decode()
