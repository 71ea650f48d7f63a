"""OpenAI's chat completions, as vLLM and other compatible servers speak them too; and Azure's form of them."""

from __future__ import annotations

import re
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from unsaf_async.simulate import wire
from unsaf_async.simulate.generations import FIELDS
from unsaf_async.simulate.pictures import PictureError
from unsaf_async.simulate.wire import Answer, Block, Body, Call, Choice, Draft, RequestError, Trouble, Wire, need

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from unsaf_async.simulate.limits import Limited, LimitState
    from unsaf_async.simulate.pictures import Picture, Pictures

_ROLES = ("system", "developer", "user", "assistant", "tool")
_VOLATILE = (
    "user", "metadata", "store", "stream", "stream_options", "service_tier", "safety_identifier", "prompt_cache_key",
)  # fmt: skip
_PATCHES = {
    r"gpt-(4\.1|5|5\.4)-mini": 1.62,
    r"gpt-(4\.1|5|5\.4)-nano": 2.46,
    r"gpt-(5\.[2-9]|6)": 1.2,
}
"""Tokens a patch of 32 pixels, of the models that count so."""
_FINISH = {"safety": "content_filter", "refusal": "stop", "empty": "stop"}
"""The finish reasons that are not named as ours are."""


class OpenAI(Wire):
    """POST /v1/chat/completions."""

    name = "openai"
    vendor = "openai"

    @override
    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" and key.strip() else None

    @override
    def read(self, body: Body, model: str, headers: Mapping[str, str], pictures: Pictures) -> Call:
        model = body.get("model") or ""
        need(isinstance(model, str) and model, "you must provide a model parameter")
        stream, options = body.get("stream"), body.get("stream_options")
        need(stream is None or isinstance(stream, bool), "Invalid type for 'stream': expected a boolean.", "stream")
        need(
            options is None or stream,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )
        messages = wire.array(body.get("messages"), "Missing required parameter: 'messages'.", "messages")
        need(messages, "Invalid 'messages': empty array.", "messages")
        texts: list[str] = []
        images: list[Picture] = []
        image_tokens = 0
        prompt: list[tuple[str | Picture, int, str]] = []
        for place, message in enumerate(messages):
            at = f"messages[{place}]"
            message = wire.mapping(message, f"Invalid type for '{at}': expected an object.", at)
            need(message.get("role") in _ROLES, f"Invalid value for '{at}.role'.", f"{at}.role")
            for part, mark in _parts(message.get("content"), f"{at}.content"):
                if isinstance(part, str):
                    texts.append(part)
                    prompt.append((part, 0, ""))
                else:
                    picture = _picture(part, f"{at}.content", pictures)
                    images.append(picture)
                    tokens = 85 if part.get("detail") == "low" else picture_tokens(picture, model)
                    image_tokens += tokens
                    prompt.append((picture, tokens, mark))
        _fits(body, texts)
        schema_name, schema, strict = _schema(body.get("response_format"))
        limit = wire.whole(body, "max_completion_tokens") or wire.whole(body, "max_tokens")
        return Call(
            model=model,
            texts=tuple(texts),
            pictures=tuple(images),
            input_tokens=wire.input_tokens(texts, len(messages), schema or None) + image_tokens,
            image_tokens=image_tokens,
            digest=wire.digest(self.name, model, body, _VOLATILE),
            schema_name=schema_name,
            max_output_tokens=limit,
            temperature=wire.number(body, "temperature", 0, 2),
            seed=wire.whole(body, "seed", -(2**63), 2**63),
            choices=wire.whole(body, "n", 1, 128) or 1,
            logprobs=bool(body.get("logprobs")),
            top_logprobs=wire.whole(body, "top_logprobs", 0, 20) or 0,
            schema=schema,
            strict=strict,
            stream=bool(stream),
            stream_usage=isinstance(options, dict) and bool(options.get("include_usage")),
            thinks=body.get("reasoning_effort") not in (None, "none"),
            settings=wire.flat(body),
            unknown=tuple(("", name) for name in body if name not in FIELDS["openai"]),
            blocks=_with_implicit(body, wire.blocks(schema, prompt)),
        )

    @override
    def reply(self, call: Call, draft: Draft) -> Body:
        return {
            "id": f"chatcmpl-{draft.stamp[:29]}",
            "object": "chat.completion",
            "created": draft.created,
            "model": draft.model,
            "choices": [_choice(call, choice, place) for place, choice in enumerate(draft.choices)],
            "usage": _usage(draft),
            "service_tier": "default",
            "system_fingerprint": "fp_simulated",
        }

    @override
    def events(self, call: Call, draft: Draft) -> bytes:
        whole = self.reply(call, draft)
        frame = {**whole, "object": "chat.completion.chunk", "choices": [], "usage": None}
        if not call.stream_usage:
            del frame["usage"]
        found: list[bytes] = []
        for choice in whole["choices"]:
            found += [wire.event({**frame, "choices": [delta]}) for delta in _deltas(choice)]
        if call.stream_usage:
            found.append(wire.event({**frame, "usage": whole["usage"]}))
        return b"".join([*found, wire.event("[DONE]")])

    @override
    def card(self, model: str) -> Body:
        return {"id": model, "object": "model", "created": 1735689600, "owned_by": "simulated"}

    @override
    def listing(self, models: Sequence[str], query: Mapping[str, str]) -> Body:
        return {"object": "list", "data": [self.card(model) for model in models]}

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
            case "listed":
                message = f"The model '{trouble.model}' does not exist"
                return _error(404, message, "invalid_request_error", "model_not_found", "model")
            case "retired":
                message = (
                    f"The model `{trouble.model}` has been deprecated, learn more here: "
                    "https://platform.openai.com/docs/deprecations"
                )
                return _error(404, message, "invalid_request_error", "model_not_found")
            case "refused" if trouble.refusal is not None:
                told = trouble.refusal
                return _error(told.status, told.message, "invalid_request_error", told.code, told.parameter)
            case "policy":
                message = "Your input image may contain content that is not allowed by our safety system."
                return _error(400, message, "invalid_request_error", "content_policy_violation")
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
                status = int(kind) if kind.isdigit() else 503
                message = "The engine is currently overloaded, please try again later."
                return _error(status, message, "server_error", "server_overloaded")


class Azure(OpenAI):
    """POST /openai/deployments/NAME/chat/completions?api-version=..., and /openai/v1/chat/completions.

    A deployment is called as the model in it.
    """

    name = "azure"

    @override
    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        return headers.get("api-key") or super().key(headers, query)

    @override
    def read(self, body: Body, model: str, headers: Mapping[str, str], pictures: Pictures) -> Call:
        return super().read({**body, "model": model} if model else body, model, headers, pictures)

    @override
    def reply(self, call: Call, draft: Draft) -> Body:
        body = super().reply(call, draft)
        body["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": _filter_results()}]
        for choice in body["choices"]:
            blocked = choice["finish_reason"] == "content_filter"
            choice["content_filter_results"] = _filter_results("violence" if blocked else None)
            if blocked:
                choice["message"] = {"role": "assistant"}
        return body

    @override
    def headers(self, standings: Mapping[Limited, LimitState], now: float, stamp: str) -> dict[str, str]:
        headers = {"apim-request-id": f"{stamp[:8]}-{stamp[8:12]}-{stamp[12:16]}-{stamp[16:20]}-{stamp[20:32]}"}
        names: dict[str, Limited] = {"requests": "requests", "tokens": "input_tokens"}
        for name, limited in names.items():
            if standing := standings.get(limited):
                headers[f"x-ratelimit-remaining-{name}"] = str(standing.remaining)
                headers[f"x-ratelimit-limit-{name}"] = str(standing.limit)
        return {**headers, "x-ms-region": "Simulated"}

    @override
    def error(self, trouble: Trouble, stamp: str) -> Answer:
        match trouble.kind:
            case "key" if trouble.key is None:
                message = (
                    "Unauthorized. Access token is missing, invalid, audience is incorrect "
                    "(https://cognitiveservices.azure.com), or have expired."
                )
                return Answer(401, {"statusCode": 401, "message": message})
            case "key":
                message = (
                    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key "
                    "for an active subscription and use a correct regional API endpoint for your resource."
                )
                return Answer(401, {"error": {"code": "401", "message": message}})
            case "token":
                message = "Principal does not have access to API/Operation."
                return Answer(401, {"error": {"code": "PermissionDenied", "message": message}})
            case "version":
                return Answer(404, {"error": {"code": "404", "message": "Resource not found"}})
            case "model" | "retired":
                message = (
                    "The API deployment for this resource does not exist. If you created the deployment within the last 5 "
                    "minutes, please wait a moment and try again."
                )
                return Answer(404, {"error": {"code": "DeploymentNotFound", "message": message}})
            case "rate":
                message = (
                    "Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded "
                    f"{'call' if trouble.denied is None or trouble.denied.limited == 'requests' else 'token'} rate limit of "
                    f"your current OpenAI S0 pricing tier. Please retry after {ceil(trouble.retry_after_s or 1)} seconds."
                )
                return Answer(429, {"error": {"code": "429", "message": message}})
            case "policy":
                message = (
                    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please "
                    "modify your prompt and retry."
                )
                inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": _filter_results("violence")}
                error = {"message": message, "type": None, "param": "prompt", "code": "content_filter", "status": 400}
                return Answer(400, {"error": {**error, "innererror": inner}})
            case _:
                return super().error(trouble, stamp)


def picture_tokens(picture: Picture, model: str = "gpt-4o") -> int:
    """A model's price of an image in high detail, in tokens.

    GPT-4o's is 85, and 170 a tile of 512 pixels, once the image fits into 2048 pixels and its shorter side into 768; some models
    count patches of 32 pixels. Source: platform.openai.com/docs/guides/images-vision.

    Args:
        picture: The image.
        model: The model's name.

    Returns:
        Tokens, >= 1.
    """
    for pattern, multiplier in _PATCHES.items():
        if re.match(pattern, model):
            return ceil(ceil(picture.width / 32) * ceil(picture.height / 32) * multiplier)
    base, a_tile = (2833, 5667) if model.startswith("gpt-4o-mini") else (85, 170)
    fit = min(1.0, 2048 / max(picture.width, picture.height))
    width, height = picture.width * fit, picture.height * fit
    shrink = min(1.0, 768 / min(width, height))
    return base + a_tile * ceil(width * shrink / 512 - 1e-9) * ceil(height * shrink / 512 - 1e-9)


def _with_implicit(body: Body, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """The prompt with the mark that the service sets itself at its end, unless the request says that it shall not."""
    options = body.get("prompt_cache_options")
    explicit = isinstance(options, dict) and options.get("mode") == "explicit"
    return blocks if explicit or not blocks else (*blocks[:-1], replace(blocks[-1], mark="5m"))


def _parts(content: object, at: str) -> list[tuple[str | dict[str, Any], str]]:
    """The texts and the `image_url` objects of a message, in order, each with its mark."""
    if content is None:
        return []
    if isinstance(content, str):
        return [(content, "")]
    parts: list[tuple[str | dict[str, Any], str]] = []
    expected = f"Invalid type for '{at}': expected a string or an array of objects."
    for place, part in enumerate(wire.array(content, expected, at)):
        here = f"{at}[{place}]"
        part = wire.mapping(part, f"Invalid type for '{here}': expected an object.", here)
        kind, mark = part.get("type"), "5m" if part.get("prompt_cache_breakpoint") == {"mode": "explicit"} else ""
        if kind == "text":
            need(isinstance(part.get("text"), str), f"Missing required parameter: '{here}.text'.", f"{here}.text")
            parts.append((part["text"], mark))
        elif kind == "image_url":
            missing = f"Missing required parameter: '{here}.image_url.url'."
            image = wire.mapping(part.get("image_url"), missing, f"{here}.image_url")
            need(isinstance(image.get("url"), str), missing, f"{here}.image_url.url")
            parts.append((image, mark))
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


def _schema(wanted: object) -> tuple[str | None, object, bool]:
    """Name and JSON of the schema that the reply must follow, and whether it is a strict one."""
    if wanted is None:
        return None, None, False
    wanted = wire.mapping(wanted, "Invalid type for 'response_format': expected an object.", "response_format")
    kind = wanted.get("type")
    if kind == "text":
        return None, None, False
    if kind == "json_object":
        return "", {}, False
    need(kind == "json_schema", f"Invalid value: '{kind}' for 'response_format.type'.", "response_format.type")
    missing = "Missing required parameter: 'response_format.json_schema.name'."
    named = wire.mapping(wanted.get("json_schema"), missing, "response_format.json_schema")
    need(isinstance(named.get("name"), str), missing, "response_format.json_schema.name")
    return named["name"], named.get("schema") or {}, named.get("strict") is True


def _choice(call: Call, choice: Choice, place: int) -> Body:
    spoken = choice.finish not in ("safety", "refusal")
    shown: Body = {
        "index": place,
        "message": {
            "role": "assistant",
            "content": choice.text if spoken else None,
            "refusal": choice.text if choice.finish == "refusal" else None,
            "annotations": [],
        },
        "logprobs": _logprobs(call, choice) if call.logprobs else None,
        "finish_reason": _FINISH.get(choice.finish, choice.finish),
    }
    if choice.finish == "error":  # as OpenRouter says it of the server behind it
        shown["error"] = {"code": 502, "message": "Upstream error"}
    return shown


def _deltas(choice: Body) -> Iterator[Body]:
    """The choices of the chunks in which one choice comes."""
    message = choice["message"]
    steps: list[Body] = [{"role": "assistant", "content": "", "refusal": None}]
    steps += [{"content": piece} for piece in wire.pieces(message.get("content") or "")]
    steps += [{"refusal": piece} for piece in wire.pieces(message.get("refusal") or "")]
    for place, step in enumerate(steps):
        # The log-probabilities come at once, with the first text; a client has to put the lists together anyway.
        logprobs = choice["logprobs"] if place == 1 else None
        yield {"index": choice["index"], "delta": step, "logprobs": logprobs, "finish_reason": None}
    last = {name: value for name, value in choice.items() if name != "message"}
    yield {**last, "delta": {}, "logprobs": None}


def _usage(draft: Draft) -> Body:
    return {
        "prompt_tokens": draft.input_tokens,
        "completion_tokens": draft.output_tokens,
        "total_tokens": draft.input_tokens + draft.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": draft.cached_tokens,
            "audio_tokens": 0,
            **({"cache_write_tokens": draft.written_tokens} if draft.written_tokens else {}),
        },
        "completion_tokens_details": {
            "reasoning_tokens": draft.thought_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _logprobs(call: Call, choice: Choice) -> Body:
    content = []
    for token, logprob in zip(choice.tokens, choice.logprobs, strict=True):
        entry = {"token": token.decode(errors="replace"), "logprob": logprob, "bytes": list(token)}
        content.append({**entry, "top_logprobs": [entry] if call.top_logprobs else []})
    return {"content": content, "refusal": None}


def _filter_results(filtered: str | None = None) -> Body:
    """What Azure's filter found, for each of its categories."""
    return {
        name: {"filtered": name == filtered, "severity": "medium" if name == filtered else "safe"}
        for name in ("hate", "self_harm", "sexual", "violence")
    }


def _fits(body: Body, texts: Sequence[str]) -> None:
    """Refuses settings that do not go together, in the service's words.

    Sources: langchain-ai/langgraph#5943, ultimatejimmy/xray.koplugin#33, OpenAI's API reference (`top_logprobs`).
    """
    both = body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None
    need(not both, "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.", "max_tokens")
    need(
        not body.get("top_logprobs") or body.get("logprobs"),
        "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
        "top_logprobs",
    )
    form = body.get("response_format")
    need(
        not isinstance(form, dict)
        or form.get("type") != "json_object"
        or any("json" in each.lower() for each in texts),
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
        "messages",
    )


def _error(status: int, message: str, kind: str, code: str | None = None, param: str | None = None) -> Answer:
    return Answer(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


def _masked(key: str) -> str:
    return f"{key[:3]}{'*' * max(0, len(key) - 7)}{key[-4:]}" if len(key) > 7 else "*" * len(key)
