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
    if status == 400 and _STREAM_ONLY.search(lowered):
        text += "; give `stream = true` in its provider file"
    return Rejected(text, status=status)


# --- parameters that a model does not take ------------------------------------------------------------------------

_STREAM_ONLY = re.compile(
    r"only (?:be )?supports? (?:the )?stream|stream(?:ing)? (?:mode )?only|(?:set|enable) stream(?:ing)? (?:to )?true"
)

PARAMETERS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])")  # no part of a model's name: seed-1.6, kimi-k2-thinking
    for name, pattern in {
        "max_tokens": r"max_(?:completion_)?tokens",
        "logprobs": r"log_?probs?|top_logprobs|response_?logprobs",
        "temperature": r"temperature",
        "top_p": r"top_?p",
        "seed": r"seed",
        "schema": r"response_format|output_?format|output format|output_config\.format|response_?schema|response_?json_?schema"
        r"|json_?schema|json schema|response_?mime_?type|structured outputs?|json mode|guided_json|guided decoding|grammar error",
        "prompt_cache": r"prompt_cache_(?:key|options|breakpoint)|cache_control",
        "reasoning_effort": r"reasoning_?effort|reasoning\.effort|output_config\.effort|effort"
        r"|thinking(?:[_ .]?(?:budget(?:_tokens)?|level|config|type(?:\.\w+)?))?",
    }.items()
}
"""How vendors name what a request may do without, by our names of it. In lower case."""

_REFUSED = re.compile(
    r"unsupported|not (?:be |currently )*support|does ?n.t support|do(?:es)? not support|not allowed|not permitted|not accepted"
    r"|not compatible|isn.t enabled|not enabled|not recogni[sz]ed|not implemented|not available|unavailable|no longer"
    r"|deprecated|unrecognized|unexpected|unimplemented|unknown (?:name|parameter|field)|cannot find field"
    r"|extra(?:neous)? (?:inputs|fields|key)|invalid (?:parameter|argument)|not (?:a )?valid|may only"
    r"|cannot (?:both )?be (?:set|used|specified)|only (?:the default|supports?|1 is)|must be (?:unset|omitted|null|1\b)"
)
"""How they say that they do not take a parameter at all."""

_REFUSED_AS_IT_IS = re.compile(
    r"must (?:be|equal)|has to be|should be|requires? |is invalid|invalid |only works|expected null|range"
)
"""How they say that they do not take its value. The values are the method's: another one would be another measurement, so the
parameter goes."""

_OF_A_VALUE = re.compile(r"maximum allowed number of|exceeds|too (?:large|long|many|big|small)|at most|maximum context")
_PATH = re.compile(r"\A([a-z_]+(?:\.[a-z_0-9]+)+|temperature|top_p|seed|max_tokens|output_format|thinking): ")
"""Anthropic names the field before its message."""


def refused_parameter(status: int, body: str) -> str | None:
    """The optional parameter that an error says is not taken.

    Args:
        status: The answer's; only 400, 403 and 422 speak of parameters, 403 of log-probabilities alone.
        body: The answer's.

    Returns:
        A name of `PARAMETERS`; None if the error is about something else.
    """
    if status not in (400, 403, 422):
        return None
    message, field = _message_and_field(body)
    if not field and (path := _PATH.match(error_text(body).lower())):
        field = path[1]
    places = ((match.start(), name) for name, each in PARAMETERS.items() if (match := each.search(field or message)))
    name = min(places, default=(0, None))[1]
    if name is None or (status == 403 and name != "logprobs"):
        return None
    if (
        name == "schema" and field
    ):  # one that it takes in principle, and not this one: the prompt asks for the same in words
        return name
    if _OF_A_VALUE.search(message):
        return None
    as_it_is = name != "max_tokens" and (field or _REFUSED_AS_IT_IS.search(message))
    tier = status == 403 and "require" in message
    return name if _REFUSED.search(message) or as_it_is or tier else None


def _message_and_field(body: str) -> tuple[str, str]:
    """The error as text, and the field that it names beside its message; in lower case, "" if there is none."""
    try:
        parsed: Any = json.loads(body)
    except (ValueError, RecursionError):
        return body[:2000].lower(), ""
    parsed = parsed[0] if isinstance(parsed, list) and parsed else parsed
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else {}
    if isinstance(error, str):
        return error[:2000].lower(), ""
    field = str(error.get("param") or "") if isinstance(error, dict) else ""
    # FastAPI (422) puts the field into a list: {"detail": [{"loc": ["body", "seed"], "msg": ...}]}.
    detail = parsed.get("detail") if isinstance(parsed, dict) else None
    first = detail[0] if isinstance(detail, list) and detail and isinstance(detail[0], dict) else {}
    if isinstance(place := first.get("loc"), list):
        field = ".".join(str(part) for part in place if part != "body")
    return json.dumps(error)[:4000].lower(), field.lower()
