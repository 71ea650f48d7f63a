"""Google's generateContent. Field names may come in camel case or in snake case, as the real service takes both."""

from __future__ import annotations

import re
from math import ceil
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from unsaf_async.simulate import wire
from unsaf_async.simulate.generations import CONFIG_FIELDS, FIELDS, generation_of
from unsaf_async.simulate.pictures import PictureError
from unsaf_async.simulate.wire import Answer, Body, Call, Choice, Draft, RequestError, Trouble, Wire, need

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unsaf_async.simulate.limits import Limited, LimitState
    from unsaf_async.simulate.pictures import Picture, Pictures
    from unsaf_async.simulate.wire import Refusal

_TYPES = "type.googleapis.com/google.rpc"
_STATUS = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}
_FINISH = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "safety": "SAFETY",
    "empty": "STOP",
    # The vendor has no such words; these are its own that end a reply before its time.
    "abort": "OTHER",
    "error": "MALFORMED_RESPONSE",
    "repetition": "RECITATION",
    "sensitive": "PROHIBITED_CONTENT",
}
_METRIC = "generativelanguage.googleapis.com"


class Gemini(Wire):
    """POST /v1beta/models/MODEL:generateContent."""

    name = "gemini"
    vendor = "gemini"

    @override
    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        return headers.get("x-goog-api-key") or query.get("key") or None

    @override
    def read(self, body: Body, model: str, headers: Mapping[str, str], pictures: Pictures) -> Call:
        missing = "* GenerateContentRequest.contents: contents is not specified"
        contents = wire.array(body.get("contents"), missing)
        need(contents, missing)
        texts: list[str] = []
        images: list[Picture] = []
        prompt: list[tuple[str | Picture, int, str]] = []
        system = _either(body, "systemInstruction", "system_instruction")
        turns = [system, *contents] if system else contents
        for place, turn in enumerate(turns):
            empty = f"* GenerateContentRequest.contents[{place}].parts: contents.parts must not be empty."
            parts = wire.array(wire.mapping(turn, empty).get("parts"), empty)
            need(parts, empty)
            role = turn.get("role", "user")
            need(turn is system or role in ("user", "model"), "Please use a valid role: user, model.")
            for part in parts:
                part = wire.mapping(part, f"Invalid value at 'contents[{place}].parts'")
                blob = _either(part, "inlineData", "inline_data")
                if isinstance(part.get("text"), str):
                    texts.append(part["text"])
                    prompt.append((texts[-1], 0, ""))
                elif isinstance(blob, dict):
                    images.append(_picture(blob, pictures))
                    prompt.append((images[-1], picture_tokens(images[-1], model), ""))
                else:
                    raise RequestError(
                        f"Unable to process input: part without text or inlineData in contents[{place}]."
                    )
        config = _either(body, "generationConfig", "generation_config") or {}
        config = wire.mapping(config, "Invalid value at 'generation_config'")
        settings = {_camel(name): value for name, value in config.items()}
        thinking = settings.get("thinkingConfig")
        if isinstance(thinking, dict):
            thinking = settings["thinkingConfig"] = {_camel(name): value for name, value in thinking.items()}
        schema = settings.get("responseJsonSchema") or settings.get("responseSchema")
        if schema is None and settings.get("responseMimeType") == "application/json":
            schema = {}
        unknown = [("", name) for name in body if _camel(name) not in FIELDS["gemini"]]
        unknown += [("generation_config", name) for name in config if _camel(name) not in CONFIG_FIELDS]
        image_tokens = sum(picture_tokens(image, model) for image in images)
        return Call(
            model=model,
            texts=tuple(texts),
            pictures=tuple(images),
            input_tokens=wire.input_tokens(texts, len(turns), schema or None) + image_tokens,
            image_tokens=image_tokens,
            digest=wire.digest(self.name, model, body, ()),
            schema_name=None if schema is None else "",
            max_output_tokens=wire.whole(settings, "maxOutputTokens"),
            temperature=wire.number(settings, "temperature", 0, 2),
            seed=wire.whole(settings, "seed", -(2**31), 2**31 - 1),
            choices=wire.whole(settings, "candidateCount", 1, 8) or 1,
            schema=schema,
            thinks=isinstance(thinking, dict) and _thinks(thinking),
            settings=wire.flat(settings),
            unknown=tuple(unknown),
            blocks=wire.blocks(schema or None, prompt),
        )

    @override
    def reply(self, call: Call, draft: Draft) -> Body:
        body: Body = {}
        if any(choice.finish == "refusal" for choice in draft.choices):
            body["promptFeedback"] = {"blockReason": "PROHIBITED_CONTENT"}
        else:
            thoughts = draft.thoughts if call.settings.get("thinkingConfig.includeThoughts") else ""
            body["candidates"] = [_candidate(choice, place, thoughts) for place, choice in enumerate(draft.choices)]
        usage: Body = {"promptTokenCount": draft.input_tokens}
        if draft.cached_tokens:
            usage["cachedContentTokenCount"] = draft.cached_tokens
        if spoken_tokens := draft.output_tokens - draft.thought_tokens:  # like every count of 0, it is left out
            usage["candidatesTokenCount"] = spoken_tokens
        if draft.thought_tokens:
            usage["thoughtsTokenCount"] = draft.thought_tokens
        usage["totalTokenCount"] = draft.input_tokens + draft.output_tokens
        usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": draft.input_tokens - call.image_tokens}]
        if call.image_tokens:
            usage["promptTokensDetails"].append({"modality": "IMAGE", "tokenCount": call.image_tokens})
        return {**body, "usageMetadata": usage, "modelVersion": draft.model, "responseId": draft.stamp[:22]}

    @override
    def events(self, call: Call, draft: Draft) -> bytes:
        whole = self.reply(call, draft)
        frame = {name: whole[name] for name in ("modelVersion", "responseId")}
        first = whole.get("candidates", [{}])[0].get("content", {}).get("parts", [])
        text = first[-1]["text"] if len(draft.choices) == 1 and first else ""
        found = [
            wire.event(
                {"candidates": [{"content": {"parts": [{"text": piece}], "role": "model"}, "index": 0}], **frame}
            )
            for piece in wire.pieces(text)[:-1]
        ]
        if found:
            first[-1]["text"] = wire.pieces(text)[-1]
        return b"".join([*found, wire.event(whole)])

    @override
    def card(self, model: str) -> Body:
        generation = generation_of("gemini", model)
        return {
            "name": f"models/{model}",
            "version": "001",
            "displayName": model,
            "inputTokenLimit": generation.context_tokens if generation else 1_048_576,
            "outputTokenLimit": generation.output_tokens if generation else 65_536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
            "temperature": 1,
            "topP": 0.95,
            "topK": 64,
            "maxTemperature": 2,
        }

    @override
    def listing(self, models: Sequence[str], query: Mapping[str, str]) -> Body:
        names, more = wire.page(models, query.get("pageSize", "50"), query.get("pageToken"), 1000)
        body: Body = {"models": [self.card(name) for name in names]}
        return {**body, "nextPageToken": names[-1]} if more else body

    @override
    def headers(self, standings: Mapping[Limited, LimitState], now: float, stamp: str) -> dict[str, str]:
        return {"server-timing": "gfet4t7; dur=1"}  # Google sends no rate headers

    @override
    def error(self, trouble: Trouble, stamp: str) -> Answer:
        match trouble.kind:
            case "bad":
                return _error(400, trouble.message)
            case "key" if trouble.key is None:
                message = (
                    "Method doesn't allow unregistered callers (callers without established identity). Please use API "
                    "Key or other form of API consumer identity to call this API."
                )
                return _error(403, message, status="PERMISSION_DENIED")
            case "key":
                message = "API key not valid. Please pass a valid API key."
                reason = {
                    "@type": f"{_TYPES}.ErrorInfo",
                    "reason": "API_KEY_INVALID",
                    "domain": "googleapis.com",
                    "metadata": {"service": _METRIC},
                }
                localised = {"@type": f"{_TYPES}.LocalizedMessage", "locale": "en-US", "message": message}
                return _error(400, message, [reason, localised])
            case "model":
                message = (
                    f"models/{trouble.model} is not found for API version v1beta, or is not supported for "
                    "generateContent. Call ListModels to see the list of available models and their supported methods."
                )
                return _error(404, message)
            case "listed":
                return _error(404, f"Model is not found: models/{trouble.model} for api version v1beta")
            case "retired":
                message = (
                    f"This model models/{trouble.model} is no longer available to new users. Please update your code to use "
                    "a newer model for the latest features and improvements."
                )
                return _error(404, message)
            case "refused" if trouble.refusal is not None:
                return _refused(trouble.refusal)
            case "policy":  # no error of HTTP's
                return Answer(
                    200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": trouble.model}
                )
            case "large":
                return _error(400, "Request payload size exceeds the limit: 20971520 bytes.")
            case "quota":
                return _exhausted(
                    trouble, "GenerateRequestsPerDayPerProjectPerModel", "generate_content_paid_tier_requests"
                )
            case "rate" if trouble.denied is None or trouble.denied.limited == "requests":
                quota = "GenerateRequestsPerMinutePerProjectPerModel"
                return _exhausted(trouble, quota, "generate_content_paid_tier_requests")
            case "rate":
                quota = "GenerateContentPaidTierInputTokensPerModelPerMinute"
                return _exhausted(trouble, quota, "generate_content_paid_tier_input_token_count")
            case "500":
                message = (
                    "An internal error has occurred. Please retry or report in "
                    "https://developers.generativeai.google/guide/troubleshooting"
                )
                return _error(500, message)
            case kind:
                status = int(kind) if kind.isdigit() else 503
                return _error(status, "The model is overloaded. Please try again later.", status="UNAVAILABLE")


def picture_tokens(picture: Picture, model: str = "gemini-2") -> int:
    """A model's price of an image, in tokens.

    Gemini 2's is 258 if both sides are at most 384 pixels, else 258 a tile of 768 pixels; from Gemini 3 on it is 1120 at the
    default resolution. Source: ai.google.dev/gemini-api/docs/tokens, "Multimodal tokens", and media-resolution.

    Args:
        picture: The image.
        model: The model's name.

    Returns:
        Tokens, >= 258.
    """
    if re.match(r"gemini-[34]", model):
        return 1120
    if picture.width <= 384 and picture.height <= 384:
        return 258
    return 258 * ceil(picture.width / 768) * ceil(picture.height / 768)


def _either(body: Mapping[str, Any], camel: str, snake: str) -> Any:
    return body[camel] if camel in body else body.get(snake)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def _picture(blob: dict[str, Any], pictures: Pictures) -> Picture:
    need(isinstance(blob.get("data"), str), "Invalid value at 'inline_data.data' (TYPE_BYTES), Base64 decoding failed")
    try:
        # Both alphabets of Base64 are taken; Google's own SDK sends the one for URLs.
        picture = pictures.read(blob["data"].replace("-", "+").replace("_", "/"))
    except PictureError as error:
        if "base64" in str(error):
            message = "Invalid value at 'contents[0].parts[0].inline_data.data' (TYPE_BYTES), Base64 decoding failed"
            raise RequestError(message) from None
        raise RequestError("Unable to process input image. Please retry or report in the developer forum.") from None
    blob["data"] = picture.id
    return picture


def _thinks(config: Mapping[str, Any]) -> bool:
    return config.get("thinkingBudget") != 0 and bool(config)


def _candidate(choice: Choice, place: int, thoughts: str) -> Body:
    candidate: Body = {"finishReason": _FINISH[choice.finish], "index": place}
    if choice.finish == "safety":
        rating = {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}
        return {**candidate, "safetyRatings": [rating]}
    parts: list[Body] = [{"text": choice.text}] if choice.text else []
    if thoughts:
        parts.insert(0, {"text": thoughts, "thought": True})
    content: Body = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    return {"content": content, **candidate}


def _refused(refusal: Refusal) -> Answer:
    violations = [
        {"field": field, "description": text} if field else {"description": text} for field, text in refusal.violations
    ]
    details: list[Body] = [{"@type": f"{_TYPES}.BadRequest", "fieldViolations": violations}] if violations else []
    return _error(refusal.status, refusal.message, details)


def _error(code: int, message: str, details: list[Body] | None = None, status: str | None = None) -> Answer:
    error: Body = {"code": code, "message": message, "status": status or _STATUS[code]}
    if details:
        error["details"] = details
    return Answer(code, {"error": error})


def _exhausted(trouble: Trouble, quota_id: str, metric: str) -> Answer:
    violation: Body = {
        "quotaMetric": f"{_METRIC}/{metric}",
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": trouble.model},
    }
    if trouble.standing:
        violation["quotaValue"] = str(trouble.standing.limit)
    link = {
        "description": "Learn more about Gemini API quotas",
        "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
    }
    details: list[Body] = [
        {"@type": f"{_TYPES}.QuotaFailure", "violations": [violation]},
        {"@type": f"{_TYPES}.Help", "links": [link]},
    ]
    message = "You exceeded your current quota, please check your plan and billing details."
    if trouble.retry_after_s is not None:
        delay = f"{ceil(trouble.retry_after_s * 1000 - 1e-6) / 1000:g}s"
        message += f" Please retry in {delay}."
        details.append({"@type": f"{_TYPES}.RetryInfo", "retryDelay": delay})
    return _error(429, message, details)
