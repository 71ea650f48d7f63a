"""Vendors without a wire of our own, such as Bedrock and Vertex AI, spoken to through litellm.

litellm only translates. Its retries, cache, budgets and callbacks stay off, and its price map is the one inside its wheel, so
that importing it opens no socket. What its exceptions mean is decided here, class by class.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import UserDict
from contextlib import contextmanager
from functools import cache, wraps
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx

from unsaf_async.calls.backends.error_status import blocked_reply, error_of, refused_parameter
from unsaf_async.calls.backends.openai_wire import finish_reason_of, message_of, response_format, text_of
from unsaf_async.calls.backends.outcome import WHOLE, bounded, outcome_of
from unsaf_async.calls.backends.transport import MAX_BODY_BYTES, decompressed, too_large
from unsaf_async.calls.backends.wire import count_of, list_of, logprobs_of, string_of, usage_count, word_of
from unsaf_async.errors import CallError, Fatal, Rejected, Transient
from unsaf_async.providers.masked_keys import without_masked
from unsaf_async.providers.redactor import Redactor
from unsaf_async.records import Reply, Request, Usage
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping

OFFLINE = (
    "LITELLM_LOCAL_MODEL_COST_MAP",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS",
    "LITELLM_LOCAL_BLOG_POSTS",
    "LITELLM_LOCAL_POLICY_TEMPLATES",
)
"""Environment switches without which litellm fetches files at import or at a first call."""

_MODE = "LITELLM_MODE"
"""The variable that says whether litellm reads a `.env` file when it is imported."""

NO_SECRETS = Redactor(())

MAX_ERROR_CHARACTERS = 2**16
"""More than any error says. What stands behind is not looked at."""

ANSWERED, UNSENT, BROKEN = "answered", "unsent", "broken"
MEANING: dict[str, str] = {
    # The server answered with an error status: what it means stands in the status and the body.
    "AuthenticationError": ANSWERED,
    "BadRequestError": ANSWERED,
    "BadGatewayError": ANSWERED,
    "ContentPolicyViolationError": ANSWERED,
    "ContextWindowExceededError": ANSWERED,
    "ImageFetchError": ANSWERED,
    "InternalServerError": ANSWERED,
    "APIError": ANSWERED,
    "NotFoundError": ANSWERED,
    "PaymentRequiredError": ANSWERED,
    "PermissionDeniedError": ANSWERED,
    "RateLimitError": ANSWERED,
    "ServiceUnavailableError": ANSWERED,
    "UnprocessableEntityError": ANSWERED,
    "VectorStoreSearchError": ANSWERED,
    "OpenAIError": ANSWERED,
    # litellm itself said no: nothing was sent.
    "BlockedPiiEntityError": UNSENT,
    "BudgetExceededError": UNSENT,
    "GuardrailRaisedException": UNSENT,
    "InvalidRequestError": UNSENT,
    "LiteLLMUnknownProvider": UNSENT,
    "MockException": UNSENT,
    "ModelNotMappedError": UNSENT,
    "ModifyResponseException": UNSENT,
    "RejectedRequestError": UNSENT,
    "SensitiveDataRouteException": UNSENT,
    "UnsupportedParamsError": UNSENT,
    # It was sent, and no whole answer came back.
    "APIConnectionError": BROKEN,
    "APIResponseValidationError": BROKEN,
    "JSONSchemaValidationError": BROKEN,
    "MidStreamFallbackError": BROKEN,
    "Timeout": BROKEN,
}
"""Every class in `litellm.exceptions`, and which of three things it can stand for. A test walks that module."""

_CLASS = f"(?:{'|'.join(MEANING)})"
_BEFORE = re.compile(rf"litellm\.{_CLASS}: (?:(?:litellm\.)?{_CLASS}: )*(?:\w+(?:Exception|Error)(?: {_CLASS})? - )?")
_TRACE = re.compile(
    r"\s*(?:Traceback \(most recent call last\):|This looks like a bug in LiteLLM|To drop (?:these|it|unsupported)\b"
    r"|[Ss]et `?(?:litellm\.)?drop_params|If you want to use these params dynamically).*",
    re.DOTALL,
)
_BEHIND = re.compile(r"\.? (?:Handle with `litellm\.\w+`\.|File an issue if litellm error - \S+)\Z")


class LitellmBackend:
    """Calls through litellm. Open with `await LitellmBackend.open(...)`: importing litellm takes seconds."""

    def __init__(self, litellm: Any, endpoint: str, key: str | None, redact: Redactor | None = None) -> None:
        self._litellm = litellm
        self._redact = redact or Redactor([key])
        self._where: dict[str, Any] = {"api_key": key} if key else {}
        if endpoint:
            self._where["api_base"] = endpoint

    @classmethod
    async def open(cls, endpoint: str = "", key: str | None = None, redact: Redactor | None = None) -> LitellmBackend:
        """A connected backend; the import happens on a thread.

        Args:
            endpoint: The base URL; "" is the vendor's own.
            key: None if none is needed.
            redact: Hides secrets in what comes back, before any of it is cut; None for one that knows the key.

        Returns:
            The backend.
        """
        return cls(await asyncio.to_thread(_import), endpoint, key, redact)

    async def complete(self, request: Request) -> Reply:
        """The provider's reply.

        Args:
            request: The call.

        Returns:
            The reply.

        Raises:
            CallError: None came.
        """
        try:
            response = await self._litellm.acompletion(**self._where, **_arguments(request))
        except Exception as error:
            outcome = outcome_of_exception(error, self._redact)
            if isinstance(outcome, Reply):
                return outcome
            raise outcome from None
        try:
            return bounded(_reply(response, self._redact), request.sampling.max_output_tokens)
        except Exception as error:  # objects of litellm's, made of whatever the provider sent
            raise Transient(f"200 with an unreadable body ({error})", status=200, fate_unknown=True) from None

    async def aclose(self) -> None:
        """Close litellm's connections."""
        await self._litellm.close_litellm_async_clients()
        self._litellm.in_memory_llm_clients_cache.flush_cache()  # no later session is given a closed client


def _import() -> Any:
    for switch in OFFLINE:
        os.environ.setdefault(switch, "True")
    with _no_env_file():
        import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.num_retries = 0
    litellm.cache = None
    litellm.api_base = None  # an address that a program gave litellm is none of this run's
    litellm.drop_params = False  # what a model does not take stands in its profile, and is never dropped in silence
    _corrected(litellm)
    return litellm


@contextmanager
def _no_env_file() -> Iterator[None]:
    """While the context lasts, litellm's import reads no `.env`: of any folder above its own, whoever wrote it.

    Proxies, keys and switches from there would come after the user was told who is called.
    """
    given = os.environ.get(_MODE)
    os.environ[_MODE] = "PRODUCTION"
    try:
        yield
    finally:
        if given is None:
            del os.environ[_MODE]
        else:
            os.environ[_MODE] = given


# --- what litellm does otherwise than a measurement needs it ---------------------------------------------------------


@cache
def _corrected(litellm: Any) -> None:
    """Sets once what litellm's own code does otherwise.

    Finish reasons stay the provider's, no redirect is followed, no answer is read beyond its bound, no address is taken from the
    environment, and a choice without a message is read.
    """
    from litellm.litellm_core_utils import core_helpers
    from litellm.llms.azure import azure
    from litellm.llms.custom_httpx import http_handler
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, HTTPHandler
    from litellm.llms.openai import openai
    from litellm.llms.openai.common_utils import BaseOpenAILLM
    from litellm.secret_managers import main as variables

    vars(variables)["os"] = SimpleNamespace(
        **vars(os) | {"environ": (seen := _Environment(os.environ)), "getenv": seen.get}
    )
    vars(http_handler)["os"] = vars(variables)["os"]
    vars(core_helpers)["_FINISH_REASON_MAP"] = _FinishReasons(vars(core_helpers)["_FINISH_REASON_MAP"])
    choices = litellm.types.utils.Choices
    choices.model_fields["finish_reason"].annotation = str  # litellm's type knows its own words only
    choices.model_rebuild(force=True)
    litellm.ModelResponse.model_rebuild(force=True)
    AsyncHTTPHandler.create_client = _guarding(AsyncHTTPHandler.create_client)
    HTTPHandler.__init__ = _opening_guarded(HTTPHandler.__init__)
    for name in ("_get_async_http_client", "_get_sync_http_client"):
        setattr(BaseOpenAILLM, name, staticmethod(_guarding(getattr(BaseOpenAILLM, name))))
    litellm.in_memory_llm_clients_cache.flush_cache()  # clients that were made before
    for vendor in (openai, azure):
        name = "convert_to_model_response_object"
        setattr(vendor, name, _with_messages(getattr(vendor, name)))


class _FinishReasons(dict[str, str]):
    """litellm's table of finish reasons, without its habit of reading as `stop` what it does not know, and errors."""

    def get(self, reason: str | None, default: Any = None) -> Any:
        """litellm's word for a provider's; the provider's own where litellm would say `stop` of a text that is not whole."""
        if reason is not None and not isinstance(reason, str):  # Vertex's protobuf sends the enum's number
            reason = {1: "STOP", 2: "MAX_TOKENS"}.get(reason, str(reason))
        mapped = super().get(reason or "stop", default)
        whole = reason is None or reason.lower() in WHOLE or reason in ("", "COMPLETE")  # COMPLETE: Cohere
        return mapped or "stop" if whole else reason if mapped in (None, "stop") else mapped


class _Environment(UserDict[str, str]):
    """The environment without addresses: `resolve` has read the vendor's, and what litellm is given stands in the manifest.

    And without SSL_VERIFY: certificates are verified. A company's own authority is named by SSL_CERT_FILE.
    """

    _ADDRESS = re.compile(r"_(?:API_BASE|BASE_URL|API_URL|URL|ENDPOINT|API_HOST|HOST)(?:_|$)|^SSL_VERIFY$")

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self.data = environment  # type: ignore[assignment]  # not copied: it may change

    def __getitem__(self, name: str) -> str:
        if self._ADDRESS.search(name):
            raise KeyError(name)
        return self.data[name]

    def __contains__(self, name: object) -> bool:
        return name in self.data and not self._ADDRESS.search(str(name))


def _guarding(create: Callable[..., Any]) -> Callable[..., Any]:
    """`create`, whose HTTP client is guarded."""

    @wraps(create)
    def created(*args: Any, **options: Any) -> Any:
        return _guarded(create(*args, **options))

    return created


def _opening_guarded(init: Callable[..., None]) -> Callable[..., None]:
    """The `__init__` of a handler that makes its client there, and in newer versions again by its `follow_redirects`."""

    @wraps(init)
    def opened(self: Any, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        self.follow_redirects = False
        _guarded(self.client)

    return opened


def _guarded(client: Any) -> Any:
    """`client`, which follows no redirect and reads no answer beyond the bound.

    Keys in a vendor's own headers would go to any host that a redirect names.
    """
    client.follow_redirects = False
    bound = _bound_later if hasattr(client, "aclose") else _bound_now
    hooks = client.event_hooks
    if bound not in hooks["response"]:
        client.event_hooks = {**hooks, "response": [bound, *hooks["response"]]}
        client.headers["accept-encoding"] = "gzip, deflate"
    return client


async def _bound_later(response: httpx.Response) -> None:
    _bound_now(response)


def _bound_now(response: httpx.Response) -> None:
    encoding = response.headers.pop("content-encoding", "identity").strip().lower()
    response.stream = _BoundedStream(response.stream, encoding)


class _BoundedStream(httpx.AsyncByteStream, httpx.SyncByteStream):
    """A body in one piece, decompressed, to the bound at most: httpx itself would decompress without one."""

    def __init__(self, stream: Any, encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body = bytearray()
        async for part in self._stream:
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise too_large()
        yield decompressed(bytes(body), self._encoding)

    def __iter__(self) -> Iterator[bytes]:
        body = bytearray()
        for part in self._stream:
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise too_large()
        yield decompressed(bytes(body), self._encoding)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def close(self) -> None:
        self._stream.close()


def _with_messages(convert: Callable[..., Any]) -> Callable[..., Any]:
    """`convert`, which takes a choice without a message: Azure's filter sends such ones."""

    @wraps(convert)
    def converted(response_object: Any = None, *args: Any, **options: Any) -> Any:
        for choice in response_object.get("choices") or () if isinstance(response_object, dict) else ():
            if isinstance(choice, dict) and choice.get("message") is None:
                choice["message"] = {"role": "assistant", "content": None}
        return convert(response_object, *args, **options)

    return converted


def _arguments(request: Request) -> dict[str, Any]:
    sampling = request.sampling
    arguments: dict[str, Any] = {
        "model": request.target.model,
        "messages": [message_of(message) for message in request.messages],
        "max_tokens": sampling.max_output_tokens,
        "max_retries": 0,  # on the OpenAI route the vendor's library tries three times without it
        "num_retries": 0,
        "timeout": 3600.0,  # one attempt's limit is the dispatching layer's business
    }
    for name in ("temperature", "top_p", "seed"):
        if (value := getattr(sampling, name)) is not None:
            arguments[name] = value
    if sampling.logprobs:
        arguments["logprobs"] = True
    if request.schema:
        arguments["response_format"] = response_format(request.schema.name, request.schema.schema)
    # An argument that is None stands for one that is not sent.
    return {name: value for name, value in (arguments | dict(request.target.extra)).items() if value is not None}


def _reply(response: Any, redact: Redactor) -> Reply:
    usage = getattr(response, "usage", None)
    headers = _headers(getattr(response, "_hidden_params", {}).get("additional_headers") or {})
    model = word_of(redact(string_of(response.model)))
    if not response.choices:
        return Reply(
            "unreadable", "", usage=_usage(usage), detail="the answer holds no choice", model=model, headers=headers
        )
    choice = response.choices[0]
    message = choice.message
    text = text_of(message.content)
    finish_reason = finish_reason_of(redact.within(choice.finish_reason))
    specific = getattr(message, "provider_specific_fields", None) or {}
    refusal = specific.get("refusal") or getattr(message, "refusal", None)
    stop_reason = (getattr(choice, "provider_specific_fields", None) or {}).get("stop_reason") or specific.get(
        "stop_reason"
    )
    if stop_reason == "refusal":  # Anthropic's own flag, which litellm folds into content_filter
        refusal = refusal or "stop_reason: refusal"
    outcome, detail = outcome_of(text, finish_reason, redact(string_of(refusal)))
    logprobs = getattr(getattr(choice, "logprobs", None), "content", None)
    return Reply(
        outcome,
        text,
        finish_reason=finish_reason,
        usage=_usage(usage),
        detail=detail,
        model=model,
        logprobs=logprobs_of([getattr(token, "logprob", None) for token in list_of(logprobs)]),
        headers=headers,
    )


def _usage(usage: Any) -> Usage:
    """The counts; all 0, which is booked at the worst case, where the input's or the output's is there and is none."""
    prompt = getattr(usage, "prompt_tokens_details", None)
    completion = getattr(usage, "completion_tokens_details", None)
    written = usage_count(getattr(usage, "prompt_tokens", None))
    output = usage_count(getattr(usage, "completion_tokens", None))
    if written is None or output is None:
        return Usage()
    # For a reply that Gemini blocked, litellm leaves the thinking out of completion_tokens; the total still has it.
    output = max(output, count_of(getattr(usage, "total_tokens", None)) - written)
    return Usage(
        input_tokens=written,
        cached_input_tokens=count_of(getattr(prompt, "cached_tokens", None)),
        cache_write_tokens=count_of(getattr(prompt, "cache_creation_tokens", None)),
        output_tokens=output,
        reasoning_tokens=min(count_of(getattr(completion, "reasoning_tokens", None)), output),
    )


def outcome_of_exception(error: Exception, redact: Redactor = NO_SECRETS) -> CallError | Reply:
    """What an exception out of litellm means.

    Args:
        error: The exception.
        redact: Hides secrets in what it says, before any of it is cut.

    Returns:
        A CallError, or the `blocked` reply that it stands for.
    """
    if (ours := next((cause for cause in _chain(error) if isinstance(cause, CallError)), None)) is not None:
        return ours
    name = type(error).__name__
    text = without_masked(redact(providers_words(str(error)[:MAX_ERROR_CHARACTERS])))
    body = redact(_body(error, text)[:MAX_ERROR_CHARACTERS])
    headers = redact.within(_headers(getattr(error, "litellm_response_headers", None) or {}))
    answer = _error_answer(error)
    status = None if answer is None else answer.status_code
    meaning = MEANING.get(name, BROKEN)
    if (unsent := _before_anything_was_sent(error, text)) is not None:
        return unsent
    if answer is not None and answer.status_code < 400:
        return error_of(answer.status_code, "", redact.within(_headers(answer.headers)))
    if meaning == UNSENT:
        return Rejected(one_line(text, 300), parameter=refused_parameter(400, text))
    if name == "ContentPolicyViolationError":
        return Reply("blocked", "", finish_reason="content_filter", detail=one_line(text, 300))
    if (place := _never_connected(error)) is not None:
        return Transient(f"{place}no connection ({_reason(error, text)})", unsent=True)
    if meaning == ANSWERED and status is not None:
        return blocked_reply(status, body) or error_of(status, body, headers)
    # litellm reports a broken connection and a 200 with a broken body as server errors too: it may have been billed.
    return Transient(f"no whole answer ({one_line(text, 300)})", status=status, fate_unknown=True)


def _error_answer(error: Exception) -> Any:
    """The answer with an error status or a redirect; None if there was none (or a 200 that nobody could read)."""
    for cause in _chain(error):
        response = getattr(cause, "response", None)
        status = getattr(response, "status_code", None) if type(cause).__module__.split(".")[0] != "litellm" else None
        if isinstance(status, int) and status >= 300:
            return response
    return None


PACKAGES = {"google": "google-auth", "botocore": "boto3"}
"""Packages by the modules that they bring, where the names differ."""

_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "DefaultCredentialsError")
"""botocore's and google-auth's."""

_NEVER_BILLED = ("AuthenticationError", "BadRequestError", "NotFoundError", "PermissionDeniedError")


def _before_anything_was_sent(error: Exception, text: str) -> CallError | None:
    """The error of a call that litellm could not make; None if it may have been sent."""
    causes = list(_chain(error))
    for cause in causes:
        if isinstance(cause, ImportError):
            module = (cause.name or "").split(".")[0]
            what = PACKAGES.get(module, module) or one_line(providers_words(str(cause)), 200)
            return Fatal(f"this machine lacks a package that the model's vendor needs: {what}", kind="machine")
    if "LLM Provider NOT provided" in text:
        model = getattr(error, "model", None) or "the model"
        return Fatal(f"{one_line(str(model), 100)}: no vendor of this name is known", kind="model")
    if any(type(cause).__name__ in _NO_CREDENTIALS for cause in causes):
        return Fatal(f"no key was found ({one_line(text, 300)})", kind="key")
    own = all(type(cause).__module__.split(".")[0] == "litellm" for cause in causes)
    if own and type(error).__name__ in _NEVER_BILLED and _error_answer(error) is None:
        if type(error).__name__ == "AuthenticationError":
            return Fatal(f"no key was found ({one_line(text, 300)})", kind="key")
        return Rejected(one_line(text, 300), parameter=refused_parameter(400, text))
    return None


def _never_connected(error: Exception) -> str | None:
    """The address that no connection came about to, with a colon behind; "" if it is not told; None if one came about."""
    import aiohttp

    for cause in _chain(error):
        if isinstance(cause, aiohttp.ClientConnectorError):
            return f"{cause.host}:{cause.port}: "
        if isinstance(cause, aiohttp.ClientHttpProxyError | httpx.ProxyError):
            return "the proxy opened "
    return "" if any(isinstance(cause, ConnectionRefusedError) for cause in _chain(error)) else None


def _reason(error: Exception, text: str) -> str:
    """Why no connection came about."""
    number = next((cause.errno for cause in _chain(error) if isinstance(cause, OSError) and cause.errno), None)
    unnamed = next((cause.strerror for cause in _chain(error) if isinstance(cause, OSError) and cause.strerror), None)
    return os.strerror(number).lower() if number and number > 0 else unnamed or one_line(text, 300)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def providers_words(text: str) -> str:
    """The provider's own words in an exception's text, without what litellm wraps around them.

    That is class names in front, as in "litellm.NotFoundError: NotFoundError: OpenAIException - ", and advice to programmers
    behind.

    Args:
        text: The exception's.

    Returns:
        The words; `text` as it is if nothing is wrapped around them, or if nothing else would be left.
    """
    words = _TRACE.sub("", text)
    return _BEHIND.sub("", words[match.end() :] if (match := _BEFORE.match(words)) else words) or text


def _body(error: Exception, text: str) -> str:
    """The body of the provider's error answer: litellm keeps it as an object, or inside its `text`."""
    if isinstance(body := getattr(error, "body", None), dict):
        return json.dumps({"error": body}, default=str)  # orjson takes no integer beyond 64 bits, and no half of a pair
    start = text.find("{")
    return text[start : text.rfind("}") + 1] if start >= 0 else text


def _headers(raw: Mapping[str, Any]) -> dict[str, str]:
    return {str(name).lower().removeprefix("llm_provider-"): str(value) for name, value in raw.items()}
