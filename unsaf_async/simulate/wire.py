"""What the three wire formats have in common: the call that they read, the draft that they render, and the trouble
that they put into words. The server speaks to all of them through `Wire`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import sha256
from math import ceil
from typing import TYPE_CHECKING, Any, Literal, Protocol

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unsaf_async.simulate.limits import Denied, Limited, LimitState
    from unsaf_async.simulate.pictures import Picture, Pictures

Finish = Literal["stop", "length", "safety", "refusal", "empty"]
Body = dict[str, Any]

REFUSAL = "I'm sorry, but I can't help with that."
TOKENS_PER_MESSAGE = 3


@dataclass(frozen=True, slots=True)
class Call:
    """A well-formed request, whatever format it came in.

    texts: all text, the system's first. schema_name: as `scripted.respond` wants it. digest: SHA-256 of everything that
    asks for something; equal for equal requests. choices: how many replies are wanted. image_tokens: the images' share
    of input_tokens. tool: the tool that the reply must call (Anthropic only).
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


@dataclass(frozen=True, slots=True)
class Choice:
    """One reply. tokens, logprobs: of each token of the text, where they were asked for."""

    text: str
    finish: Finish
    tokens: tuple[bytes, ...] = ()
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """What goes into a 200. stamp: hexadecimal digits for the ids in it. created: Unix time in seconds."""

    choices: tuple[Choice, ...]
    input_tokens: int
    output_tokens: int
    stamp: str
    created: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no 200.

    kind: what it is; "500", "503" and "529" are those statuses, "overloaded" is the provider's way to say that it is
    full. message, parameter: for "bad", what is wrong, and where. key: for "key", what came. denied, standing: for
    "rate", the limit that was met, if one was.
    """

    kind: Literal["bad", "key", "model", "large", "rate", "quota", "500", "503", "529", "overloaded"]
    message: str = ""
    parameter: str | None = None
    model: str = ""
    key: str | None = None
    retry_after_s: float | None = None
    denied: Denied | None = None
    standing: LimitState | None = None


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

    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        """The API key that came along."""
        ...

    def read(self, body: Body, model: str, headers: Mapping[str, str], pictures: Pictures) -> Call:
        """The call that `body` makes; the image data in `body` are replaced by their ids. model: from the path, or "".

        Raises RequestError."""
        ...

    def reply(self, call: Call, draft: Draft) -> Body:
        """The body of a 200."""
        ...

    def headers(self, standings: Mapping[Limited, LimitState], now: float, stamp: str) -> dict[str, str]:
        """The headers of any answer. now: Unix time."""
        ...

    def error(self, trouble: Trouble, stamp: str) -> Answer:
        """The provider's way to say it. Where it says in a header when to come back, the server adds that."""
        ...


# --- reading ------------------------------------------------------------------------------------------------------


def need(condition: object, message: str, parameter: str | None = None) -> None:
    """Raise RequestError with `message` unless `condition` holds."""
    if not condition:
        raise RequestError(message, parameter)


def array(value: object, message: str, parameter: str | None = None) -> list[Any]:
    """`value`, which must be a list. Raises RequestError with `message`."""
    if not isinstance(value, list):
        raise RequestError(message, parameter)
    return value


def mapping(value: object, message: str, parameter: str | None = None) -> dict[str, Any]:
    """`value`, which must be a JSON object. Raises RequestError with `message`."""
    if not isinstance(value, dict):
        raise RequestError(message, parameter)
    return value


def number(body: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    """The number `body[name]`, in [low, high]; None if it is missing or null. Raises RequestError."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise RequestError(f"Invalid type for '{name}': expected a number.", name)
    need(low <= value <= high, f"Invalid '{name}': {value} is outside of the range {low:g} to {high:g}.", name)
    return float(value)


def whole(body: Mapping[str, Any], name: str, low: int = 1, high: int = 2**53) -> int | None:
    """The whole number `body[name]`, in [low, high]; None if it is missing or null. Raises RequestError."""
    value = number(body, name, low, high)
    need(value is None or value == int(value), f"Invalid type for '{name}': expected an integer.", name)
    return None if value is None else int(value)


def digest(wire: str, model: str, body: Body, volatile: Iterable[str]) -> str:
    """SHA-256 of the canonical body, without the fields that ask for nothing."""
    wanted = {name: value for name, value in body.items() if name not in volatile}
    text = orjson.dumps([wire, model, wanted], option=orjson.OPT_SORT_KEYS)
    return sha256(text).hexdigest()


def input_tokens(texts: Iterable[str], messages: int, schema: object = None) -> int:
    """Tokens of the text of a request, without its images: a quarter of the bytes, and three a message."""
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) // 4
    if schema is not None:
        size += len(orjson.dumps(schema)) // 4
    return size + TOKENS_PER_MESSAGE * messages


# --- writing ------------------------------------------------------------------------------------------------------


def go_duration(seconds: float) -> str:
    """`seconds` as Go prints durations, in whole milliseconds: "20ms", "1.5s", "6m0s", "1h0m0s"."""
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
    """The headers that ask a client to come back in `seconds`; rounded up, never down. now: Unix time."""
    milliseconds = ceil(seconds * 1000 - 1e-6)
    if style == "date":
        return {"retry-after": formatdate(ceil(now + seconds), usegmt=True)}
    # Vendors send whole seconds here; fractions let a rehearsal take less time, and clients have to read them anyway.
    headers = {"retry-after": f"{milliseconds / 1000:g}"}
    if style == "milliseconds":
        headers["retry-after-ms"] = str(milliseconds)
    return headers
