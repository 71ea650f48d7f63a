"""Gemini's batches, with their rows in the request: up to 20 MB each. Its files would take a second address and more steps.

https://ai.google.dev/gemini-api/docs/batch-api
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from unsaf_async.calls.backends.transport import Answer
from unsaf_async.calls.backends.wire import count_of, list_of, string_of, table_of, word_of
from unsaf_async.calls.batches.api import LISTED, Result, State, id_in, pages
from unsaf_async.errors import Transient
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from typing import BinaryIO

    from unsaf_async.calls.backends.http import HttpBackend
    from unsaf_async.records import Request

STATUS = {1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 10: 409, 13: 500, 14: 503, 16: 401}
"""HTTP statuses by the numbers of gRPC's codes, which an error within a batch has."""

NOT_WORKED_OFF = {1: "the batch was cancelled before this row", 4: "the batch's time was over before this row"}
"""gRPC's cancelled and deadline exceeded: of a row that costs nothing."""

CREATE_S = 600.0


class GeminiBatches:
    """The API as Google's generative language service speaks it."""

    most_rows = 50_000
    most_bytes = 19_000_000
    """Google takes 20 MB within a request."""
    cancels = False
    between = b","

    def __init__(self, backend: HttpBackend) -> None:
        """The API at a backend's address.

        Args:
            backend: Whose wire is Gemini's.
        """
        self._backend = backend

    def head(self, model: str, name: str) -> bytes:  # noqa: ARG002 - the address names the model
        """The beginning of the request's body.

        Args:
            model: The model's id.
            name: What the batch is called.

        Returns:
            JSON's beginning.
        """
        return b'{"batch":{"display_name":' + orjson.dumps(name) + b',"input_config":{"requests":{"requests":['

    def tail(self) -> bytes:
        """The end of the request's body.

        Returns:
            JSON's end.
        """
        return b"]}}}}"

    def row(self, key: str, request: Request) -> bytes:
        """A call of the batch.

        Args:
            key: What its metadata name it.
            request: The call.

        Returns:
            JSON.
        """
        return orjson.dumps({"request": self._backend.wire.outgoing(request).body, "metadata": {"key": key}})

    async def create(self, model: str, name: str, body: BinaryIO) -> str:  # noqa: ARG002
        """Hand the batch in.

        Args:
            model: The model's id.
            name: What the batch is called, its display name.
            body: The whole body.

        Returns:
            The batch's name at Google, "batches/...".

        Raises:
            CallError: It was not taken, or that is not known.
        """
        place = f"/models/{quote(model, safe='')}:batchGenerateContent"
        created = await self._backend.json("POST", place, body, timeout_s=CREATE_S)
        if not (batch := _batch_name(created)):
            raise Transient("the answer has no name of a batch", fate_unknown=True)
        return batch

    async def find(self, name: str, keys: Sequence[str], since_s: float) -> str | None:  # noqa: ARG002
        """The batch with a display name.

        Args:
            name: The display name.
            keys: Its rows'.
            since_s: When it was handed in.

        Returns:
            Its name at Google; None if none has that display name.

        Raises:
            CallError: The vendor does not say.
        """
        async for page in pages(self._backend, f"/batches?pageSize={LISTED}", _following):
            for batch in map(table_of, list_of(page.get("operations") or page.get("batches"))):
                if _metadata(batch).get("displayName") == name:
                    return _batch_name(batch) or None
        return None

    async def state(self, batch: str) -> State:
        """How far a batch is.

        Args:
            batch: Its name at Google.

        Returns:
            The state.

        Raises:
            CallError: The vendor does not say.
        """
        return state_of(await self._read(batch))

    async def results(self, batch: str, keys: Sequence[str]) -> AsyncIterator[Result]:
        """The rows of the batch's response.

        Args:
            batch: Its name at Google.
            keys: Its rows', in their order: Google does not always send a row's metadata back, and keeps the order.

        Yields:
            What became of each row.

        Raises:
            CallError: They cannot be had.
        """
        read = await self._read(batch)
        response = table_of(read.get("response") or _metadata(read).get("output"))
        inlined = response.get("inlinedResponses")
        rows = table_of(inlined).get("inlinedResponses") if isinstance(inlined, dict) else inlined
        listed = list_of(rows)
        in_order = len(listed) == len(keys)
        for place, row in enumerate(map(table_of, listed)):
            if (result := result_of(row, keys[place] if in_order else "")) is not None:
                yield result

    async def cancel(self, batch: str) -> None:
        """Have Google end a batch.

        Args:
            batch: Its name at Google.

        Raises:
            CallError: It does not.
        """
        await self._backend.json("POST", f"/{quote(batch)}:cancel", b"{}")

    async def clear(self, batch: str) -> None:
        """Nothing: what was handed in goes with the batch, and the batch holds the replies.

        Args:
            batch: Its name at Google.
        """

    async def _read(self, batch: str) -> dict[str, Any]:
        return await self._backend.json("GET", f"/{quote(batch)}")


def state_of(read: Mapping[str, Any]) -> State:
    """The state in an operation.

    Args:
        read: Parsed JSON.

    Returns:
        The state. One that expired or was cancelled has no results, not even of rows that were answered.

    Raises:
        Transient: It is no operation of a batch.
    """
    metadata = _metadata(read)
    word = word_of(metadata.get("state")).rpartition("_")[2]
    if not word and "done" not in read:
        raise Transient("the answer is no batch: it has no state")
    stats = table_of(metadata.get("batchStats"))
    answered = count_of(stats.get("successfulRequestCount"))
    done = answered + count_of(stats.get("failedRequestCount"))
    error = table_of(read.get("error"))
    ended = read.get("done") is True or word in ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")
    problem = ""
    if ended and word == "FAILED":
        problem = one_line(string_of(error.get("message")), 300) or "the vendor does not say why"
    without_results = word in ("CANCELLED", "EXPIRED")
    if without_results:
        return State(ended, done, unsure=True)
    return State(ended, done, problem, answered=answered, whole=ended and not problem)


def result_of(row: Mapping[str, Any], otherwise: str = "") -> Result | None:
    """What became of a row.

    Args:
        row: One of the inlined responses.
        otherwise: The key where the row has none; "" for none.

    Returns:
        The result; None for one that names no row.
    """
    key, error = string_of(table_of(row.get("metadata")).get("key")) or otherwise, table_of(row.get("error"))
    if not key:
        return None
    if not error:
        return Result(key, Answer(200, {}, orjson.dumps(row.get("response"))))
    code = count_of(error.get("code"))
    if code in NOT_WORKED_OFF:
        return Result(key, None, NOT_WORKED_OFF[code])
    status = code if 400 <= code < 600 else STATUS.get(code, 500)
    return Result(key, Answer(status, {}, orjson.dumps({"error": error})))


def _following(page: Mapping[str, Any]) -> str:
    token = string_of(page.get("nextPageToken"))
    return f"&pageToken={quote(token, safe='')}" if token else ""


def _metadata(read: Mapping[str, Any]) -> Mapping[str, Any]:
    """What describes the batch: in an operation under `metadata`, in a batch itself."""
    return table_of(read.get("metadata")) or read


def _batch_name(read: Mapping[str, Any]) -> str:
    return next((name for each in (read, _metadata(read)) if (name := id_in(each, "name")).startswith("batches/")), "")
