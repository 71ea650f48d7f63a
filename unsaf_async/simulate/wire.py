"""What the three wire formats share: the call that they read, the draft that they render, and the errors that they write.

The server uses all of them through `Wire`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import sha256
from math import ceil
from typing import TYPE_CHECKING, Any, Literal, Protocol

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unsaf_async.simulate.limits import Denied, Limited, LimitState
    from unsaf_async.simulate.pictures import Picture, Pictures

Vendor = Literal["openai", "anthropic", "gemini"]
Finish = Literal["stop", "length", "safety", "refusal", "empty", "abort", "error", "repetition", "sensitive"]
TroubleKind = Literal[
    "bad",
    "key",
    "token",
    "version",
    "model",
    "listed",
    "retired",
    "refused",
    "large",
    "rate",
    "quota",
    "policy",
    "500",
    "503",
    "529",
    "overloaded",
]
Body = dict[str, Any]

REFUSAL = "I'm sorry, but I can't help with that."
TOKENS_PER_MESSAGE = 3


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that a model does not take.

    parameter, code: as OpenAI's errors name them; None: not said. violations: (field, description) for each part of the
    message, as Google's errors list them; the field is "" for the request itself.
    """

    message: str
    parameter: str | None = None
    status: int = 400
    code: str | None = None
    violations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a prompt. content: equal for equal parts. mark: "5m" or "1h" where what ends with it is to be kept; "": no."""

    content: bytes
    tokens: int
    is_text: bool = True
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A well-formed request, whatever format it came in.

    texts: all text, the system's first. schema_name: as `model.respond` takes it. digest: SHA-256 of everything that
    asks for something; equal for equal requests. choices: how many replies are wanted. image_tokens: the images' share
    of input_tokens. tool: the tool that the reply must call (Anthropic only). schema: that the reply must satisfy; {} for
    any JSON, None for text. strict: it may be refused for what it lacks. stream, stream_usage: the reply comes as a stream
    of events, with the usage in the last of them. thinks: thoughts come before the reply. settings: the parameters by
    dotted name, those of `generations.Rule`. unknown: (where, name) of the fields that the vendor's format does not have.
    blocks: the prompt in order, as a cache of prompts sees it.
    """

    model: str
    texts: tuple[str, ...]
    pictures: tuple[Picture, ...]
    input_tokens: int
    digest: str
    schema_name: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    choices: int = 1
    logprobs: bool = False
    top_logprobs: int = 0
    image_tokens: int = 0
    tool: str | None = None
    schema: object = None
    strict: bool = False
    stream: bool = False
    stream_usage: bool = False
    thinks: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    unknown: tuple[tuple[str, str], ...] = ()
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One reply. tokens, logprobs: of each token of the text, where they were asked for."""

    text: str
    finish: Finish
    tokens: tuple[bytes, ...] = ()
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """What goes into a 200.

    output_tokens: thoughts included, of which there are thought_tokens. stamp: hexadecimal digits for the ids in it.
    created: Unix time in seconds. model: the one that is said to have answered. thoughts: what stands before the reply.
    cached_tokens: read from the cache of prompts, of the input. written_tokens: put into it; written_1h_tokens: for an hour.
    """

    choices: tuple[Choice, ...]
    input_tokens: int
    output_tokens: int
    stamp: str
    created: int
    model: str
    thoughts: str = ""
    thought_tokens: int = 0
    cached_tokens: int = 0
    written_tokens: int = 0
    written_1h_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no 200.

    kind: what it is; "500", "503" and "529" are those statuses, "overloaded" is the provider's way to say that it is
    full; "listed" is a model that the list does not have; "token" and "version" are Azure's. message, parameter: for
    "bad", what is wrong, and where. key: for "key", what came. denied, standing: for "rate", the limit that was met, if
    one was. refusal: for "refused".
    """

    kind: TroubleKind
    message: str = ""
    parameter: str | None = None
    model: str = ""
    key: str | None = None
    retry_after_s: float | None = None
    denied: Denied | None = None
    standing: LimitState | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of an error, and the headers that go with them."""

    status: int
    body: Body
    headers: Mapping[str, str] = field(default_factory=dict)


class RequestError(Exception):
    """The request is not what the format asks for: a 400. parameter: what is wrong, for formats that say it."""

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class Wire(Protocol):
    """A provider's format: how a call reads, and how replies and errors are written."""

    name: str
    vendor: Vendor
    """Whose models it serves."""

    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        """The API key of a request.

        Args:
            headers: The request's.
            query: The parameters in its URL.

        Returns:
            The key; None without one.
        """
        ...

    def read(self, body: Body, model: str, headers: Mapping[str, str], pictures: Pictures) -> Call:
        """The call that a request makes. Image data in `body` are replaced by their ids.

        Args:
            body: The request's JSON object.
            model: The model's name in the path; "" where the format has it in the body.
            headers: The request's.
            pictures: The images that came so far; new ones are added.

        Returns:
            The call.

        Raises:
            RequestError: The request is not what the format asks for.
        """
        ...

    def reply(self, call: Call, draft: Draft) -> Body:
        """The body of a 200.

        Args:
            call: The call.
            draft: What the model replies.

        Returns:
            A JSON object.
        """
        ...

    def events(self, call: Call, draft: Draft) -> bytes:
        """The body of a 200 as a stream of server-sent events.

        Args:
            call: The call.
            draft: What the model replies.

        Returns:
            All events, in UTF-8.
        """
        ...

    def card(self, model: str) -> Body:
        """A model, as the list of models shows it.

        Args:
            model: The model's name.

        Returns:
            A JSON object.
        """
        ...

    def listing(self, models: Sequence[str], query: Mapping[str, str]) -> Body:
        """The list of models, or the page of it that is asked for.

        Args:
            models: All names.
            query: The parameters in the URL.

        Returns:
            A JSON object.
        """
        ...

    def headers(self, standings: Mapping[Limited, LimitState], now: float, stamp: str) -> dict[str, str]:
        """The provider's headers, which every answer has.

        Args:
            standings: The state of each limit.
            now: Unix time in seconds.
            stamp: Hexadecimal digits for the ids in it.

        Returns:
            Values by name; without limits where the provider sends none.
        """
        ...

    def error(self, trouble: Trouble, stamp: str) -> Answer:
        """An error in the provider's words. Where the provider says in a header when to come back, the server adds that.

        Args:
            trouble: Why there is no 200.
            stamp: Hexadecimal digits for the ids in it.

        Returns:
            Status, body and headers.
        """
        ...


# --- reading ------------------------------------------------------------------------------------------------------


def need(condition: object, message: str, parameter: str | None = None) -> None:
    """Raise unless a condition holds.

    Args:
        condition: Taken as true or false.
        message: What is wrong otherwise.
        parameter: Where, for formats that say it.

    Raises:
        RequestError: The condition does not hold.
    """
    if not condition:
        raise RequestError(message, parameter)


def array(value: object, message: str, parameter: str | None = None) -> list[Any]:
    """A value that must be a list.

    Args:
        value: Any JSON value.
        message: What is wrong otherwise.
        parameter: Where, for formats that say it.

    Returns:
        The list.

    Raises:
        RequestError: It is none.
    """
    if not isinstance(value, list):
        raise RequestError(message, parameter)
    return value


def mapping(value: object, message: str, parameter: str | None = None) -> dict[str, Any]:
    """A value that must be a JSON object.

    Args:
        value: Any JSON value.
        message: What is wrong otherwise.
        parameter: Where, for formats that say it.

    Returns:
        The object.

    Raises:
        RequestError: It is none.
    """
    if not isinstance(value, dict):
        raise RequestError(message, parameter)
    return value


def number(body: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    """A number of a request.

    Args:
        body: A JSON object of the request.
        name: The number's.
        low: The least that is allowed.
        high: The greatest that is allowed.

    Returns:
        The number, in [low, high]; None if it is missing or null.

    Raises:
        RequestError: It is no number, or outside of the range.
    """
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise RequestError(f"Invalid type for '{name}': expected a number.", name)
    need(low <= value <= high, f"Invalid '{name}': {value} is outside of the range {low:g} to {high:g}.", name)
    return float(value)


def whole(body: Mapping[str, Any], name: str, low: int = 1, high: int = 2**53) -> int | None:
    """A whole number of a request.

    Args:
        body: A JSON object of the request.
        name: The number's.
        low: The least that is allowed.
        high: The greatest that is allowed.

    Returns:
        The number, in [low, high]; None if it is missing or null.

    Raises:
        RequestError: It is no whole number, or outside of the range.
    """
    value = number(body, name, low, high)
    need(value is None or value == int(value), f"Invalid type for '{name}': expected an integer.", name)
    return None if value is None else int(value)


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Parameters by dotted name, so that {"a": {"b": 1}} has "a.b" as well as "a".

    Args:
        settings: A JSON object of the request.
        prefix: Of all names.

    Returns:
        Values by name, without those that are null.
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if value is not None:
            found[f"{prefix}{name}"] = value
        if isinstance(value, dict) and not prefix:
            found |= flat(value, f"{name}.")
    return found


def page(models: Sequence[str], size: str | None, after: str | None, most: int) -> tuple[Sequence[str], bool]:
    """A page of a list.

    Args:
        models: All names.
        size: How many names a page has, as the request says. None: `most`.
        after: The name that the page comes after. None or a name that is not there: the page is the first.
        most: That a page may have.

    Returns:
        (the names, whether more come after them).
    """
    start = models.index(after) + 1 if after in models else 0
    end = start + max(1, min(int(size) if size and size.isascii() and size.isdigit() else most, most))
    return models[start:end], end < len(models)


def digest(wire: str, model: str, body: Body, volatile: Iterable[str]) -> str:
    """The digest of a request, equal for equal requests.

    Args:
        wire: The format's name.
        model: The model's name.
        body: The request, its images replaced by their ids.
        volatile: Fields that ask for nothing, and do not count.

    Returns:
        SHA-256 in hexadecimal.
    """
    wanted = {name: value for name, value in body.items() if name not in volatile}
    text = orjson.dumps([wire, model, wanted], option=orjson.OPT_SORT_KEYS)
    return sha256(text).hexdigest()


def input_tokens(texts: Iterable[str], messages: int, schema: object = None) -> int:
    """Tokens of a request without its images: a quarter of the bytes, and three a message.

    Args:
        texts: All of its text.
        messages: How many messages it has.
        schema: The JSON schema that it asks for. None: none.

    Returns:
        The number.
    """
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) // 4
    if schema is not None:
        size += len(orjson.dumps(schema)) // 4
    return size + TOKENS_PER_MESSAGE * messages


def blocks(schema: object, parts: Iterable[tuple[str | Picture, int, str]]) -> tuple[Block, ...]:
    """A prompt as a cache of prompts sees it: what makes the reply follow a schema stands before everything else.

    Args:
        schema: The JSON schema that it asks for; None: none.
        parts: Its texts and images in order: each with an image's tokens (of a text they are counted here), and its mark.

    Returns:
        The blocks.
    """
    found = [] if schema is None else [Block(text := orjson.dumps(schema), len(text) // 4)]
    for part, tokens, mark in parts:
        if isinstance(part, str):
            content = part.encode("utf-8", "surrogatepass")
            found.append(Block(content, len(content) // 4, mark=mark))
        else:
            found.append(Block(part.id.encode(), tokens, is_text=False, mark=mark))
    return tuple(found)


# --- writing ------------------------------------------------------------------------------------------------------


def event(data: object, name: str | None = None) -> bytes:
    """A server-sent event.

    Args:
        data: JSON data, or a text that is sent as it is.
        name: The event's type. None: without one.

    Returns:
        Its lines in UTF-8.
    """
    text = data.encode() if isinstance(data, str) else orjson.dumps(data)
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + text + b"\n\n"


def pieces(text: str, size: int = 24) -> list[str]:
    """A text in the pieces that a stream sends.

    Args:
        text: Any text.
        size: Characters of a piece, >= 1.

    Returns:
        The pieces, which together are the whole.
    """
    return [text[place : place + size] for place in range(0, len(text), size)]


def go_duration(seconds: float) -> str:
    """A duration as Go prints it.

    Args:
        seconds: >= 0; rounded up to whole milliseconds.

    Returns:
        "20ms", "1.5s", "6m0s", "1h0m0s".
    """
    milliseconds = ceil(seconds * 1000 - 1e-6)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{milliseconds / 1000:g}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def retry_headers(style: Literal["seconds", "milliseconds", "date"], seconds: float, now: float) -> dict[str, str]:
    """The headers that ask a client to come back later.

    Args:
        style: A number of seconds, of milliseconds in a header of their own, too, or an HTTP date.
        seconds: Until it may come back; rounded up, never down.
        now: Unix time in seconds.

    Returns:
        Values by name.
    """
    milliseconds = ceil(seconds * 1000 - 1e-6)
    if style == "date":
        return {"retry-after": formatdate(ceil(now + seconds), usegmt=True)}
    # Vendors send whole seconds here; fractions let a rehearsal take less time, and clients have to read them anyway.
    headers = {"retry-after": f"{milliseconds / 1000:g}"}
    if style == "milliseconds":
        headers["retry-after-ms"] = str(milliseconds)
    return headers
