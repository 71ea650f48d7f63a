"""What a wire is: one vendor's protocol as pure functions between our records and its JSON. It opens no connection.

A wire is strict about what makes the reply (its text, its finish reason) and lenient about all beside it: a reply that was
paid for is not thrown away because a count in it is a string. A field of no use is dropped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unsaf_async.records import Reply, Request


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent for one call. path: below the endpoint, "/chat/completions". body: JSON data."""

    path: str
    body: dict[str, Any]


class Wire(Protocol):
    """One vendor's protocol."""

    endpoint: str
    """The vendor's own base URL, without a slash at its end; "" if there is none."""
    models_path: str
    """Of the list of models, below the endpoint."""

    def headers(self, key: str | None) -> dict[str, str]:
        """The headers of every request, names in lower case.

        Args:
            key: The account's; None for none.

        Returns:
            The headers that carry the key, and the protocol's version where it has one.
        """
        ...

    def outgoing(self, request: Request) -> Outgoing:
        """What is sent for a call.

        Args:
            request: The call.

        Returns:
            The path and the body; None among the request's sampling is not sent.
        """
        ...

    def reply(self, body: Mapping[str, Any]) -> Reply:
        """The reply in the body of a 200.

        Args:
            body: Parsed JSON.

        Returns:
            The reply, without headers.

        Raises:
            ValueError: It is no reply.
        """
        ...

    def models(self, body: Mapping[str, Any]) -> list[str]:
        """The models' ids in the body of the list of models.

        Args:
            body: Parsed JSON.

        Returns:
            The ids, in the list's order.

        Raises:
            ValueError: It is no such list.
        """
        ...


def merged(body: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """A body with further fields; objects within objects are merged, anything else of `more` replaces what stood there.

    Args:
        body: JSON data.
        more: JSON data.

    Returns:
        A new object; neither is changed.
    """
    return dict(body) | {
        name: merged(body[name], value) if isinstance(value, dict) and isinstance(body.get(name), dict) else value
        for name, value in more.items()
    }


MAX_COUNT = 10**8
"""Tokens. No call has so many: a count above it is none."""

LEAST_LOGPROB = -1e300
"""Below it lies no log-probability, but minus infinity and what no float holds. OpenAI writes -9999 for the least probable."""


def json_of(data: bytes) -> Any:
    """JSON, read leniently: Python's servers write NaN and Infinity, and half a surrogate pair where a limit cut an emoji.

    Args:
        data: The bytes.

    Returns:
        The data; None in place of numbers that are none.

    Raises:
        ValueError: It is no JSON in any reading.
    """
    try:
        return orjson.loads(data)
    except ValueError:
        return json.loads(data, parse_constant=lambda _: None)


def count_of(value: object) -> int:
    """A count of tokens, read leniently: a side field must not cost a paid reply.

    Args:
        value: What stands there; vendors and gateways send 12, 12.0, "12", null, NaN.

    Returns:
        The count, in [0, `MAX_COUNT`]; 0 if it is none.
    """
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 16 else None
    # Compared before anything else: NaN is in no range, and an integer of JSON may be too large for a float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_COUNT:
        return 0
    return int(value) if value == int(value) else 0


def table_of(value: object) -> Mapping[str, Any]:
    """A JSON object, read leniently.

    Args:
        value: What stands there.

    Returns:
        The object; {} if it is none.
    """
    return value if isinstance(value, dict) else {}


def list_of(value: object) -> list[Any]:
    """A JSON array, read leniently.

    Args:
        value: What stands there.

    Returns:
        The array; [] if it is none.
    """
    return value if isinstance(value, list) else []


def listed(body: Mapping[str, Any], name: str, field: str) -> list[str]:
    """One field of each of a list's tables, such as the ids of models.

    Args:
        body: Parsed JSON.
        name: Where the list stands.
        field: Of each table in it.

    Returns:
        The texts, in the list's order, without empty ones.

    Raises:
        ValueError: There is no such list.
    """
    if not isinstance(body.get(name), list):
        raise ValueError("it lists no models")
    return [text for table in body[name] if (text := string_of(table_of(table).get(field)))]


def string_of(value: object) -> str:
    """A text, read leniently.

    Half a surrogate pair, which a token limit may leave of an emoji, becomes "?": no file and no request could hold it.

    Args:
        value: What stands there.

    Returns:
        The text; "" if it is none.
    """
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def word_of(value: object, most: int = 200) -> str:
    """A name or a short word, read leniently.

    Args:
        value: What stands there.
        most: Most characters of it that are kept.

    Returns:
        The word, on one line; "" if it is none.
    """
    return one_line(string_of(value)[: 4 * most], most)


def logprobs_of(values: list[Any]) -> tuple[float, ...] | None:
    """Log-probabilities of a reply's tokens.

    Args:
        values: One a token.

    Returns:
        The log-probabilities, each <= 0; None if there are none, or one of them is no such number: a mean over the others
        would be another figure. A little above 0, which rounding makes of certainty, is 0.
    """
    if not values or not all(
        isinstance(value, int | float) and not isinstance(value, bool) and LEAST_LOGPROB <= value < 0.001
        for value in values
    ):
        return None
    return tuple(min(0.0, float(value)) for value in values)


def usage_count(value: object) -> int | None:
    """A count of tokens on which a call's cost rests.

    Args:
        value: What stands there.

    Returns:
        The count, >= 0; 0 if nothing stands there; None if what stands there is no count, so that the cost is unknown.
    """
    return 0 if value is None else count if (count := count_of(value)) or value in (0, "0") else None
