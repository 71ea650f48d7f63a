"""OpenAI's chat completions, as OpenAI and Azure speak them, and vLLM and everything else that speaks alike.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from unsaf_async.calls.backends.outcome import outcome_of
from unsaf_async.calls.backends.wire import (
    Outgoing,
    count_of,
    list_of,
    listed,
    logprobs_of,
    string_of,
    table_of,
    usage_count,
    word_of,
)
from unsaf_async.calls.rate_headers import error_text
from unsaf_async.providers.profile import OWN_ADDRESSES
from unsaf_async.records import Reply, Usage
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unsaf_async.records import Message, PromptCache, Request


@dataclass(frozen=True)
class OpenAIWire:
    """The protocol as one endpoint speaks it.

    max_tokens_field: what it calls the output limit. stream: it answers only as a stream. vendor: a prefix of the models' ids
    that is not sent.
    """

    max_tokens_field: str = "max_tokens"
    stream: bool = False
    vendor: str = ""
    endpoint = OWN_ADDRESSES["openai"]
    models_path = "/models"

    def headers(self, key: str | None) -> dict[str, str]:
        """The bearer's, or none without a key.

        Args:
            key: The account's.

        Returns:
            Headers, names in lower case.
        """
        return {"authorization": f"Bearer {key}"} if key else {}

    def outgoing(self, request: Request) -> Outgoing:
        """What is sent for a call.

        Args:
            request: The call.

        Returns:
            The path and the body.
        """
        return Outgoing("/chat/completions", self._body(request, request.target.model.removeprefix(f"{self.vendor}/")))

    def _body(self, request: Request, model: str) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": model,
            "messages": [message_of(message, request.prompt_cache) for message in request.messages],
            self.max_tokens_field: sampling.max_output_tokens,
        }
        for name in ("temperature", "top_p", "seed"):
            if (value := getattr(sampling, name)) is not None:
                body[name] = value
        if sampling.logprobs:
            body["logprobs"] = True
        if request.schema:
            body["response_format"] = response_format(request.schema.name, request.schema.schema)
        body |= _cache_fields(request.prompt_cache)
        if self.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        # A field that is None stands for one that is not sent.
        return {name: value for name, value in (body | dict(request.target.extra)).items() if value is not None}

    def reply(self, body: Mapping[str, Any]) -> Reply:
        """The reply in a body.

        Args:
            body: Parsed JSON.

        Returns:
            The reply, without headers.

        Raises:
            ValueError: It is no reply.
        """
        choices = body.get("choices")
        if not isinstance(choices, list):
            raise ValueError("the answer holds no choices")
        usage, model = usage_of(table_of(body.get("usage"))), word_of(body.get("model"))
        if not choices:
            return Reply("unreadable", "", usage=usage, detail="the answer holds no choice", model=model)
        choice = table_of(choices[0])
        message = table_of(choice.get("message"))
        text = text_of(message.get("content"))
        finish_reason = finish_reason_of(choice.get("finish_reason"))
        failure = choice.get("error")  # OpenRouter, where the host behind it failed in the middle: what came is billed
        if failure:
            finish_reason = "error"
        outcome, detail = outcome_of(text, finish_reason, string_of(message.get("refusal")))
        if failure:
            detail = one_line(f"{detail}: {error_text(json.dumps({'error': failure}))}", 300)
        if outcome == "unreadable" and (
            string_of(message.get("reasoning_content")) or string_of(message.get("reasoning"))
        ):
            detail = "the reply holds no text; what the model wrote stands in reasoning_content, as a thought"
        logprobs = list_of(table_of(choice.get("logprobs")).get("content"))
        return Reply(
            outcome,
            text,
            finish_reason=finish_reason,
            usage=usage,
            detail=detail,
            model=model,
            logprobs=logprobs_of([table_of(token).get("logprob") for token in logprobs]),
        )

    def models(self, body: Mapping[str, Any]) -> list[str]:
        """The models' ids.

        Args:
            body: Parsed JSON.

        Returns:
            The ids, in the list's order.

        Raises:
            ValueError: It is no such list.
        """
        return listed(body, "data", "id")


@dataclass(frozen=True)
class AzureWire(OpenAIWire):
    """Azure OpenAI: the model's id is a deployment's name, the key has a header of its own.

    api_version: "" for the endpoint's newer form, `https://NAME.openai.azure.com/openai/v1`, which takes the deployment in the
    body; otherwise the dated version of the older one, `https://NAME.openai.azure.com`, which has it in the path.
    https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
    """

    api_version: str = ""
    endpoint = ""

    def headers(self, key: str | None) -> dict[str, str]:
        """Azure's own header, or none without a key.

        Args:
            key: The resource's.

        Returns:
            Headers, names in lower case.
        """
        return {"api-key": key} if key else {}

    def outgoing(self, request: Request) -> Outgoing:
        """What is sent for a call.

        Args:
            request: The call.

        Returns:
            The path and the body.
        """
        deployment = request.target.model.removeprefix(f"{self.vendor}/")
        body = self._body(request, deployment)
        if not self.api_version:
            return Outgoing("/chat/completions", body)
        del body["model"]
        place = f"/openai/deployments/{quote(deployment, safe='')}/chat/completions"
        return Outgoing(f"{place}?api-version={quote(self.api_version, safe='')}", body)


def message_of(message: Message, cache: PromptCache | None = None) -> dict[str, Any]:
    """A turn in OpenAI's form; the image, if any, before the text, as data URL.

    Args:
        message: The turn.
        cache: What its request has to do with the provider's cache of prompts; None: nothing.

    Returns:
        JSON data.
    """
    if message.image is None:
        return {"role": message.role, "content": message.text}
    image: dict[str, Any] = {"type": "image_url", "image_url": {"url": message.image.data_url}}
    if cache is not None and cache.writes:
        image["prompt_cache_breakpoint"] = {"mode": "explicit"}
    return {"role": message.role, "content": [image, {"type": "text", "text": message.text}]}


def _cache_fields(cache: PromptCache | None) -> dict[str, Any]:
    """What a request says to the cache of prompts besides its marks.

    Where what is kept is billed, nothing is kept but what is marked; the key holds no name and no text, only digits.
    https://developers.openai.com/api/docs/guides/prompt-caching
    """
    if cache is None:
        return {}
    fields: dict[str, Any] = {"prompt_cache_options": {"mode": "explicit"}} if cache.by_mark else {}
    if cache.prefix and cache.by_key:
        fields["prompt_cache_key"] = sha256(cache.prefix.encode()).hexdigest()[:32]
    return fields


def response_format(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON schema in OpenAI's form.

    Args:
        name: What providers ask to call it.
        schema: The schema.

    Returns:
        JSON data.
    """
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


def finish_reason_of(value: object) -> str | None:
    """Why a reply ended.

    Args:
        value: What stands there.

    Returns:
        The provider's word; "" or None if there is none; the value as text if it is of another type, or blank, which is no word
        that is known to be good.
    """
    return None if value is None else "" if value == "" else word_of(value) or one_line(repr(value), 60)


def text_of(content: object) -> str:
    """The text of a message's content.

    Args:
        content: A string, or a list of parts, or None.

    Returns:
        The string, or the text parts of a list joined (a part of a type of its own, such as Mistral's thinking, is none);
        "" for None.
    """
    if isinstance(content, list):
        parts = (table_of(part) for part in content)
        return "".join(
            string_of(part.get("text")) for part in parts if part.get("type") in (None, "text", "output_text")
        )
    return string_of(content)


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Token counts of a usage object.

    Args:
        usage: Parsed JSON.

    Returns:
        The counts; all 0, which is booked at the worst case, where the count of the input or the output is there and is none.
        Some endpoints leave thinking out of `completion_tokens` and bill it: then `total_tokens` has it.
    """
    written, output = usage_count(usage.get("prompt_tokens")), usage_count(usage.get("completion_tokens"))
    if written is None or output is None:
        return Usage()
    prompt, completion = table_of(usage.get("prompt_tokens_details")), table_of(usage.get("completion_tokens_details"))
    # OpenAI's name of it, then DeepSeek's. More than `prompt_tokens` where a host leaves them out of it: the price knows.
    cached = count_of(prompt.get("cached_tokens") or usage.get("prompt_cache_hit_tokens"))
    stored = count_of(prompt.get("cache_write_tokens") or prompt.get("cache_creation_tokens"))
    output = max(output, count_of(usage.get("total_tokens")) - written)
    return Usage(written, cached, stored, output, min(count_of(completion.get("reasoning_tokens")), output))
