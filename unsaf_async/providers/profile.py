"""One model at one endpoint, as data: the `Profile`, and how its values are checked.

Reads no file and opens no connection. `files` reads profiles from providers/*.toml, `resolve` finds the one that a name
stands for. providers/README.md documents every key.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, datetime
from ipaddress import ip_address
from posixpath import normpath
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, model_validator

from unsaf_async.providers.prices import Price
from unsaf_async.providers.tokens import ImageTokens, TokenRules
from unsaf_async.records import Record, Role
from unsaf_async.text import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

Backend = Literal["litellm", "openai", "anthropic", "gemini", "azure", "scripted", "tiny"]
"""How calls travel: through litellm; directly, by OpenAI's protocol (OpenAI and whatever speaks like it), Anthropic's,
Gemini's or Azure's; or nowhere (a simulated model, a tiny one)."""

IN_PROCESS = {"scripted": "is simulated in this process", "tiny": "runs in this process"}
"""The backends that call nobody, and how to say so."""

OWN_ADDRESSES = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
}
"""The vendors' own base URLs, by the backend that speaks their protocol."""

Count = Annotated[int, Field(gt=0, strict=True)]
CountOrZero = Annotated[int, Field(ge=0, strict=True)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]
EnvironmentVariable = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def _day(value: object) -> object:
    """A date of TOML or of JSON; pydantic alone would also take a number, as seconds since 1970."""
    if (isinstance(value, date) and not isinstance(value, datetime)) or value is None:
        return value
    if isinstance(value, str):
        with suppress(ValueError):
            return date.fromisoformat(value)
    raise ValueError(f"is {as_toml(value)}; give a day such as 2027-01-14")


Day = Annotated[date, BeforeValidator(_day)]


def _without_secrets(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if problem := _header_problem(name, value):
            raise ValueError(problem)
    lowered = {name.lower(): value for name, value in headers.items()}
    if len(lowered) < len(headers):
        raise ValueError("holds a name twice, in capitals and in small letters; give each once")
    return lowered


Headers = Annotated[dict[str, Text], AfterValidator(_without_secrets)]
"""Headers by their names in lower case; none holds a key."""


class Limits(Record):
    """How fast the endpoint may be asked. None: no limit known; what the endpoint's rate headers say is obeyed."""

    concurrency: Count = 32
    """Most calls in flight."""
    requests_per_minute: Amount | None = None
    tokens_per_minute: Amount | None = None
    """Input and output together."""
    input_tokens_per_minute: Amount | None = None
    output_tokens_per_minute: Amount | None = None


class ImageRules(Record):
    """What an image must fit into before it is sent; larger ones are shrunk, smaller ones stay as they are.

    What the model refuses all the same fails before a call is made.
    """

    max_side_px: Count = 1024
    max_pixels: Count | None = None
    max_bytes: Count = 10_000_000
    """Of the encoded file; base64 makes a third more of it on the wire."""
    min_side_px: Count | None = None
    """The shorter side that the model takes at least, as sent; None: any."""
    max_aspect: Annotated[float, Field(ge=1, allow_inf_nan=False, strict=True)] | None = None
    """How many times as long as its shorter side the longer one may be, as sent; None: any."""
    native_px: Count | None = None
    """Width and height of the only images that the model knows; it is warned of others. None: it takes any."""


FURTHER_VERDICT_TOKENS = 40
"""Room for each further verdict of one reply: a number, a label, and what JSON puts around them, on lines of their own or not."""


class OutputTokens(Record):
    """Hard limits of a reply, in tokens. `reasoning` comes on top of each, for models that think before they write."""

    ask: CountOrZero = 200
    ask_per_question: CountOrZero = 100
    """For each of the K questions that one call is to write."""
    answer: Count = 300
    judge: Count = 100
    """Of a verdict, and of every other reply that is one word or number: audits, confidence."""
    reasoning: CountOrZero = 0

    def limit(self, role: Role, questions: int = 1, verdicts: int = 1) -> int:
        """The hard limit of one call's reply, thinking included.

        Args:
            role: What the call is for.
            questions: K, the questions that an ask is to write, >= 1; other roles pass it over.
            verdicts: How many verdicts a judge is to give, >= 1; other roles pass it over.

        Returns:
            Tokens, >= 1.
        """
        match role:
            case "ask":
                visible = self.ask + self.ask_per_question * questions
            case "answer" | "choice" | "sample" | "control":
                visible = self.answer
            case "judge":
                visible = self.judge + FURTHER_VERDICT_TOKENS * (verdicts - 1)
            case "ground" | "audit" | "confidence" | "p-true":
                visible = self.judge
        return max(1, visible + self.reasoning)


class Takes(Record):
    """Which parameters the model accepts. What it does not take is not sent."""

    json_schema: Flag = True
    temperature: Flag = True
    seed: Flag = False
    logprobs: Flag = False
    n: Flag = False


class PromptCacheRules(Record):
    """What is known of the endpoint's own cache of prompts, by its vendor's documentation."""

    kind: Literal["none", "automatic", "marked"] = "none"
    """automatic: it keeps what comes and reads what it has. marked: it keeps what a request marks, which it bills. none: nothing
    is known, and nothing is done about it."""
    min_tokens: Count | None = None
    """The shortest beginning of a prompt that it keeps; None: not known, so nothing is expected of it."""
    takes_key: Flag = False
    """Whether a request may say, by `prompt_cache_key`, which others begin alike."""


class Profile(Record):
    """One model at one endpoint: everything that the engine needs to call it, pace it and price it."""

    name: Text
    backend: Backend
    model: Text = ""
    """The id, with litellm's name of the vendor in front where the file gives one: "openai/gpt-4o". "": the one model that
    the server names at /v1/models, read when it is opened."""
    vendor: Text = ""
    """litellm's name of the vendor, under which prices stand in its map; "": none."""
    endpoint: Text = ""
    """Base URL; "": the vendor's own, where the backend knows one."""
    replicas: tuple[Text, ...] = ()
    """Base URLs of further servers of the same model. Each has its own limits; a call goes to the least busy one. Stored replies
    are known by `endpoint`."""
    endpoint_env: tuple[EnvironmentVariable, ...] = ()
    """Environment variables that give another base URL, as the vendor's own library reads them; the first that is set counts."""
    origin: Text = ""
    """What decided where calls go, in words, if it was no shipped file: the user's own one, an environment variable. `resolve`
    writes it; no file does."""
    api_version: Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9._-]*$")] = ""
    """Azure's version of the protocol, such as "2024-10-21"; "": its newest."""
    headers: Headers = Field(default_factory=dict)
    """Further headers of every request, as gateways ask for them. No secrets: the manifest records them."""
    stream: Flag = False
    """Whether the endpoint answers as a stream of events only."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Which field of OpenAI's protocol holds the limit of a reply."""
    api_key_env: EnvironmentVariable | None = None
    """The environment variable that holds the key. The key itself is in no file."""
    api_key_required: Flag = False
    priced_as: Text = ""
    """litellm's id of the model whose price and end count, for a deployment or a gateway's model under a name of its own; "":
    `model`."""
    packages: dict[str, Text] = Field(default_factory=dict)
    """Python packages that its calls need, by the module that is looked for: {"google.auth": "google-auth"}."""
    ends: Day | None = None
    """The day on which the vendor ends the model; None: none is known."""
    price: Price | None = None
    """None: not known, so that the setting `price` is needed."""
    price_ends: Day | None = None
    """The last day on which `price` holds; None: none is known."""
    batch_price: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False, strict=True)] | None = None
    """What tokens cost in a batch, as a share of `price`; None: no batches are sold, or they are not spoken."""
    next_price: Price | None = None
    """What holds after `price_ends`; None: not known."""
    limits: Limits = Limits()
    image: ImageRules = ImageRules()
    tokens: TokenRules = TokenRules(image=ImageTokens(formula="fixed", constants={"tokens": 1500}, ceiling=3000))
    output_tokens: OutputTokens = OutputTokens()
    timeout_s: Amount = 120.0
    """Of one attempt."""
    deadline_s: Amount = 600.0
    """From a call's first failure on: later than that, no further attempt begins. Neither the first attempt nor the wait
    before it counts; an attempt that has begun may take its whole `timeout_s`."""
    attempts: Count = 6
    """Most tries of a call that meets transient errors."""
    retry_wait_s: Amount = 0.5
    """The pause before the second try; it doubles each time, with jitter, up to 30 s."""
    takes: Takes = Takes()
    prompt_cache: PromptCacheRules = PromptCacheRules()
    """Of the setting `prompt_cache` too: where that is "off", nothing is known."""
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    """Further fields of the request's body, such as reasoning_effort. They are part of a reply's cache key."""
    rate_headers: Literal["openai", "anthropic", "none"] = "none"
    """The vendor that the endpoint's rate headers follow. Unless "none", a run that knows no limit of requests sends its
    first call alone, to learn it; headers that come are learned from in any case."""
    prompts: Text = "unsaf"
    """The prompt pack that the model is asked with, unless the setting `prompts` names one."""
    judge: Text = "self"
    """Who judges, unless the setting `judge` says so."""
    images: Literal["photos", "world"] = "photos"
    """Which of the shipped images it is measured on, unless the setting `images` names some."""
    outputs_may_train: Flag | None = None
    """Whether the model's outputs may train other models, as the file's author read its license and the endpoint's terms.
    None: not known; an export then asks for --accept-teacher-terms, unless the model runs in this process or behind an
    address of this machine. true: it does not ask. false: it always asks. --api-base or --model undo a true that stands
    for another address or model."""
    notes: Text = ""
    """What a user should know, in a line."""

    @property
    def wire_model(self) -> str:
        """The id as the vendor itself has it: `model` without the vendor in front."""
        return self.model.removeprefix(f"{self.vendor}/") if self.vendor else self.model

    @property
    def endpoints(self) -> tuple[str, ...]:
        """All base URLs, `endpoint` first."""
        return (self.endpoint, *self.replicas)

    @property
    def in_batches(self) -> Self | None:
        """The profile at the price of its batches; None where it has none."""
        if self.batch_price is None or self.replicas or self.backend not in ("openai", "anthropic", "gemini"):
            return None
        rules = self.prompt_cache.model_copy(update={"min_tokens": None})  # nothing is counted on
        return self.model_copy(
            update={"price": self.price and self.price.times(self.batch_price), "prompt_cache": rules}
        )

    def with_max_side(self, pixels: int) -> Self:
        """The profile with another limit of the longer side of the images that are sent.

        Args:
            pixels: The limit, >= 1.

        Returns:
            The same one otherwise.
        """
        return self.model_copy(update={"image": self.image.model_copy(update={"max_side_px": pixels})})

    @property
    def places(self) -> frozenset[str]:
        """All base URLs in the form that all spellings share."""
        return frozenset(map(canonical_url, self.endpoints))

    @property
    def total_limits(self) -> Limits:
        """How fast all endpoints together may be asked."""
        limits = self.limits.model_dump()
        return Limits(**{name: value and value * len(self.endpoints) for name, value in limits.items()})

    def at_each_endpoint(self) -> tuple[Self, ...]:
        """The profile at each of its endpoints alone.

        Returns:
            One profile an endpoint, in their order.
        """
        return tuple(self.model_copy(update={"endpoint": each, "replicas": ()}) for each in self.endpoints)

    @property
    def has_address(self) -> bool:
        """Whether it is known where calls go: it names an endpoint, or its backend knows the vendor's own."""
        return bool(self.address) or self.backend not in ("openai", "azure")

    @property
    def address(self) -> str:
        """The base URL that is called; "" in this process, and where it is known to litellm alone, or not at all."""
        if self.backend == "openai" != self.vendor:
            return self.endpoint
        return self.endpoint or OWN_ADDRESSES.get(self.backend, "")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.deadline_s < self.timeout_s:
            raise ValueError(
                f"deadline_s is {self.deadline_s:g}, below timeout_s {self.timeout_s:g}; give at least that"
            )
        if self.next_price and not self.price_ends:
            raise ValueError("next_price has no beginning; give price_ends, the last day of the price before it")
        if self.endpoint and (problem := url_problem(self.endpoint)):
            raise ValueError(f"endpoint {problem}")
        for replica in self.replicas:
            if problem := url_problem(replica):
                raise ValueError(f"replicas {problem}")
        if self.replicas and not self.endpoint:
            raise ValueError("replicas are given and no endpoint; give the first as endpoint")
        if twice := given_twice(self.endpoints):
            raise ValueError(f"replicas: {twice} is given twice; give each address once")
        if self.backend != "scripted" and (taken := reserved_in(self.extra)):
            raise ValueError(f"extra holds {taken}, which the engine sets itself; leave it out")
        return self


RESERVED = frozenset(
    {"model", "messages", "stream", "n", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed"}
    | {"logprobs", "response_format", "timeout", "api_key", "api_base", "base_url", "headers", "extra_headers"}
    | {"stream_options", "api_version", "system", "output_format", "contents", "system_instruction"}
)
"""Request fields that `extra` may not hold: the engine sets them, and keys have no place in a file. Google's names count in
either spelling, systemInstruction and system_instruction."""

RESERVED_WITHIN = {
    "generation_config": RESERVED
    | {"max_output_tokens", "candidate_count", "response_logprobs", "response_mime_type"}
    | {"response_schema", "response_json_schema"},
    "output_config": frozenset({"format"}),
}
"""The same, of objects within the request."""


def reserved_in(extra: Mapping[str, object]) -> str | None:
    """The first field of `extra` that the engine sets itself.

    Args:
        extra: Further fields of the request's body.

    Returns:
        Its name, with a dot before that of a field within an object; None if there is none.
    """
    for name, value in sorted(extra.items()):
        if (plain := _snake_case(name)) in RESERVED:
            return name
        inner = value if isinstance(value, dict) else {}
        for field in sorted(inner):
            if _snake_case(field) in RESERVED_WITHIN.get(plain, ()):
                return f"{name}.{field}"
    return None


HARMLESS_IN_EXTRA = frozenset(
    {"reasoning_effort", "reasoning", "thinking", "thinking_config", "thinking_budget", "enable_thinking", "verbosity"}
    | {"chat_template_kwargs", "generation_config", "output_config", "media_resolution", "top_k", "min_p"}
    | {"repetition_penalty", "presence_penalty", "frequency_penalty"}
)
"""Request fields that steer how a model thinks and samples, and nothing else: neither where a request goes, nor what is kept of
it, nor which tools it may use."""


def harmless_in_extra(name: str) -> bool:
    """Whether a field of `extra` may be taken from a file of somebody else's.

    Args:
        name: The field's, in either of Google's spellings.

    Returns:
        Whether it is one of `HARMLESS_IN_EXTRA`.
    """
    return _snake_case(name) in HARMLESS_IN_EXTRA


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _header_problem(name: str, value: str) -> str | None:
    """What is wrong with a header; None if nothing is. The value is not repeated: it may be a key."""
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        return f"{as_toml(name)} is no name of a header"
    if name.lower() in _OWN_HEADERS:
        return f"{name} is set by the program; leave it out"
    if _SECRET_NAME.search(name):
        return f"{name} holds a secret by its name; the key belongs into the variable that api_key_env names"
    if not (value.isascii() and value.isprintable()) or value != value.strip():
        return f"the value of {name} holds characters that no header can"
    if _SECRET_VALUE.match(value):
        return f"the value of {name} looks like a key; keys belong into the variable that api_key_env names"
    return None


_OWN_HEADERS = frozenset({"accept", "accept-encoding", "connection", "content-length", "content-type", "host"})
_SECRET_NAME = re.compile(r"auth(?!ors?$)|cookie|secret|password|credential|signature|(?:key|token)$", re.I)
"""Names under which services take keys: authorization, x-api-key, api-key, x-goog-api-key, helicone-auth, cookie."""
_SECRET_VALUE = re.compile(r"(?:bearer|basic)\s|sk-|gsk_|xai-|hf_|AIza", re.I)


def url_problem(url: str) -> str | None:
    """What is wrong with a base URL. Neither a password nor a query may be in it: the manifest records it.

    Args:
        url: The address of an OpenAI-compatible server, such as http://localhost:8000/v1.

    Returns:
        A phrase that follows the setting's name, "is ...; give ..."; None if nothing is wrong.
    """
    try:
        parts = urlsplit(url)
        plain = not (parts.username or parts.password or parts.query or parts.fragment)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or re.search(r"\s", url):
            return f"is {as_toml(url)}; give a URL such as http://localhost:8000/v1"
    except ValueError:  # a port that is no number, an unclosed bracket
        return f"is {as_toml(url)}; give a URL such as http://localhost:8000/v1"
    return None if plain else "holds a password or a query; give the plain base URL, and the key in its variable"


def canonical_url(url: str) -> str:
    """A base URL in the one form that all spellings of an address have in common. For comparing: what is called stays as given.

    Args:
        url: A base URL without a password, a query and a fragment; "" for none.

    Returns:
        Scheme and host in lower case, an IP address in its shortest form, the port in decimal and always there, the path without
        repeated and closing slashes. "" for "".
    """
    if not url:
        return ""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    with suppress(ValueError):
        host = str(ip_address(host))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    path = normpath(f"/{parts.path.strip('/')}").rstrip("/")
    return f"{parts.scheme}://[{host}]:{port}{path}" if ":" in host else f"{parts.scheme}://{host}:{port}{path}"


def given_twice(urls: Sequence[str]) -> str | None:
    """The first address of a list that stands there before, in whichever spelling.

    Args:
        urls: Base URLs.

    Returns:
        The address as it stands there again; None if each is another one.
    """
    seen: set[str] = set()
    for url in urls:
        if (form := canonical_url(url)) in seen:
            return url
        seen.add(form)
    return None


def as_toml(value: object) -> str:
    """A value in the words of an error, on one line.

    Args:
        value: Anything that a TOML file or a caller gave.

    Returns:
        Python's spelling, but true and false as TOML has them; cut to 60 characters.
    """
    if isinstance(value, bool):
        return str(value).lower()
    return shorten(repr(value), 60)
