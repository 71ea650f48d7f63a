"""Anthropic's batches: the rows are the request's body, the results one stream of lines.

A batch has no name, so one whose creation was not heard of is known by its rows.
https://platform.claude.com/docs/en/build-with-claude/batch-processing
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from unsaf_async.calls.backends.transport import Answer
from unsaf_async.calls.backends.wire import count_of, json_of, list_of, string_of, table_of, word_of
from unsaf_async.calls.batches.api import LISTED, Result, State, id_in, pages
from unsaf_async.errors import Transient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from typing import BinaryIO

    from unsaf_async.calls.backends.http import HttpBackend
    from unsaf_async.records import Request

STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that an error of a kind has where a call is made alone. https://platform.claude.com/docs/en/api/errors"""

CLOCKS_DIFFER_S = 600.0
"""So much the vendor's clock may be behind ours."""

LOOK_AGAIN_S = 30.0
"""How often a batch is looked at that may be the one sought: its rows are known once it has ended."""

CREATE_S = 1800.0


class AnthropicBatches:
    """The API as Anthropic speaks it."""

    most_rows = 100_000
    most_bytes = 100_000_000
    """Anthropic takes 256 MB. Less keeps an upload short."""
    cancels = True
    between = b","

    def __init__(self, backend: HttpBackend) -> None:
        """The API at a backend's address.

        Args:
            backend: Whose wire is Anthropic's.
        """
        self._backend = backend
        self._place = backend.wire.models_path.partition("/models")[0] + "/messages/batches"

    def head(self, model: str, name: str) -> bytes:  # noqa: ARG002
        """The beginning of the request's body.

        Args:
            model: The model's id.
            name: What the batch is called; Anthropic keeps no name.

        Returns:
            JSON's beginning.
        """
        return b'{"requests":['

    def tail(self) -> bytes:
        """The end of the request's body.

        Returns:
            JSON's end.
        """
        return b"]}"

    def row(self, key: str, request: Request) -> bytes:
        """A call of the batch.

        Args:
            key: Its `custom_id`, which may have 64 characters.
            request: The call.

        Returns:
            JSON.
        """
        return orjson.dumps({"custom_id": key, "params": self._backend.wire.outgoing(request).body})

    async def create(self, model: str, name: str, body: BinaryIO) -> str:  # noqa: ARG002
        """Hand the batch in.

        Args:
            model: The model's id.
            name: What the batch is called.
            body: The whole body.

        Returns:
            The batch's id.

        Raises:
            CallError: It was not taken, or that is not known.
        """
        created = await self._backend.json("POST", self._place, body, timeout_s=CREATE_S)
        if not (batch := id_in(created)):
            raise Transient("the answer has no id", fate_unknown=True)
        return batch

    async def find(self, name: str, keys: Sequence[str], since_s: float) -> str | None:  # noqa: ARG002
        """The batch with such rows. Waits for those that may be it to end, since their rows are known only then.

        Args:
            name: What it was to be called.
            keys: Its rows'.
            since_s: When it was handed in.

        Returns:
            Its id; None if none since then has those rows.

        Raises:
            CallError: The vendor does not say.
        """
        async for page in pages(self._backend, f"{self._place}?limit={LISTED}", _following):
            for batch in map(table_of, list_of(page.get("data"))):
                created_s = _seconds_of(batch.get("created_at"))
                if created_s is not None and created_s < since_s - CLOCKS_DIFFER_S:
                    return None  # older ones follow
                there = id_in(batch)
                if there and _rows_of(batch) == len(keys) and await self._is_ours(there, keys):
                    return there
        return None

    async def _is_ours(self, batch: str, keys: Sequence[str]) -> bool:
        await self._end_of(batch)
        async for result in self.results(batch, keys):
            return result.key in keys
        return False

    async def state(self, batch: str) -> State:
        """How far a batch is.

        Args:
            batch: Its id.

        Returns:
            The state.

        Raises:
            CallError: The vendor does not say.
        """
        return state_of(await self._read(batch))

    async def results(self, batch: str, keys: Sequence[str]) -> AsyncIterator[Result]:  # noqa: ARG002
        """The lines of the results.

        Args:
            batch: Its id.
            keys: Its rows', in their order.

        Yields:
            What became of each row.

        Raises:
            CallError: They cannot be had, or not to their end.
        """
        async for line in self._backend.lines(f"{self._place}/{quote(batch, safe='')}/results"):
            if (result := result_of(line)) is not None:
                yield result

    async def cancel(self, batch: str) -> None:
        """Have Anthropic end a batch.

        Args:
            batch: Its id.

        Raises:
            CallError: It does not.
        """
        await self._backend.json("POST", f"{self._place}/{quote(batch, safe='')}/cancel", b"{}")

    async def clear(self, batch: str) -> None:
        """Nothing: what was handed in cannot be deleted without the results.

        Args:
            batch: Its id.
        """

    async def _end_of(self, batch: str) -> None:
        while not (await self.state(batch)).ended:  # noqa: ASYNC110 - the other end is Anthropic's
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _read(self, batch: str) -> dict[str, Any]:
        return await self._backend.json("GET", f"{self._place}/{quote(batch, safe='')}")


def state_of(read: Mapping[str, Any]) -> State:
    """The state in a batch object.

    Args:
        read: Parsed JSON.

    Returns:
        The state.

    Raises:
        Transient: It is no batch object.
    """
    status, counts = word_of(read.get("processing_status")), table_of(read.get("request_counts"))
    if not status:
        raise Transient("the answer is no batch: it has no processing_status")
    done = sum(count_of(counts.get(each)) for each in ("succeeded", "errored"))
    return State(status == "ended", done, whole=status == "ended")


def result_of(line: bytes) -> Result | None:
    """What became of a row, by its line of the results.

    Args:
        line: JSON.

    Returns:
        The result; None for a line that names no row.
    """
    try:
        row = table_of(json_of(line))
    except ValueError:
        return None
    key, result = string_of(row.get("custom_id")), table_of(row.get("result"))
    if not key:
        return None
    match result.get("type"):
        case "succeeded":
            return Result(key, Answer(200, {}, orjson.dumps(result.get("message"))))
        case "errored":
            error = table_of(result.get("error"))
            kind = word_of(table_of(error.get("error")).get("type") or error.get("type"))
            return Result(key, Answer(STATUS.get(kind, 500), {}, orjson.dumps(error)))
        case "canceled":
            return Result(key, None, "the batch was cancelled before this row")
        case "expired":
            return Result(key, None, "the batch's time was over before this row")
        case _:  # if it holds a message, that is billed
            return Result(key, Answer(200, {}, orjson.dumps(result.get("message"))))


def _following(page: Mapping[str, Any]) -> str:
    last = string_of(page.get("last_id"))
    return f"&after_id={quote(last, safe='')}" if page.get("has_more") is True and last else ""


def _rows_of(batch: Mapping[str, Any]) -> int:
    counts = table_of(batch.get("request_counts"))
    return sum(count_of(counts.get(each)) for each in ("processing", "succeeded", "errored", "canceled", "expired"))


def _seconds_of(moment: object) -> float | None:
    try:
        return datetime.fromisoformat(string_of(moment)).timestamp()
    except ValueError:
        return None
