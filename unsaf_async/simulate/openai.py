"""OpenAI's chat completions, as vLLM and other compatible servers speak them too."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from unsaf_async.simulate import wire
from unsaf_async.simulate.pictures import PictureError
from unsaf_async.simulate.wire import Answer, Body, Call, Choice, Draft, RequestError, Trouble, Wire, need

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unsaf_async.simulate.limits import Limited, LimitState
    from unsaf_async.simulate.pictures import Picture, Pictures

_ROLES = ("system", "developer", "user", "assistant", "tool")
_VOLATILE = ("user", "metadata", "store", "stream", "service_tier", "safety_identifier", "prompt_cache_key")
_FINISH = {"stop": "stop", "length": "length", "safety": "content_filter", "refusal": "stop", "empty": "stop"}


class OpenAI(Wire):
    """POST /v1/chat/completions."""

    name = "openai"

    @override
    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" and key.strip() else None

    @override
    def read(self, body: Body, model: str, headers: Mapping[str, str], pictures: Pictures) -> Call:
        model = body.get("model") or ""
        need(isinstance(model, str) and model, "you must provide a model parameter")
        need(not body.get("stream"), "Streaming is not simulated.", "stream")
        messages = wire.array(body.get("messages"), "Missing required parameter: 'messages'.", "messages")
        need(messages, "Invalid 'messages': empty array.", "messages")
        texts: list[str] = []
        images: list[Picture] = []
        image_tokens = 0
        for place, message in enumerate(messages):
            at = f"messages[{place}]"
            message = wire.mapping(message, f"Invalid type for '{at}': expected an object.", at)
            need(message.get("role") in _ROLES, f"Invalid value for '{at}.role'.", f"{at}.role")
            for part in _parts(message.get("content"), f"{at}.content"):
                if isinstance(part, str):
                    texts.append(part)
                else:
                    picture = _picture(part, f"{at}.content", pictures)
                    images.append(picture)
                    image_tokens += 85 if part.get("detail") == "low" else picture_tokens(picture)
        schema_name, schema = _schema(body.get("response_format"))
        limit = wire.whole(body, "max_completion_tokens") or wire.whole(body, "max_tokens")
        return Call(
            model=model,
            texts=tuple(texts),
            pictures=tuple(images),
            input_tokens=wire.input_tokens(texts, len(messages), schema) + image_tokens,
            image_tokens=image_tokens,
            digest=wire.digest(self.name, model, body, _VOLATILE),
            schema_name=schema_name,
            max_output_tokens=limit,
            temperature=wire.number(body, "temperature", 0, 2),
            seed=wire.whole(body, "seed", -(2**63), 2**63),
            choices=wire.whole(body, "n", 1, 128) or 1,
            logprobs=bool(body.get("logprobs")),
            top_logprobs=wire.whole(body, "top_logprobs", 0, 20) or 0,
        )

    @override
    def reply(self, call: Call, draft: Draft) -> Body:
        return {
            "id": f"chatcmpl-{draft.stamp[:29]}",
            "object": "chat.completion",
            "created": draft.created,
            "model": call.model,
            "choices": [_choice(call, choice, place) for place, choice in enumerate(draft.choices)],
            "usage": {
                "prompt_tokens": draft.input_tokens,
                "completion_tokens": draft.output_tokens,
                "total_tokens": draft.input_tokens + draft.output_tokens,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": 0,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
            "service_tier": "default",
            "system_fingerprint": "fp_simulated",
        }

    @override
    def headers(self, standings: Mapping[Limited, LimitState], now: float, stamp: str) -> dict[str, str]:
        headers = {"x-request-id": f"req_{stamp[:32]}", "openai-version": "2020-10-01"}
        names: dict[str, Limited] = {"requests": "requests", "tokens": "input_tokens"}
        for name, limited in names.items():
            if standing := standings.get(limited):
                headers[f"x-ratelimit-limit-{name}"] = str(standing.limit)
                headers[f"x-ratelimit-remaining-{name}"] = str(standing.remaining)
                headers[f"x-ratelimit-reset-{name}"] = wire.go_duration(standing.reset_s)
        return headers

    @override
    def error(self, trouble: Trouble, stamp: str) -> Answer:
        match trouble.kind:
            case "bad":
                return _error(400, trouble.message, "invalid_request_error", param=trouble.parameter)
            case "key" if trouble.key is None:
                message = "You didn't provide an API key. Provide it in an Authorization header: Bearer YOUR_KEY."
                return _error(401, message, "invalid_request_error")
            case "key":
                shown = _masked(trouble.key or "")
                message = (
                    f"Incorrect API key provided: {shown}. "
                    "You can find your API key at https://platform.openai.com/account/api-keys."
                )
                return _error(401, message, "invalid_request_error", "invalid_api_key")
            case "model":
                message = f"The model `{trouble.model}` does not exist or you do not have access to it."
                return _error(404, message, "invalid_request_error", "model_not_found")
            case "large":
                return _error(413, "The request is larger than the maximum allowed.", "invalid_request_error")
            case "quota":
                message = (
                    "You exceeded your current quota, please check your plan and billing details. For more information "
                    "on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
                )
                return _error(429, message, "insufficient_quota", "insufficient_quota")
            case "rate":
                unit = "requests" if trouble.denied is None or trouble.denied.limited == "requests" else "tokens"
                short = "RPM" if unit == "requests" else "TPM"
                limit = f": Limit {trouble.standing.limit}" if trouble.standing else ""
                message = (
                    f"Rate limit reached for {trouble.model} in organization org-simulated on {unit} per min ({short})"
                    f"{limit}. Please try again in {wire.go_duration(trouble.retry_after_s or 0.0)}. "
                    "Visit https://platform.openai.com/account/rate-limits to learn more."
                )
                return _error(429, message, unit, "rate_limit_exceeded")
            case "500":
                message = "The server had an error while processing your request. Sorry about that!"
                return _error(500, message, "server_error")
            case kind:
                status = 503 if kind == "overloaded" else int(kind)
                message = "The engine is currently overloaded, please try again later."
                return _error(status, message, "server_error", "server_overloaded")


def picture_tokens(picture: Picture) -> int:
    """GPT-4o's price of an image in high detail, in tokens.

    It is 85, and 170 a tile of 512 pixels, once the image fits into 2048 pixels and its shorter side into 768.
    Source: platform.openai.com/docs/guides/images-vision, "GPT-4o, GPT-4.1, GPT-4o-mini".

    Args:
        picture: The image.

    Returns:
        Tokens, >= 255.
    """
    fit = min(1.0, 2048 / max(picture.width, picture.height))
    width, height = picture.width * fit, picture.height * fit
    shrink = min(1.0, 768 / min(width, height))
    return 85 + 170 * ceil(width * shrink / 512 - 1e-9) * ceil(height * shrink / 512 - 1e-9)


def _parts(content: object, at: str) -> list[str | dict[str, Any]]:
    """The texts and the `image_url` objects of a message, in order."""
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    parts: list[str | dict[str, Any]] = []
    expected = f"Invalid type for '{at}': expected a string or an array of objects."
    for place, part in enumerate(wire.array(content, expected, at)):
        here = f"{at}[{place}]"
        part = wire.mapping(part, f"Invalid type for '{here}': expected an object.", here)
        kind = part.get("type")
        if kind == "text":
            need(isinstance(part.get("text"), str), f"Missing required parameter: '{here}.text'.", f"{here}.text")
            parts.append(part["text"])
        elif kind == "image_url":
            missing = f"Missing required parameter: '{here}.image_url.url'."
            image = wire.mapping(part.get("image_url"), missing, f"{here}.image_url")
            need(isinstance(image.get("url"), str), missing, f"{here}.image_url.url")
            parts.append(image)
        else:
            raise RequestError(
                f"Invalid value: '{kind}'. Supported values are: 'text' and 'image_url'.", f"{here}.type"
            )
    return parts


def _picture(image: dict[str, Any], at: str, pictures: Pictures) -> Picture:
    head, comma, data = image["url"].partition(",")
    if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
        raise RequestError("Failed to download image: only base64 data URLs are simulated.", f"{at}.image_url.url")
    try:
        picture = pictures.read(data)
    except PictureError:
        message = (
            "You uploaded an unsupported image. Please make sure your image has of one the following formats: "
            "['png', 'jpeg', 'gif', 'webp']."
        )
        raise RequestError(message, f"{at}.image_url.url") from None
    image["url"] = f"{head},{picture.id}"
    return picture


def _schema(wanted: object) -> tuple[str | None, object]:
    """Name and JSON of the schema that the reply must follow."""
    if wanted is None:
        return None, None
    wanted = wire.mapping(wanted, "Invalid type for 'response_format': expected an object.", "response_format")
    kind = wanted.get("type")
    if kind == "text":
        return None, None
    if kind == "json_object":
        return "", None
    need(kind == "json_schema", f"Invalid value: '{kind}' for 'response_format.type'.", "response_format.type")
    missing = "Missing required parameter: 'response_format.json_schema.name'."
    named = wire.mapping(wanted.get("json_schema"), missing, "response_format.json_schema")
    need(isinstance(named.get("name"), str), missing, "response_format.json_schema.name")
    return named["name"], named.get("schema")


def _choice(call: Call, choice: Choice, place: int) -> Body:
    spoken = choice.finish in ("stop", "length", "empty")
    return {
        "index": place,
        "message": {
            "role": "assistant",
            "content": choice.text if spoken else None,
            "refusal": choice.text if choice.finish == "refusal" else None,
            "annotations": [],
        },
        "logprobs": _logprobs(call, choice) if call.logprobs else None,
        "finish_reason": _FINISH[choice.finish],
    }


def _logprobs(call: Call, choice: Choice) -> Body:
    content = []
    for token, logprob in zip(choice.tokens, choice.logprobs, strict=True):
        entry = {"token": token.decode(errors="replace"), "logprob": logprob, "bytes": list(token)}
        content.append({**entry, "top_logprobs": [entry] if call.top_logprobs else []})
    return {"content": content, "refusal": None}


def _error(status: int, message: str, kind: str, code: str | None = None, param: str | None = None) -> Answer:
    return Answer(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


def _masked(key: str) -> str:
    return f"{key[:3]}{'*' * max(0, len(key) - 7)}{key[-4:]}" if len(key) > 7 else "*" * len(key)
