"""What an answer with an error status means: from status, headers and body to the error tree. Pure functions.

Read in this order: is it one filtered request, a parameter that the model does not take, the key, the account, the model's
name, the speed, the server, or the request itself? The same answers come from all vendors and gateways, so no vendor is asked
for.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from unsaf_async.calls.rate_headers import error_text, is_exhausted_quota, retry_after_s
from unsaf_async.errors import CallError, Fatal, RateLimited, Rejected, Transient
from unsaf_async.records import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_WORDS = ("api_key_invalid", "api key not valid", "invalid x-api-key", "invalid_api_key", "incorrect api key")
PLACE_WORDS = (
    "user location is not supported",
    "country, region, or territory",
    "unsupported_country_region_territory",
)
LOST_BEHIND_A_GATEWAY = (502, 504, 520, 524)
"""Bad gateway, gateway timeout, and Cloudflare's two words for the same."""
POLICY_WORDS = (
    "content_policy_violation",
    "content_filter",
    "safety system",
    "responsibleaipolicyviolation",
    "content management policy",
    "requires moderation",
    "flagged_input",
    "data_inspection_failed",
    "datainspectionfailed",
    "prohibited_content",
    "image_safety",
)
"""A filter's words in an error's body: OpenAI, Azure, OpenRouter's 403, DashScope."""
FILTERED_STATUS = (200, 400, 403, 422, 451)
TOO_LARGE = re.compile(r"request too large for |request_too_large|tokens must be reduced in order to run")
"""A 429 of one request that no wait will let through: OpenAI's limit per minute is below its size."""
NO_SUCH_MODEL = ("model_not_found", "deploymentnotfound", "must be verified to use the model")


def blocked_reply(status: int | None, body: str) -> Reply | None:
    """The reply that an error stands for, if its body says that a filter turned the request away.

    Args:
        status: The answer's; None if there was none.
        body: The answer's.

    Returns:
        A reply with outcome `blocked`; None if it is another error.
    """
    if status in FILTERED_STATUS and any(word in body.lower() for word in POLICY_WORDS):
        return Reply("blocked", "", finish_reason="content_filter", detail=error_text(body))
    return None


def error_of(status: int, body: str, headers: Mapping[str, str]) -> CallError:
    """What an answer with an error status means.

    Args:
        status: The answer's.
        body: The answer's.
        headers: The answer's, names in lower case.

    Returns:
        The error.
    """
    said = error_text(body)
    text = said if said.startswith(str(status)) else f"{status} {said}".strip()  # "404: Not Found" says it itself
    lowered = body.lower()
    if 300 <= status < 400:
        place = headers.get("location", "another address")[:200]
        return Fatal(f"no such model or address: {status}, moved to {place}", kind="model", status=status)
    if parameter := refused_parameter(status, body):
        return Rejected(text, status=status, parameter=parameter)
    if status in (400, 403, 451) and any(word in lowered for word in PLACE_WORDS):
        return Fatal(f"the account is not served from here: {text}", kind="key", status=status)
    if status in (402, 403, 400, 429) and (status == 402 or is_exhausted_quota(body)):
        return Fatal(f"the account's quota is used up: {text}", kind="quota", status=status)
    if status in (401, 403, 407) or (status == 400 and any(word in lowered for word in KEY_WORDS)):
        if any(word in lowered for word in NO_SUCH_MODEL):
            return Fatal(f"the model is not open to this account: {text}", kind="model", status=status)
        return Fatal(f"the key was refused: {text}", kind="key", status=status)
    if status in (404, 410) or (status == 400 and any(word in lowered for word in NO_SUCH_MODEL)):
        return Fatal(f"no such model or address: {text}", kind="model", status=status)
    if status == 429:
        return _turned_away(text, lowered, retry_after_s(headers, body))
    return _server_error(status, text, lowered, retry_after_s(headers, body))


def _turned_away(text: str, lowered: str, patience_s: float | None) -> CallError:
    if TOO_LARGE.search(lowered):
        return Rejected(text, status=429)
    return RateLimited(text, status=429, retry_after_s=patience_s)


def _server_error(status: int, text: str, lowered: str, patience_s: float | None) -> CallError:
    if status in (503, 529) or (status == 500 and "overloaded" in lowered):
        return Transient(text, status=status, retry_after_s=patience_s, overloaded=True)
    if status in (408, 409, 425, 498) or status >= 500:
        # A gateway that lost the server's answer, or tired of waiting for it: the server may have served it all the same.
        fate_unknown = status in LOST_BEHIND_A_GATEWAY
        return Transient(text, status=status, fate_unknown=fate_unknown, retry_after_s=patience_s)
    return Rejected(text, status=status)


# --- parameters that a model does not take ------------------------------------------------------------------------

PARAMETERS: Mapping[str, re.Pattern[str]] = {
    "max_tokens": re.compile(r"\bmax_(?:completion_)?tokens\b"),
    "logprobs": re.compile(r"\blog_?probs?\b|\btop_logprobs\b|\bresponse_?logprobs\b"),
    "temperature": re.compile(r"\btemperature\b"),
    "top_p": re.compile(r"\btop_?p\b"),
    "seed": re.compile(r"\bseed\b"),
    "schema": re.compile(
        r"\b(?:response_format|output_format|output_config\.format|response_?schema|response_?json_?schema|json_schema"
        r"|response_?mime_?type|structured outputs?|json mode|guided_json|guided decoding)\b"
    ),
    "reasoning_effort": re.compile(
        r"\b(?:reasoning_effort|reasoning\.effort|output_config\.effort|effort|thinking(?:[_ ]?(?:budget|level|config))?)\b"
    ),
}
"""How vendors name what a request may do without, by our names of it. In lower case."""

_REFUSED = re.compile(
    r"unsupported|not (?:be )?support|does ?n.t support|do(?:es)? not support|not allowed|not permitted|not accepted"
    r"|not compatible|isn.t enabled|not enabled|not recogni[sz]ed|not implemented|not available|no longer|deprecated"
    r"|unrecognized|unexpected|unknown (?:name|parameter|field)|cannot find field|extra (?:inputs|fields)"
    r"|invalid (?:parameter|argument)|is not valid|cannot be (?:set|used|specified)|may only|must be (?:unset|omitted|1\b)"
    r"|only (?:the default|supports?|1 is)"
)
"""How they say that they do not take it. A value that is out of its range is another matter: the request would fail anew."""

_OF_A_VALUE = re.compile(r"maximum allowed number of|exceeds|too (?:large|long|many|big|small)|at most|maximum context")


def refused_parameter(status: int, body: str) -> str | None:
    """The optional parameter that an error says is not taken.

    Args:
        status: The answer's; only 400, 403 and 422 speak of parameters.
        body: The answer's.

    Returns:
        A name of `PARAMETERS`; None if the error is about something else.
    """
    if status not in (400, 403, 422):
        return None
    message, field = _message_and_field(body)
    named = next((name for name, pattern in PARAMETERS.items() if field and pattern.search(field)), None)
    if named == "schema":  # one that it takes in principle, and not this one: the prompt asks for the same in words
        return named
    if not _REFUSED.search(message) or _OF_A_VALUE.search(message):
        return None
    if named:
        return named
    matches = ((match.start(), name) for name, pattern in PARAMETERS.items() if (match := pattern.search(message)))
    return min(matches, default=(0, None))[1]


def _message_and_field(body: str) -> tuple[str, str]:
    """The error's message, and the field that it names beside the message; in lower case, "" if there is none."""
    try:
        parsed: Any = json.loads(body)
    except (ValueError, RecursionError):
        return body[:2000].lower(), ""
    parsed = parsed[0] if isinstance(parsed, list) and parsed else parsed
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else {}
    field = error.get("param") if isinstance(error, dict) else None
    # The whole error, since FastAPI (422) puts field and message into a list, and Google details.
    return json.dumps(error)[:4000].lower() if not isinstance(error, str) else error[:2000].lower(), str(
        field or ""
    ).lower()
